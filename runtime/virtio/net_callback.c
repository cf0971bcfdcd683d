// SPDX-License-Identifier: GPL-2.0-only
/*
 * An interface whose cable is held by a program: it gets the kernel's frames
 * by a function, and hands over its own. Both are plain, without offloads.
 *
 * Frames from the kernel are copied out of their buffers under the token, and
 * a thread of the interface's own calls the function, for as long as it likes.
 * When it is slow, frames wait in the transmit queue. On a virtual clock there
 * is no thread: the function is called at once. Frames to the kernel wait in a
 * list until there are receive buffers for them, and what they are joined to
 * takes more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_ids.h>

#include "net.h"

#define CALLBACK_FRAMES 256 /* of one call */
#define CALLBACK_BYTES (1u << 20) /* that are enough for one call */
#define CALLBACK_WAITING (16u << 20) /* bytes for a kernel that does not take them */
/* The same on a virtual clock, where no time passes until it can. */
#define CALLBACK_WAITING_VIRTUAL (1u << 30)

/* The kernel's frames. What the thread uses, it outlives the interface. */
struct outbox {
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
	pid_t process; /* the child of a fork has the lock, but not the thread */
	bool has_thread, stop;
	unsigned int owners; /* the interface, the thread */
	struct rumpel_device *device; /* NULL: in no kernel */
	rumpel_net_transmit *transmit;
	void *opaque;
	unsigned int count;
	size_t used, size;
	char *bytes;
	size_t len[CALLBACK_FRAMES];
};

/* A frame for the kernel. */
struct frame {
	struct frame *next;
	size_t len; /* header included */
	char data[];
};

