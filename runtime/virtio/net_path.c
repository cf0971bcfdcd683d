// SPDX-License-Identifier: GPL-2.0-only
/* One direction of a cable: how frames get from one queue to the other. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "net_link.h"

/* Without a receive buffer for so long, frames are dropped as by any card. */
#define LINK_PATIENCE 1000000000ull
/* What a cable with delay holds: 10 Gbit/s for 50 ms. More is lost. */
#define LINK_BYTES (64u << 20)
/* The receiver hears of frames while more of them are copied. */
#define LINK_BATCH 16

static bool end_is_live(const struct link_end *end)
{
	return end && rumpel_virtio_is_live(&end->net.virtio);
}

static uint64_t end_now(const struct link_end *end)
{
	return rumpel_kernel_now(end->net.virtio.device.kernel);
}

/* Holder of the end's token. */
static void end_arm(struct link_end *end, uint64_t deadline)
{
	if (end->timer.deadline != deadline)
		rumpel_timer_arm(end->net.virtio.device.kernel, &end->timer, deadline);
}

/* Asks to be told of new receive buffers. True: there are some by now. */
static bool path_await(struct link_path *path)
{
	__atomic_store_n(&path->starved, true, __ATOMIC_SEQ_CST);
	return rumpel_queue_notify_on(rumpel_net_rx_queue(&path->to->net), path->rx.count);
}

/* Does the receiver want no more, since what it sends waits? It will tell. */
static bool path_is_held_up(struct link_path *path)
{
	if (!rumpel_net_is_held_up(&path->to->net))
		return false;
	__atomic_store_n(&path->starved, true, __ATOMIC_SEQ_CST);
	return rumpel_net_is_held_up(&path->to->net);
}

/*
 * Copies a frame with its header into the receiver's buffers. 0; -EAGAIN: no
 * buffers, the receiver will tell; -EBUSY: so it will when it wants more;
 * -EMSGSIZE: it cannot be received.
 */
static int path_hand_over(struct link_path *path, const struct iovec *iov, unsigned int count,
			  size_t len)
{
	struct rumpel_net *net = &path->to->net;
	struct virtio_net_hdr_v1 header;
	int result;

	rumpel_iov_read(iov, count, 0, &header, sizeof(header));
	/* 5.1.6.4.1: of the flags, the device may only set what it means. */
	header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!rumpel_net_takes(net, &header))
		return -EMSGSIZE;
	if (path_is_held_up(path))
		return -EBUSY;
	do {
		result = rumpel_net_gather(net, &path->rx, len);
	} while (!result && !path->overrun && path_await(path));
	if (!result)
		return -EAGAIN;
	if (result == -EIO)
		rumpel_virtio_break(&net->virtio);
	if (result < 0)
		return -EMSGSIZE;
	/* The other side looks at it often. */
	if (path->starved)
		__atomic_store_n(&path->starved, false, __ATOMIC_RELAXED);
	path->overrun = false;

	rumpel_iov_copy(path->rx.iov, RUMPEL_NET_HEADER, iov, RUMPEL_NET_HEADER,
			len - RUMPEL_NET_HEADER);
	result = rumpel_net_hand_over(net, &path->rx, &header, len);
	path->fresh |= !result;
	return result;
}

/* Puts a frame on the cable. 0; -ENOBUFS: it is full; -ENOMEM. */
static int path_hold(struct link_path *path, const struct iovec *iov, unsigned int count,
		     size_t len)
{
	size_t size = sizeof(struct link_frame) + len;
	struct link_frame *frame;

	if (path->queued + size > LINK_BYTES)
		return -ENOBUFS;
	frame = malloc(size);
	if (!frame)
		return -ENOMEM;
	frame->next = NULL;
	frame->due = end_now(path->to) + path->delay;
	frame->len = len;
	rumpel_iov_read(iov, count, 0, frame->data, len);
	*path->tail = frame;
	path->tail = &frame->next;
	path->queued += size;
	return 0;
}

static void path_drop_head(struct link_path *path)
{
	struct link_frame *frame = path->head;

	path->head = frame->next;
	if (!path->head)
		path->tail = &path->head;
	path->queued -= sizeof(*frame) + frame->len;
	free(frame);
}

void link_path_clear(struct link_path *path)
{
	while (path->head) {
		if (path->to)
			rumpel_virtio_count(&path->to->net.virtio.stats.dropped, 1);
		path_drop_head(path);
	}
}

