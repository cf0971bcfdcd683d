// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-rng (VIRTIO 1.2, 5.4): the host's random numbers; with a virtual
 * clock a fixed sequence instead, so that runs are identical.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mmio.h"

/* A driver that asks for more gets this much, as it may (5.4.6.1). */
#define ENTROPY_MAX 4096

struct entropy {
	struct rumpel_virtio virtio; /* first */
	uint64_t state; /* of the fixed sequence */
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

/* SplitMix64 (Steele, Lea, Flood 2014): no secret, only evenly spread. */
static uint64_t next_number(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static size_t entropy_fill(struct entropy *entropy, uint64_t numbers[], size_t len)
{
	ssize_t got;

	if (!rumpel_kernel_is_virtual(entropy->virtio.device.kernel)) {
		got = getrandom(numbers, len, GRND_NONBLOCK);
		return got > 0 ? got : 0;
	}
	for (size_t i = 0; i * sizeof(numbers[0]) < len; i++)
		numbers[i] = next_number(&entropy->state);
	return len;
}

static int entropy_serve(struct entropy *entropy)
{
	struct rumpel_queue *queue = &entropy->virtio.queues[0];
	uint64_t numbers[ENTROPY_MAX / sizeof(uint64_t)];
	struct rumpel_chain chain;
	size_t len;
	int result;

	result = rumpel_queue_peek(queue, 0, entropy->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	if (chain.out || !chain.in)
		return -EIO;
	len = chain.in_len < sizeof(numbers) ? chain.in_len : sizeof(numbers);
	len = entropy_fill(entropy, numbers, len);
	rumpel_iov_write(entropy->iov, chain.in, 0, numbers, len);
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, len);
	rumpel_virtio_count(&entropy->virtio.stats.in, 1);
	rumpel_virtio_count(&entropy->virtio.stats.in_bytes, len);
	return 1;
}

static void entropy_service(struct rumpel_virtio *virtio)
{
	struct rumpel_queue *queue = &virtio->queues[0];
	bool moved = false;
	int result;

	do {
		rumpel_queue_notify_off(queue);
		while ((result = entropy_serve((struct entropy *)virtio)) > 0)
			moved = true;
	} while (!result && rumpel_queue_notify_on(queue, 0));
	if (moved)
		rumpel_virtio_publish(virtio, queue);
	if (result < 0)
		rumpel_virtio_break(virtio);
}

static void entropy_free(struct rumpel_virtio *virtio)
{
	free(virtio);
}

static const struct rumpel_virtio_ops entropy_ops = {
	.service = entropy_service,
	.free = entropy_free,
};

int rumpel_entropy(struct rumpel_device **device)
{
	struct entropy *entropy = calloc(1, sizeof(*entropy));

	if (!entropy)
		return -ENOMEM;
	rumpel_virtio_init(&entropy->virtio, &entropy_ops, VIRTIO_ID_RNG, 0, NULL, 0, 1);
	*device = &entropy->virtio.device;
	return 0;
}
