// SPDX-License-Identifier: GPL-2.0-only
/* Frames in a stream of bytes: what the kernel receives. */
#include "net_pipe.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PIPE_READS 8 /* system calls before others get their turn */
/* The same on a virtual clock: frames, and how long they last. */
#define PIPE_BURST 256
#define PIPE_REST 1000

static void pipe_report(const struct net_pipe *pipe, const char *why)
{
	bool text = pipe->reader.format == RUMPEL_PACKETS_TEXT;
	char where[64];

	snprintf(where, sizeof(where), "%s %llu", text ? "line" : "packet",
		 (unsigned long long)pipe->reader.count);
	net_pipe_say(pipe, where, why);
}

/* False: there is no room. */
static bool pass_to(struct net_pipe *joined, const struct rumpel_packet *found)
{
	char *at;

	if (joined->out.watch.fd < 0 || joined->format != RUMPEL_PACKETS_TEXT)
		return true;
	at = rumpel_stream_room(&joined->out, found->len + 1);
	if (!at && net_pipe_flush(joined) && joined->out.watch.fd >= 0)
		at = rumpel_stream_room(&joined->out, found->len + 1);
	if (!at && joined->out.watch.fd < 0)
		return true;
	if (!at) {
		net_pipe_stall(joined);
		return false;
	}
	memcpy(at, found->data, found->len);
	joined->out.end += found->len;
	if (at[found->len - 1] != '\n')
		joined->out.bytes[joined->out.end++] = '\n';
	return true;
}

static bool pipe_pass(struct net_pipe *pipe, const struct rumpel_packet *found)
{
	struct net_pipe *joined = net_pipe_borrow(pipe);
	bool passed = !joined || pass_to(joined, found);

	if (joined)
		rumpel_net_give_back(&pipe->net);
	return passed;
}

/* 0; -EMSGSIZE: it cannot be had; -EAGAIN: no receive buffers; -EIO: broken. */
static int pipe_deliver(struct net_pipe *pipe, const struct rumpel_packet *found)
{
	struct virtio_net_hdr_v1 header = { 0 };
	struct rumpel_net *net = &pipe->net;
	struct rumpel_net_rx *rx = &pipe->rx;
	int result;

	if (found->header) {
		memcpy(&header, found->header, sizeof(header));
		/* 5.1.6.4.1: of the flags, the device may only set what it means. */
		header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
		if (!rumpel_net_takes(net, &header))
			return -EMSGSIZE;
	}
	do {
		result = rumpel_net_gather(net, rx, RUMPEL_NET_HEADER + found->len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), rx->count));
	if (result <= 0)
		return result ? result : -EAGAIN;
	rumpel_iov_write(rx->iov, rx->iov_count, RUMPEL_NET_HEADER, found->data, found->len);
	return rumpel_net_hand_over(net, rx, &header, RUMPEL_NET_HEADER + found->len);
}

/* What was found has been dealt with: 0; else as pipe_deliver(). */
static int pipe_settle(struct net_pipe *pipe)
{
	struct rumpel_device_stats *stats = &pipe->net.virtio.stats;
	int result = 0;

	switch (pipe->kind) {
	case RUMPEL_PACKET_FRAME:
		result = pipe_deliver(pipe, &pipe->found);
		if (result == -EMSGSIZE) {
			rumpel_virtio_count(&stats->errors, 1);
			result = 0;
		}
		break;
	case RUMPEL_PACKET_OTHER:
		result = pipe_pass(pipe, &pipe->found) ? 0 : -EAGAIN;
		break;
	case RUMPEL_PACKET_BAD:
	case RUMPEL_PACKET_LOST:
		rumpel_virtio_count(&stats->errors, 1);
		pipe_report(pipe, pipe->found.why);
		break;
	default:
		break;
	}
	return result;
}

/* On a virtual clock, have others to live first? */
static bool pipe_rests(struct net_pipe *pipe)
{
	struct rumpel_kernel *kernel = pipe->net.virtio.device.kernel;

	if (pipe->burst < PIPE_BURST || !rumpel_kernel_is_virtual(kernel))
		return false;
	if (pipe->timer.deadline == RUMPEL_NO_DEADLINE)
		rumpel_timer_arm(kernel, &pipe->timer, rumpel_kernel_now(kernel) + PIPE_REST);
	return true;
}

/* The writer has ended, or what it writes cannot be read. */
static void pipe_end(struct net_pipe *pipe, enum rumpel_pipe_event event)
{
	rumpel_stream_close(&pipe->in);
	net_pipe_tell(pipe, event);
	net_pipe_listen(pipe);
}

/* What is next in the memory of both ends? */
static enum rumpel_packet_kind pipe_find(struct net_pipe *pipe)
{
	const char *bytes = NULL;
	uint32_t size = 0;

	switch (net_shared_find(&pipe->shared, &bytes, &size)) {
	case NET_SHARED_EMPTY:
		return RUMPEL_PACKET_MORE;
	case NET_SHARED_DAMAGED:
		bytes = NULL;
		break;
	default:
		break;
	}
	pipe->reader.count++;
	return packets_at(&pipe->found, bytes, size);
}

