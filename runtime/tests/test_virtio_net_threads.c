// SPDX-License-Identifier: GPL-2.0-only
/* Promises of a cable whose ends are run by two threads; for ThreadSanitizer. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../virtio/net.h"
#include "nic.h"

#define RX_SIZE 2048
#define FLYING 15 /* frames that fit in a transmit ring, three descriptors each */

struct side {
	struct rumpel_device *device;
	pthread_t thread;
	struct side *other;
	unsigned int frames; /* to send, and to get */
	unsigned int resets; /* of its device on the way */
	unsigned int state; /* of its random numbers */
	bool capture;
	pthread_barrier_t *up; /* both are */
	/* results */
	unsigned int sent, got, lost;
	bool done; /* atomic */
	unsigned int rounds; /* atomic */
};

static unsigned int pick(struct side *side, unsigned int below)
{
	side->state = side->state * 1103515245 + 12345;
	return (side->state >> 16) % below;
}

static void send_some(struct side *side, struct nic *nic, unsigned int *flying)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	uint8_t frame[5000];

	*flying -= nic_sent(nic);
	while (*flying < FLYING && side->sent < side->frames) {
		size_t len = 60 + pick(side, pick(side, 8) ? 200 : 4900);

		nic_pattern(frame, len, side->sent);
		memcpy(frame, &side->sent, sizeof(side->sent));
		side->sent++;
		nic_queue(nic, &header, frame, len);
		++*flying;
	}
	driver_kick(&nic->tx);
}

static void receive_some(struct side *side, struct nic *nic)
{
	uint8_t frame[5000], expected[5000];
	unsigned int number;
	long len;

	while ((len = nic_receive(nic, NULL, frame)) >= 0) {
		memcpy(&number, frame, sizeof(number));
		nic_pattern(expected, len, number);
		EQUAL(memcmp(frame + 4, expected + 4, len - 4), 0);
		/* In order, none twice. */
		CHECK(number >= side->got + side->lost);
		side->lost += number - side->got - side->lost;
		side->got++;
		nic_post(nic, (len + NIC_HEADER + RX_SIZE - 1) / RX_SIZE);
	}
}

/* On one CPU, neither shall do all its work while the other sleeps. */
static bool is_ahead(struct side *side)
{
	return !__atomic_load_n(&side->other->done, __ATOMIC_ACQUIRE) &&
	       side->rounds > __atomic_load_n(&side->other->rounds, __ATOMIC_RELAXED) + 50;
}

static void *run(void *argument)
{
	struct side *side = argument;
	struct rumpel_kernel *kernel = fake_kernel(false);
	unsigned int before, flying = 0, at_reset = side->frames / (side->resets + 1);
	unsigned int next_reset = at_reset;
	int trace = side->capture ? memfd_create("trace", 0) : -1;
	size_t mark;
	struct nic nic;

	fake_attach(kernel, side->device);
	EQUAL(rumpel_net_capture(side->device, trace, 0, NULL), 0);
	mark = kernel->next_page;
	nic_start(&nic, kernel, side->device, ~0ull, RX_SIZE);
	nic_post(&nic, 20 + pick(side, 40));
	pthread_barrier_wait(side->up);
	while (side->sent < side->frames || flying ||
	       !__atomic_load_n(&side->other->done, __ATOMIC_ACQUIRE)) {
		if (is_ahead(side)) {
			sched_yield();
			continue;
		}
		__atomic_fetch_add(&side->rounds, 1, __ATOMIC_RELAXED);
		send_some(side, &nic, &flying);
		fake_advance(kernel, 1000);
		fake_step(kernel);
		receive_some(side, &nic);
		if (side->sent == side->frames && !flying)
			__atomic_store_n(&side->done, true, __ATOMIC_RELEASE);
		if (side->resets && side->sent >= next_reset) {
			side->resets--;
			next_reset += at_reset;
			driver_write(side->device, VIRTIO_MMIO_STATUS, 0);
			memset(kernel->memory + mark, 0, kernel->next_page - mark);
			kernel->next_page = mark;
			nic_start(&nic, kernel, side->device, ~0ull, RX_SIZE);
			nic_post(&nic, 20 + pick(side, 40));
			flying = 0;
		}
	}
	/* What is still on the cable. */
	do {
		before = side->got;
		fake_advance(kernel, 1u << 30);
		fake_run(kernel);
		receive_some(side, &nic);
	} while (side->got != before);
	fake_kernel_free(kernel);
	close(trace);
	return NULL;
}