struct net_callback {
	struct rumpel_net net; /* first */
	struct outbox *outbox;
	pthread_mutex_t lock; /* the frames for the kernel */
	struct frame *head, **tail;
	size_t waiting;
	struct rumpel_net_rx rx;
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

static struct net_callback *to_callback(struct rumpel_virtio *virtio)
{
	return (struct net_callback *)virtio;
}

/* ---- frames from the kernel ---- */

/* A copy of the batch, to be called with while others fill the next one. */
struct batch {
	unsigned int count;
	char *bytes;
	struct iovec frames[CALLBACK_FRAMES];
};

/* Locked. Takes all there is. */
static void outbox_take(struct outbox *outbox, struct batch *batch)
{
	char *at = outbox->bytes;

	batch->bytes = outbox->bytes;
	batch->count = outbox->count;
	for (unsigned int i = 0; i < batch->count; i++) {
		batch->frames[i] = (struct iovec){ at, outbox->len[i] };
		at += outbox->len[i];
	}
	outbox->bytes = NULL;
	outbox->count = 0;
	outbox->used = outbox->size = 0;
}

static void outbox_release(struct outbox *outbox)
{
	unsigned int owners;

	pthread_mutex_lock(&outbox->lock);
	owners = --outbox->owners;
	pthread_mutex_unlock(&outbox->lock);
	if (owners)
		return;
	pthread_mutex_destroy(&outbox->lock);
	pthread_cond_destroy(&outbox->more);
	free(outbox->bytes);
	free(outbox);
}

static void *outbox_main(void *argument)
{
	struct outbox *outbox = argument;
	struct batch batch;

	pthread_mutex_lock(&outbox->lock);
	while (!outbox->stop) {
		if (!outbox->count) {
			pthread_cond_wait(&outbox->more, &outbox->lock);
			continue;
		}
		outbox_take(outbox, &batch);
		/* There is room: frames may wait in the transmit queue. */
		if (outbox->device)
			rumpel_device_notify(outbox->device);
		pthread_mutex_unlock(&outbox->lock);
		outbox->transmit(outbox->opaque, batch.frames, batch.count);
		free(batch.bytes);
		pthread_mutex_lock(&outbox->lock);
	}
	pthread_mutex_unlock(&outbox->lock);
	outbox_release(outbox);
	return NULL;
}

/* Signals are for the threads of the program. */
static int outbox_spawn(struct outbox *outbox)
{
	sigset_t every, before;
	int error;

	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	outbox->owners++;
	error = pthread_create(&outbox->thread, NULL, outbox_main, outbox);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		outbox->owners--;
	else
		pthread_setname_np(outbox->thread, "rumpel-nic");
	outbox->has_thread = !error;
	outbox->process = getpid();
	return -error;
}

/* The kernel has gone. The function may be what ended it. */
static void outbox_stop(struct outbox *outbox)
{
	if (outbox->has_thread && outbox->process != getpid()) {
		outbox->has_thread = false;
		return;
	}
	pthread_mutex_lock(&outbox->lock);
	outbox->stop = true;
	outbox->device = NULL;
	pthread_cond_signal(&outbox->more);
	pthread_mutex_unlock(&outbox->lock);
	if (!outbox->has_thread)
		return;
	if (pthread_equal(outbox->thread, pthread_self()))
		pthread_detach(outbox->thread);
	else
		pthread_join(outbox->thread, NULL);
	outbox->has_thread = false;
}

/* Locked. Room for `len` bytes of a frame; NULL: it has to wait. */
static char *outbox_room(struct outbox *outbox, size_t len)
{
	char *bytes;
	size_t size;

	if (outbox->count == CALLBACK_FRAMES || outbox->used >= CALLBACK_BYTES)
		return NULL;
	if (outbox->size - outbox->used < len) {
		size = 2 * outbox->size + len + 4096;
		bytes = realloc(outbox->bytes, size);
		if (!bytes)
			return NULL;
		outbox->bytes = bytes;
		outbox->size = size;
	}
	bytes = outbox->bytes + outbox->used;
	outbox->used += len;
	outbox->len[outbox->count++] = len;
	return bytes;
}

/* Locked. 1: one frame less; 0: none there; -ENOBUFS: no room; -EIO: broken. */
static int transmit_one(struct net_callback *callback)
{
	struct rumpel_net *net = &callback->net;
	struct rumpel_queue *queue = rumpel_net_tx_queue(net);
	struct rumpel_device_stats *stats = &net->virtio.stats;
	struct rumpel_chain chain;
	size_t len;
	char *room;
	int result;

	result = rumpel_queue_peek(queue, 0, callback->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	len = chain.out_len - RUMPEL_NET_HEADER;
	if (chain.in || chain.out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > RUMPEL_NET_FRAME_MAX) {
		rumpel_virtio_count(&stats->errors, 1);
	} else {
		room = outbox_room(callback->outbox, len);
		if (!room)
			return -ENOBUFS;
		rumpel_iov_read(callback->iov, chain.out, RUMPEL_NET_HEADER, room, len);
		rumpel_net_record(net, callback->iov, chain.out, RUMPEL_NET_HEADER, len);
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

/* Fills the outbox. -ENOBUFS: there is more. */
static int collect(struct net_callback *callback)
{
	struct rumpel_virtio *virtio = &callback->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&callback->net);
	uint16_t before = queue->next_used;
	int result;

	pthread_mutex_lock(&callback->outbox->lock);
	while ((result = transmit_one(callback)) > 0)
		;
	if (callback->outbox->count)
		pthread_cond_signal(&callback->outbox->more);
	pthread_mutex_unlock(&callback->outbox->lock);
	if (queue->next_used != before)
		rumpel_virtio_publish(virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
	return result;
}

/* On a virtual clock: all at once, in this thread. */
static void transmit_now(struct net_callback *callback)
{
	struct outbox *outbox = callback->outbox;
	struct batch batch;
	int result;

	do {
		result = collect(callback);
		pthread_mutex_lock(&outbox->lock);
		outbox_take(outbox, &batch);
		pthread_mutex_unlock(&outbox->lock);
		if (batch.count)
			outbox->transmit(outbox->opaque, batch.frames, batch.count);
		free(batch.bytes);
	} while (result == -ENOBUFS && batch.count);
}

/* In the child of a fork: nobody is there to take them. */
static void drop(struct net_callback *callback)
{
	struct outbox *outbox = callback->outbox;

	do {
		outbox->count = 0;
		outbox->used = 0;
	} while (collect(callback) == -ENOBUFS);
}

/* ---- frames to the kernel ---- */

/* Locked. */
static void drop_head(struct net_callback *callback)
{
	struct frame *frame = callback->head;

	callback->head = frame->next;
	if (!callback->head)
		callback->tail = &callback->head;
	callback->waiting -= frame->len;
	free(frame);
}

/* Locked. 0; -EAGAIN: no receive buffers; -EMSGSIZE: it cannot be received; -EIO: broken. */
static int deliver(struct net_callback *callback, const struct frame *frame)
{
	struct rumpel_net *net = &callback->net;
	struct rumpel_net_rx *rx = &callback->rx;
	int result;

	do {
		result = rumpel_net_gather(net, rx, frame->len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), rx->count));
	if (result <= 0)
		return result ? result : -EAGAIN;
	rumpel_iov_write(rx->iov, rx->iov_count, 0, frame->data, frame->len);
	rumpel_net_record(net, rx->iov, rx->iov_count, RUMPEL_NET_HEADER,
			  frame->len - RUMPEL_NET_HEADER);
	rumpel_net_deliver(net, rx, frame->len);
	return 0;
}

static void deliver_all(struct net_callback *callback)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(&callback->net);
	uint16_t before = queue->next_used;
	int result = 0;

	pthread_mutex_lock(&callback->lock);
	while (callback->head) {
		/* Those that are in the kernel already have room in its queues. */
		if (rumpel_net_is_held_up(&callback->net))
			break;
		/* Nobody has ever opened the interface: lost, as with any card. */
		result = rumpel_queue_used_once(queue) ? deliver(callback, callback->head)
						       : -EMSGSIZE;
		if (result == -EAGAIN || result == -EIO)
			break;
		if (result)
			rumpel_virtio_count(&callback->net.virtio.stats.dropped, 1);
		drop_head(callback);
	}
	pthread_mutex_unlock(&callback->lock);
	rumpel_net_received(&callback->net, before, result);
}

/* Locked. False: it is none, or there is no room for it. */
static bool enqueue(struct net_callback *callback, const struct iovec *from)
{
	size_t len = RUMPEL_NET_HEADER + from->iov_len;
	bool is_virtual = rumpel_kernel_is_virtual(callback->net.virtio.device.kernel);
	size_t most = is_virtual ? CALLBACK_WAITING_VIRTUAL : CALLBACK_WAITING;
	struct frame *frame;

	if (from->iov_len < RUMPEL_NET_FRAME_MIN || from->iov_len > RUMPEL_NET_FRAME_MAX ||
	    callback->waiting + len > most)
		return false;
	frame = malloc(sizeof(*frame) + len);
	if (!frame)
		return false;
	frame->next = NULL;
	frame->len = len;
	memset(frame->data, 0, RUMPEL_NET_HEADER);
	memcpy(frame->data + RUMPEL_NET_HEADER, from->iov_base, from->iov_len);
	*callback->tail = frame;
	callback->tail = &frame->next;
	callback->waiting += len;
	return true;
}

static const struct rumpel_virtio_ops callback_ops;

/*
 * Memory that mmap() of this kernel gave is fetched by the kernel, which must not
 * be held up by our lock then.
 */
static void fetch(const struct iovec *frame)
{
	const volatile char *at = frame->iov_base;

	for (size_t offset = 0; offset < frame->iov_len; offset += 4096)
		(void)at[offset];
	if (frame->iov_len)
		(void)at[frame->iov_len - 1];
}

int rumpel_net_receive(struct rumpel_device *device, const struct iovec *frames, size_t count)
{
	struct rumpel_virtio *virtio = rumpel_virtio_of(device, VIRTIO_ID_NET);
	struct net_callback *callback = (struct net_callback *)virtio;
	size_t taken = 0;

	if (!virtio || virtio->ops != &callback_ops)
		return -EINVAL;
	if (!device->kernel || device->lost)
		return -ENETDOWN;
	for (size_t i = 0; i < count; i++)
		fetch(&frames[i]);
	pthread_mutex_lock(&callback->lock);
	for (size_t i = 0; i < count; i++)
		taken += enqueue(callback, &frames[i]);
	pthread_mutex_unlock(&callback->lock);
	rumpel_virtio_count(&virtio->stats.dropped, count - taken);
	rumpel_device_notify(device);
	return (int)taken;
}

/* ---- the device ---- */

static void callback_transmit(struct rumpel_net *net)
{
	struct net_callback *callback = to_callback(&net->virtio);

	if (net->virtio.device.lost)
		drop(callback);
	else if (callback->outbox->has_thread)
		rumpel_net_set_stalled(net, collect(callback) == -ENOBUFS);
	else
		transmit_now(callback);
}

static void callback_resume(struct rumpel_net *net)
{
	rumpel_device_notify(&net->virtio.device);
}

static void callback_service(struct rumpel_virtio *virtio)
{
	struct net_callback *callback = to_callback(virtio);

	rumpel_net_send_joined(&callback->net);
	deliver_all(callback);
	callback_transmit(&callback->net);
}

/* What is on its way to the kernel is lost. */
static void callback_quiesce(struct rumpel_virtio *virtio)
{
	struct net_callback *callback = to_callback(virtio);

	pthread_mutex_lock(&callback->lock);
	while (callback->head) {
		rumpel_virtio_count(&virtio->stats.dropped, 1);
		drop_head(callback);
	}
	pthread_mutex_unlock(&callback->lock);
	__atomic_store_n(&callback->net.stalled, false, __ATOMIC_SEQ_CST);
}

static int callback_attach(struct rumpel_virtio *virtio)
{
	struct outbox *outbox = to_callback(virtio)->outbox;

	rumpel_net_settle_mac(&to_callback(virtio)->net);
	outbox->device = &virtio->device;
	outbox->stop = false;
	if (rumpel_kernel_is_virtual(virtio->device.kernel))
		return 0;
	return outbox_spawn(outbox);
}

static void callback_finish(struct rumpel_virtio *virtio)
{
	outbox_stop(to_callback(virtio)->outbox);
	rumpel_net_finish(virtio);
}

/*
 * The thread stays with the parent, and so does the interface: its function may
 * be of a language that has not yet noticed the fork. On a virtual clock there
 * is no thread, and the child goes on with its own copy of what is behind it.
 */
static void callback_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_callback *callback = to_callback(virtio);
	struct outbox *outbox = callback->outbox;

	if (stage == RUMPEL_FORK_PREPARE) {
		pthread_mutex_lock(&outbox->lock);
		pthread_mutex_lock(&callback->lock);
		return;
	}
	pthread_mutex_unlock(&callback->lock);
	pthread_mutex_unlock(&outbox->lock);
	if (stage == RUMPEL_FORK_PARENT)
		return;
	rumpel_capture_forked(&callback->net.capture);
	if (!outbox->has_thread)
		return;
	rumpel_net_lose(&callback->net);
	pthread_cond_init(&outbox->more, NULL);
	outbox->has_thread = false;
	outbox->owners--;
}

static void callback_free(struct rumpel_virtio *virtio)
{
	struct net_callback *callback = to_callback(virtio);

	rumpel_net_exit(&callback->net);
	while (callback->head)
		drop_head(callback);
	outbox_release(callback->outbox);
	pthread_mutex_destroy(&callback->lock);
	free(callback);
}

static const struct rumpel_virtio_ops callback_ops = {
	.service = callback_service,
	.quiesce = callback_quiesce,
	.attach = callback_attach,
	.finish = callback_finish,
	.fork = callback_fork,
	.free = callback_free,
};

int rumpel_net_callback(rumpel_net_transmit *transmit, void *opaque, const uint8_t mac[6],
			unsigned int mtu, struct rumpel_device **device)
{
	struct net_callback *callback = calloc(1, sizeof(*callback));
	struct outbox *outbox = calloc(1, sizeof(*outbox));
	int error = -ENOMEM;

	if (callback && outbox)
		error = rumpel_net_init(&callback->net, &callback_ops, 0, mac, mtu);
	if (error) {
		free(callback);
		free(outbox);
		return error;
	}
	callback->net.transmit = callback_transmit;
	callback->net.resume = callback_resume;
	outbox->owners = 1;
	outbox->transmit = transmit;
	outbox->opaque = opaque;
	pthread_mutex_init(&outbox->lock, NULL);
	pthread_cond_init(&outbox->more, NULL);
	pthread_mutex_init(&callback->lock, NULL);
	callback->outbox = outbox;
	callback->tail = &callback->head;
	*device = &callback->net.virtio.device;
	return 0;
}
