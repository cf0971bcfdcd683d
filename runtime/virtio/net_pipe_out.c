// SPDX-License-Identifier: GPL-2.0-only
/* Frames in a stream of bytes: what the kernel sends. */
#include "net_pipe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* Frames sent at once behind which more may wait in the kernel: its queue was full. A fourth of
 * it, since a frame may take several of its descriptors. */
#define PIPE_CROWD (RUMPEL_QUEUE_MAX / 4)
/* Bytes of a frame for whose sake a call is made. */
#define PIPE_LARGE 16384

void net_pipe_stall(struct net_pipe *pipe)
{
	rumpel_net_set_stalled(&pipe->net, true);
	/* Of memory, it is asked for by whoever goes to sleep. */
	if (!pipe->shared.halves)
		pipe->out.watch.events = POLLOUT;
}

void net_pipe_unstall(struct net_pipe *pipe)
{
	/* The joined one goes on when this is done, if that has not stalled again. */
	rumpel_net_set_stalled(&pipe->net, false);
	net_pipe_transmit(pipe);
}

static void pipe_broken(struct net_pipe *pipe, int error)
{
	/* That nobody reads any more is no fault; that a disk is full is. */
	if (error != -EPIPE && error != -ECONNRESET) {
		rumpel_virtio_count(&pipe->net.virtio.stats.errors, 1);
		net_pipe_say(pipe, "output", strerror(-error));
	}
	rumpel_stream_close(&pipe->out);
	/* All is taken from now on. */
	rumpel_net_set_stalled(&pipe->net, false);
	net_pipe_tell(pipe, RUMPEL_PIPE_BROKEN);
}

bool net_pipe_flush(struct net_pipe *pipe)
{
	struct rumpel_stream *out = &pipe->out;
	int result = rumpel_stream_flush(out);

	if (result == -EAGAIN) {
		out->watch.events = POLLOUT;
		return false;
	}
	if (result)
		pipe_broken(pipe, result);
	else
		/* Whoever waits for room is told by pipe_writable(), for there is some now. */
		out->watch.events = pipe->net.stalled ? POLLOUT : 0;
	return true;
}

static void pipe_end_output(struct net_pipe *pipe)
{
	if (pipe->shared.halves) {
		net_shared_end(&pipe->shared);
		net_pipe_kick(&pipe->out.watch);
		rumpel_stream_close(&pipe->out);
	} else {
		rumpel_stream_end(&pipe->out);
	}
	net_pipe_tell(pipe, RUMPEL_PIPE_DONE);
}

/* Writes the frame that is in pipe->iov: its bytes. */
static size_t pipe_encode(struct net_pipe *pipe, char *at, const struct rumpel_chain *chain)
{
	size_t len = chain->out_len - RUMPEL_NET_HEADER;

	if (pipe->format == RUMPEL_PACKETS_VIRTIO)
		return packets_write_virtio(at, pipe->iov, chain->out, chain->out_len);
	rumpel_iov_read(pipe->iov, chain->out, RUMPEL_NET_HEADER, pipe->frame, len);
	return rumpel_packet_write(pipe->format, at,
				   rumpel_kernel_now(pipe->net.virtio.device.kernel),
				   pipe->direction, pipe->frame, len);
}

/* Writes it without a copy of ours. False: it is too small for that, or may not go now. There is
 * room for what is written instead. */
static bool pipe_pass_on(struct net_pipe *pipe, const struct rumpel_chain *chain)
{
	const uint32_t size = chain->out_len;

	if (pipe->format != RUMPEL_PACKETS_VIRTIO || size < PIPE_LARGE)
		return false;
	if (pipe->out.start < pipe->out.end && !net_pipe_flush(pipe))
		return false;
	/* It broke just now: lost, as what was written before. */
	if (pipe->out.watch.fd < 0)
		return true;
	pipe->sent[0] = (struct iovec){ (void *)&size, sizeof(size) };
	memcpy(pipe->sent + 1, pipe->iov, chain->out * sizeof(*pipe->iov));
	return rumpel_stream_pass(&pipe->out, pipe->sent, 1 + chain->out, sizeof(size) + size);
}

/* Is there somebody to write to? That nobody is, is found when there is something to be written. */
static bool pipe_is_whole(struct net_pipe *pipe)
{
	if (pipe->gone && pipe->out.watch.fd >= 0)
		pipe_broken(pipe, -EPIPE);
	return pipe->out.watch.fd >= 0;
}

/* False: there is no room in the stream for any frame. Then, or before, it may be broken. */
static bool pipe_make_room(struct net_pipe *pipe)
{
	if (pipe->out.watch.fd < 0 || rumpel_stream_room(&pipe->out, RUMPEL_PACKET_LONGEST))
		return true;
	return net_pipe_flush(pipe) &&
	       (pipe->out.watch.fd < 0 || rumpel_stream_room(&pipe->out, RUMPEL_PACKET_LONGEST));
}

/* Writes the frame that is in pipe->iov. False: there is no room. */
static bool pipe_write(struct net_pipe *pipe, const struct rumpel_chain *chain)
{
	if (pipe->shared.halves)
		return net_shared_put(&pipe->shared, pipe->iov, chain->out, chain->out_len);
	/* What is written meanwhile makes more room, and maybe all of it. */
	if (!pipe_pass_on(pipe, chain))
		pipe->out.end += pipe_encode(pipe, pipe->out.bytes + pipe->out.end, chain);
	return true;
}

/* 1: a frame less in the queue; 0: none there; -EAGAIN: no room; -EIO: broken. */
static int pipe_transmit_one(struct net_pipe *pipe)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&pipe->net);
	struct rumpel_device_stats *stats = &pipe->net.virtio.stats;
	struct rumpel_chain chain;
	size_t len;
	int result;

	if (!pipe->shared.halves && !pipe_make_room(pipe)) {
		net_pipe_stall(pipe);
		return -EAGAIN;
	}
	result = rumpel_queue_peek(queue, 0, pipe->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	len = chain.out_len - RUMPEL_NET_HEADER;
	if (chain.in || chain.out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > (pipe->format == RUMPEL_PACKETS_VIRTIO ? RUMPEL_NET_GSO_MAX : RUMPEL_FRAME_MAX)) {
		rumpel_virtio_count(&stats->errors, 1);
	} else if (!pipe_is_whole(pipe)) {
		rumpel_virtio_count(&stats->dropped, 1);
	} else if (!pipe_write(pipe, &chain)) {
		net_pipe_stall(pipe);
		return -EAGAIN;
	} else {
		rumpel_net_record(&pipe->net, pipe->iov, chain.out, RUMPEL_NET_HEADER, len);
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

/* Has the reader see what was written. False: it does not take more now. */
static bool pipe_push(struct net_pipe *pipe)
{
	if (!pipe->shared.halves)
		return net_pipe_flush(pipe);
	if (net_shared_publish(&pipe->shared) && !net_pipe_kick(&pipe->out.watch))
		pipe_broken(pipe, -EPIPE);
	return true;
}

void net_pipe_transmit(struct net_pipe *pipe)
{
	struct rumpel_virtio *virtio = &pipe->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&pipe->net);
	uint16_t before = queue->next_used;
	int result;

	do {
		result = pipe_transmit_one(pipe);
	} while (result > 0);
	if ((uint16_t)(queue->next_used - before) >= PIPE_CROWD)
		pipe->crowded = true;
	if (queue->next_used != before)
		rumpel_virtio_publish(virtio, queue);
	if (pipe->out.watch.fd >= 0 && pipe_push(pipe) && result == 0 && pipe->ending)
		pipe_end_output(pipe);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}