static void cable(uint64_t delay, struct side sides[2])
{
	struct rumpel_device *device[2];
	pthread_barrier_t up;

	pthread_barrier_init(&up, NULL, 2);
	EQUAL(rumpel_net_link(delay, 9000, NULL, NULL, device), 0);
	for (int i = 0; i < 2; i++) {
		sides[i].device = device[i];
		sides[i].other = &sides[!i];
		sides[i].state = 17 + i;
		sides[i].up = &up;
	}
	for (int i = 0; i < 2; i++)
		EQUAL(pthread_create(&sides[i].thread, NULL, run, &sides[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(sides[i].thread, NULL);
	pthread_barrier_destroy(&up);
}

static void all_arrive(uint64_t delay)
{
	struct side sides[2] = { { .frames = 20000 }, { .frames = 20000 } };

	cable(delay, sides);
	for (int i = 0; i < 2; i++) {
		EQUAL(sides[i].got, 20000);
		EQUAL(sides[i].lost, 0);
	}
}

static void test_both_ways(void)
{
	all_arrive(0);
}

static void test_delay(void)
{
	all_arrive(50000);
}

/* Drivers come and go, and at last a whole kernel, while frames fly. */
static void test_resets(void)
{
	for (uint64_t delay = 0; delay <= 5000; delay += 5000) {
		struct side sides[2] = {
			{ .frames = 10000, .resets = 50, .capture = true },
			{ .frames = 20000, .resets = 100, .capture = true },
		};

		cable(delay, sides);
		CHECK(sides[0].got > 100 && sides[1].got > 100);
	}
}

struct asker {
	struct rumpel_net *net;
	pthread_t thread;
	unsigned int asked; /* atomic */
	bool stop; /* atomic */
};

/* What whoever runs a kernel does all the time of an interface that is joined. */
static void *ask(void *argument)
{
	struct asker *asker = argument;

	while (!__atomic_load_n(&asker->stop, __ATOMIC_RELAXED)) {
		rumpel_net_send_joined(asker->net);
		rumpel_net_is_held_up(asker->net);
		rumpel_net_set_stalled(asker->net, true);
		rumpel_net_set_stalled(asker->net, false);
		__atomic_fetch_add(&asker->asked, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* An interface that was unplugged is freed while the other one goes on. */
static void test_freed(void)
{
	for (int i = 0; i < 200; i++) {
		struct rumpel_device *stays[2], *goes[2];
		struct asker asker = { 0 };

		EQUAL(rumpel_net_link(0, 1500, NULL, NULL, stays), 0);
		EQUAL(rumpel_net_link(0, 1500, NULL, NULL, goes), 0);
		EQUAL(rumpel_net_join(stays[0], goes[0]), 0);
		asker.net = (struct rumpel_net *)stays[0];
		EQUAL(pthread_create(&asker.thread, NULL, ask, &asker), 0);
		while (__atomic_load_n(&asker.asked, __ATOMIC_RELAXED) < 10)
			sched_yield();
		rumpel_device_free(goes[0]);
		__atomic_store_n(&asker.stop, true, __ATOMIC_RELAXED);
		pthread_join(asker.thread, NULL);
		rumpel_device_free(goes[1]);
		rumpel_device_free(stays[0]);
		rumpel_device_free(stays[1]);
	}
}

static const struct test tests[] = {
	{ test_both_ways, "all frames arrive whole, in order, once" },
	{ test_delay, "also with delay" },
	{ test_resets, "also while drivers and kernels come and go" },
	{ test_freed, "of two that are joined one may be freed while the other is busy" },
};

TEST_MAIN(tests)