/* What is at the start of the input? */
static enum rumpel_packet_kind pipe_read(struct net_pipe *pipe, bool end)
{
	const size_t len = pipe->in.end - pipe->in.start;

	if (pipe->shared.halves)
		return pipe_find(pipe);
	return rumpel_packet_read(&pipe->reader, pipe->in.bytes + pipe->in.start, len, end,
				  &pipe->found);
}

/* What was found there has been dealt with. */
static void pipe_take(struct net_pipe *pipe)
{
	if (pipe->kind == RUMPEL_PACKET_LOST)
		pipe_end(pipe, RUMPEL_PIPE_DAMAGED);
	else if (pipe->shared.halves)
		net_shared_take(&pipe->shared);
	else
		pipe->in.start += pipe->found.used;
}

/* Hands over what was read. 0; -EAGAIN: no receive buffers, no room at the output, or a rest;
 * -EIO: broken. */
static int pipe_deliver_all(struct net_pipe *pipe, bool end)
{
	int result;

	while (pipe->in.watch.fd >= 0) {
		if (pipe->kind == RUMPEL_PACKET_MORE)
			pipe->kind = pipe_read(pipe, end);
		if (pipe->kind == RUMPEL_PACKET_MORE)
			return 0;
		/* Those that are in the kernel already have room in its queues. */
		if (rumpel_net_is_held_up(&pipe->net) || pipe_rests(pipe))
			return -EAGAIN;
		result = pipe_settle(pipe);
		if (result)
			return result;
		pipe->burst += pipe->kind == RUMPEL_PACKET_FRAME;
		pipe_take(pipe);
		pipe->kind = RUMPEL_PACKET_MORE;
	}
	return 0;
}

/* As pipe_receive_some(), of memory. */
static int pipe_receive_shared(struct net_pipe *pipe)
{
	/* In this order: what there is after the end is all. */
	bool end = pipe->gone || net_shared_has_ended(&pipe->shared);
	int result = pipe_deliver_all(pipe, end);

	if (pipe->in.watch.fd >= 0 && net_shared_made_room(&pipe->shared))
		net_pipe_kick(&pipe->in.watch);
	if (!result && end && pipe->in.watch.fd >= 0)
		pipe_end(pipe, RUMPEL_PIPE_END);
	return result;
}

/* 1: others get their turn; 0: nothing there, or the end; else as pipe_deliver_all(). */
static int pipe_receive_some(struct net_pipe *pipe)
{
	int result;

	if (pipe->shared.halves)
		return pipe_receive_shared(pipe);
	result = pipe_deliver_all(pipe, false);
	for (int i = 0; i < PIPE_READS && !result && pipe->in.watch.fd >= 0; i++) {
		ssize_t len = rumpel_stream_fill(&pipe->in);

		if (len == -EAGAIN)
			return 0;
		result = pipe_deliver_all(pipe, !len);
		if (!len && !result && pipe->in.watch.fd >= 0)
			pipe_end(pipe, RUMPEL_PIPE_END);
	}
	return result ? result : 1;
}

/*
 * Is the kernel to send first what waits for room in the transmit queue? It was full, and there is
 * room by now. One that always got as much as it sent, and some more, would lose some of it.
 */
static bool joined_has_more(struct net_pipe *pipe)
{
	struct net_pipe *joined = net_pipe_borrow(pipe);
	bool has;

	if (!joined)
		return false;
	has = joined->crowded;
	joined->crowded = false;
	rumpel_net_give_back(&pipe->net);
	return has;
}

/* Is there a reason to read nothing for now, or are there more frames to come? */
static void pipe_hold(struct net_pipe *pipe, bool held)
{
	pipe->held = held;
	if (pipe->shared.halves)
		net_pipe_listen(pipe);
	else if (pipe->in.watch.fd >= 0)
		pipe->in.watch.events = held ? 0 : POLLIN;
}

void net_pipe_receive(struct net_pipe *pipe)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(&pipe->net);
	struct net_pipe *joined;
	uint16_t before = queue->next_used;
	int result;

	if (pipe->in.watch.fd < 0)
		return;
	/* Before its first buffers the interface has never been opened. */
	if (!rumpel_queue_used_once(queue) || __atomic_load_n(&pipe->paused, __ATOMIC_SEQ_CST)) {
		pipe_hold(pipe, true);
		return;
	}
	rumpel_net_send_joined(&pipe->net);
	result = joined_has_more(pipe) ? 1 : pipe_receive_some(pipe);
	/* With no buffers it is the driver that tells when to go on, or the other's reader; at rest,
	 * the timer. */
	pipe_hold(pipe, result < 0);
	rumpel_net_received(&pipe->net, before, result);
	/* Lines went straight through. */
	joined = net_pipe_borrow(pipe);
	if (joined) {
		if (joined->out.start < joined->out.end)
			net_pipe_flush(joined);
		rumpel_net_give_back(&pipe->net);
	}
}

void net_pipe_rested(struct rumpel_timer *timer)
{
	struct net_pipe *pipe = (void *)((char *)timer - offsetof(struct net_pipe, timer));

	pipe->burst = 0;
	if (rumpel_virtio_is_live(&pipe->net.virtio))
		net_pipe_receive(pipe);
}