/* 0; -EAGAIN: it has to wait; else what happens to a frame that nobody gets. */
static int path_send(struct link_path *path, const struct rumpel_chain *chain)
{
	size_t len = chain->out_len;

	if (chain->in || len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > RUMPEL_NET_HEADER + RUMPEL_NET_GSO_MAX)
		return -EMSGSIZE;
	/* Nobody there, or nobody who has ever opened the interface. */
	if (!end_is_live(path->to) || !rumpel_queue_used_once(rumpel_net_rx_queue(&path->to->net)))
		return -ENETDOWN;
	if (!rumpel_net_is_up(&path->from->net) || !rumpel_net_is_up(&path->to->net))
		return -ENETDOWN;
	if (path->delay)
		return path_hold(path, path->iov, chain->out, len);
	return path_hand_over(path, path->iov, chain->out, len);
}

/* 1: one frame less; 0: none there; -EAGAIN, -EBUSY: the rest has to wait; -EIO: broken. */
static int path_transmit_one(struct link_path *path)
{
	struct rumpel_net *net = &path->from->net;
	struct rumpel_queue *queue = rumpel_net_tx_queue(net);
	struct rumpel_device_stats *stats = &net->virtio.stats;
	struct rumpel_chain chain;
	int result;

	result = rumpel_queue_peek(queue, 0, path->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	result = path_send(path, &chain);
	if (result == -EBUSY || (result == -EAGAIN && !path->overrun))
		return result;
	if (result == -EMSGSIZE) {
		rumpel_virtio_count(&stats->errors, 1);
	} else {
		size_t len = chain.out_len - RUMPEL_NET_HEADER;

		rumpel_net_record(net, path->iov, chain.out, RUMPEL_NET_HEADER, len);
		rumpel_virtio_count(result ? &stats->dropped : &stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, result ? 0 : len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

static void path_tell_receiver(struct link_path *path)
{
	if (path->fresh && rumpel_queue_wants_interrupt(rumpel_net_rx_queue(&path->to->net)))
		rumpel_virtio_interrupt_by(&path->to->net.virtio, link_path_sender(path));
	path->fresh = false;
}

/* Locked. Sends what it can; -EAGAIN, -EBUSY: frames are left. */
static int path_drain(struct link_path *path, unsigned int *moved)
{
	struct rumpel_virtio *virtio = &path->from->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&path->from->net);
	bool empty = !path->head;
	int result;

	while ((result = path_transmit_one(path)) > 0) {
		if (++*moved % LINK_BATCH)
			continue;
		rumpel_virtio_publish(virtio, queue);
		path_tell_receiver(path);
	}
	if (*moved % LINK_BATCH)
		rumpel_virtio_publish(virtio, queue);
	path_tell_receiver(path);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
	if (empty && path->head)
		rumpel_device_notify_by(link_path_sender(path), &path->to->net.virtio.device);
	/* Who is not starved does not look for new buffers before the next frame. */
	if (*moved && path->to && !path->delay && result != -EAGAIN)
		rumpel_queue_notify_off(rumpel_net_rx_queue(&path->to->net));
	return result;
}

static void path_transmit(struct link_path *path, bool overrun)
{
	struct link_end *from = path->from;
	unsigned int moved = 0;
	int result = 0;

	pthread_mutex_lock(&path->lock);
	/* Whoever is held up has no fault. */
	path->overrun |= overrun && !(path->to && rumpel_net_is_held_up(&path->to->net));
	if (end_is_live(from))
		result = path_drain(path, &moved);
	pthread_mutex_unlock(&path->lock);
	/* With delay the timer is for what arrives. */
	if (path->delay)
		return;
	rumpel_net_set_stalled(&from->net, result == -EAGAIN || result == -EBUSY);
	if (result != -EAGAIN)
		end_arm(from, RUMPEL_NO_DEADLINE);
	else if (moved || from->timer.deadline == RUMPEL_NO_DEADLINE)
		end_arm(from, end_now(from) + LINK_PATIENCE);
}

void link_path_transmit(struct link_path *path)
{
	path_transmit(path, false);
}

void link_path_expire(struct link_path *path)
{
	path_transmit(path, true);
}

void link_path_arrive(struct link_path *path)
{
	struct link_end *to = path->to;
	uint64_t now = end_now(to), next = RUMPEL_NO_DEADLINE;
	int result = 0;

	pthread_mutex_lock(&path->lock);
	/* The driver may have been caught at something. */
	if (!end_is_live(to))
		link_path_clear(path);
	while (path->head && path->head->due <= now) {
		struct link_frame *frame = path->head;
		struct iovec iov = { frame->data, frame->len };

		result = path_hand_over(path, &iov, 1, frame->len);
		if (result == -EAGAIN || result == -EBUSY)
			break;
		if (result)
			rumpel_virtio_count(&to->net.virtio.stats.dropped, 1);
		path_drop_head(path);
	}
	path_tell_receiver(path);
	/* With no buffers it is the driver that tells when to go on. */
	if (path->head && result != -EAGAIN && result != -EBUSY)
		next = path->head->due;
	pthread_mutex_unlock(&path->lock);
	end_arm(to, next);
}
