// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames in a stream of bytes: an interface reads packets from one descriptor
 * and writes them to another, so that a kernel is a filter as grep is one. All
 * of it happens under the token. When the reader is slow, frames wait in the
 * transmit queue; when the driver is, the writer does.
 *
 * Two interfaces of one kernel may be joined: lines that are no packets go
 * straight through.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net.h"
#include "packets.h"
#include "stream.h"

#define PIPE_READS 8 /* system calls before others get their turn */
struct net_pipe {
	struct rumpel_net net; /* first */
	struct net_pipe *joined;
	struct rumpel_stream in, out;
	struct rumpel_packet_reader reader;
	enum rumpel_packet_kind kind; /* what is at the start of the input, MORE: not yet known */
	struct rumpel_packet found;
	enum rumpel_packets format;
	char direction;
	bool stalled; /* a frame, or a line of the joined one, waits for room */
	bool paused; /* atomic: nothing is read yet */
	bool ending; /* atomic: when all is written, the output is closed */
	int events; /* where bytes of enum rumpel_pipe_event are written */
	int report; /* where messages are written, or -1 */
	char name[RUMPEL_PIPE_NAME];
	char *frame;
	struct iovec iov[RUMPEL_QUEUE_MAX];
	struct rumpel_net_rx rx;
};

static struct net_pipe *to_pipe(struct rumpel_virtio *virtio)
{
	return (struct net_pipe *)virtio;
}

/* Only then the token is held of both. */
static bool is_one_kernel(const struct net_pipe *pipe, const struct net_pipe *other)
{
	return pipe->net.virtio.device.kernel == other->net.virtio.device.kernel;
}

static void pipe_tell(const struct net_pipe *pipe, enum rumpel_pipe_event event)
{
	char byte = event;

	rumpel_stream_write(pipe->events, &byte, 1);
}

/* ---- output ---- */

static void pipe_broken(struct net_pipe *pipe)
{
	rumpel_stream_close(&pipe->out);
	pipe_tell(pipe, RUMPEL_PIPE_BROKEN);
}

/* False: it does not take more now. */
static bool pipe_flush(struct net_pipe *pipe)
{
	struct rumpel_stream *out = &pipe->out;
	int result = rumpel_stream_flush(out);

	if (result == -EAGAIN) {
		out->watch.events = POLLOUT;
		return false;
	}
	if (result)
		pipe_broken(pipe);
	else
		/* Whoever waits for room is told by pipe_writable(), for there is some now. */
		out->watch.events = pipe->stalled ? POLLOUT : 0;
	return true;
}

static void pipe_end_output(struct net_pipe *pipe)
{
	rumpel_stream_end(&pipe->out);
	pipe_tell(pipe, RUMPEL_PIPE_DONE);
}

/* 1: a frame less in the queue; 0: none there; -EAGAIN: no room; -EIO: broken. */
static int pipe_transmit_one(struct net_pipe *pipe)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&pipe->net);
	struct rumpel_device_stats *stats = &pipe->net.virtio.stats;
	struct rumpel_chain chain;
	char *at = NULL;
	size_t len;
	int result;

	if (pipe->out.watch.fd >= 0) {
		at = rumpel_stream_room(&pipe->out, RUMPEL_PACKET_LONGEST);
		if (!at && pipe_flush(pipe))
			at = rumpel_stream_room(&pipe->out, RUMPEL_PACKET_LONGEST);
		if (!at && pipe->out.watch.fd >= 0) {
			pipe->stalled = true;
			return -EAGAIN;
		}
	}
	result = rumpel_queue_peek(queue, 0, pipe->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	len = chain.out_len - RUMPEL_NET_HEADER;
	if (chain.in || chain.out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > RUMPEL_FRAME_MAX) {
		rumpel_virtio_count(&stats->errors, 1);
	} else if (!at) {
		rumpel_virtio_count(&stats->dropped, 1);
	} else {
		rumpel_net_record(&pipe->net, pipe->iov, chain.out, RUMPEL_NET_HEADER, len);
		rumpel_iov_read(pipe->iov, chain.out, RUMPEL_NET_HEADER, pipe->frame, len);
		pipe->out.end += rumpel_packet_write(
			pipe->format, at, rumpel_kernel_now(pipe->net.virtio.device.kernel),
			pipe->direction, pipe->frame, len);
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

static void pipe_transmit(struct net_pipe *pipe)
{
	struct rumpel_virtio *virtio = &pipe->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&pipe->net);
	uint16_t before = queue->next_used;
	int result;

	do {
		result = pipe_transmit_one(pipe);
	} while (result > 0);
	if (queue->next_used != before)
		rumpel_virtio_publish(virtio, queue);
	if (pipe->out.watch.fd >= 0 && pipe_flush(pipe) && result == 0 && pipe->ending)
		pipe_end_output(pipe);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- input ---- */

static void pipe_report(const struct net_pipe *pipe, const char *why)
{
	bool text = pipe->reader.format == RUMPEL_PACKETS_TEXT;
	/* Better lost than waited for. */
	struct pollfd pollfd = { .fd = pipe->report, .events = POLLOUT };
	char message[256];
	int len;

	if (pipe->report < 0 || poll(&pollfd, 1, 0) <= 0)
		return;
	len = snprintf(message, sizeof(message), "%s: %s %llu: %s\n", pipe->name,
		       text ? "line" : "packet", (unsigned long long)pipe->reader.count, why);
	rumpel_stream_write(pipe->report, message, len);
}

/* False: there is no room. */
static bool pipe_pass(struct net_pipe *pipe, const struct rumpel_packet *found)
{
	struct net_pipe *joined = pipe->joined;
	char *at;

	if (!joined || joined->out.watch.fd < 0 || joined->format != RUMPEL_PACKETS_TEXT ||
	    !is_one_kernel(pipe, joined))
		return true;
	at = rumpel_stream_room(&joined->out, found->len + 1);
	if (!at && pipe_flush(joined) && joined->out.watch.fd >= 0)
		at = rumpel_stream_room(&joined->out, found->len + 1);
	if (!at) {
		joined->stalled = joined->out.watch.fd >= 0;
		return !joined->stalled;
	}
	memcpy(at, found->data, found->len);
	joined->out.end += found->len;
	if (at[found->len - 1] != '\n')
		joined->out.bytes[joined->out.end++] = '\n';
	return true;
}

/* 0; -EMSGSIZE: it cannot be had; -EAGAIN: no receive buffers; -EIO: broken. */
static int pipe_deliver(struct net_pipe *pipe, const struct rumpel_packet *found)
{
	static const struct virtio_net_hdr_v1 header;
	struct rumpel_net *net = &pipe->net;
	struct rumpel_net_rx *rx = &pipe->rx;
	int result;

	do {
		result = rumpel_net_gather(net, rx, RUMPEL_NET_HEADER + found->len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), rx->count));
	if (result <= 0)
		return result ? result : -EAGAIN;
	rumpel_iov_write(rx->iov, rx->iov_count, 0, &header, RUMPEL_NET_HEADER);
	rumpel_iov_write(rx->iov, rx->iov_count, RUMPEL_NET_HEADER, found->data, found->len);
	rumpel_net_record(net, rx->iov, rx->iov_count, RUMPEL_NET_HEADER, found->len);
	rumpel_net_deliver(net, rx, RUMPEL_NET_HEADER + found->len);
	return 0;
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

/* The writer has ended, or what it writes cannot be read. */
static void pipe_end(struct net_pipe *pipe, enum rumpel_pipe_event event)
{
	rumpel_stream_close(&pipe->in);
	pipe_tell(pipe, event);
}

/*
 * Does the output wait that what comes in goes to? Then more of it would be lost in the
 * kernel's queues; those that are in it, have room in there.
 */
static bool is_held_up(const struct net_pipe *pipe)
{
	const struct net_pipe *joined = pipe->joined;

	return joined && joined->stalled && joined->out.watch.fd >= 0 &&
	       is_one_kernel(pipe, joined);
}

/* Hands over what was read. 0; -EAGAIN: no receive buffers, or no room at the output; -EIO:
 * broken. */
static int pipe_deliver_all(struct net_pipe *pipe, bool end)
{
	struct rumpel_stream *in = &pipe->in;
	int result;

	while (in->watch.fd >= 0) {
		if (pipe->kind == RUMPEL_PACKET_MORE)
			pipe->kind = rumpel_packet_read(&pipe->reader, in->bytes + in->start,
							in->end - in->start, end, &pipe->found);
		if (pipe->kind == RUMPEL_PACKET_MORE)
			return 0;
		if (is_held_up(pipe))
			return -EAGAIN;
		result = pipe_settle(pipe);
		if (result)
			return result;
		in->start += pipe->found.used;
		if (pipe->kind == RUMPEL_PACKET_LOST)
			pipe_end(pipe, RUMPEL_PIPE_DAMAGED);
		pipe->kind = RUMPEL_PACKET_MORE;
	}
	return 0;
}

/* 1: others get their turn; 0: nothing there, or the end; else as pipe_deliver_all(). */
static int pipe_receive_some(struct net_pipe *pipe)
{
	int result = pipe_deliver_all(pipe, false);

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

static void pipe_receive(struct net_pipe *pipe)
{
	struct rumpel_virtio *virtio = &pipe->net.virtio;
	struct rumpel_queue *queue = rumpel_net_rx_queue(&pipe->net);
	uint16_t before = queue->next_used;
	int result;

	/* Before its first buffers the interface has never been opened. */
	if (!rumpel_queue_used_once(queue) || pipe->in.watch.fd < 0 ||
	    __atomic_load_n(&pipe->paused, __ATOMIC_SEQ_CST))
		return;
	result = pipe_receive_some(pipe);
	/* With no buffers it is the driver that tells when to go on, or the other's reader. */
	if (pipe->in.watch.fd >= 0)
		pipe->in.watch.events = result < 0 ? 0 : POLLIN;
	if (result >= 0)
		rumpel_queue_notify_off(queue);
	if (queue->next_used != before && rumpel_queue_wants_interrupt(queue))
		rumpel_virtio_interrupt(virtio);
	/* Lines went straight through. */
	if (pipe->joined && is_one_kernel(pipe, pipe->joined) &&
	    pipe->joined->out.start < pipe->joined->out.end)
		pipe_flush(pipe->joined);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- the device ---- */

static void pipe_service(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	pipe_transmit(pipe);
	/* While the input is watched, there is nothing to see here. */
	if (!pipe->in.watch.events)
		pipe_receive(pipe);
}

static void pipe_readable(struct rumpel_watch *watch, short revents)
{
	struct net_pipe *pipe = (void *)((char *)watch - offsetof(struct net_pipe, in.watch));

	(void)revents;
	if (rumpel_virtio_is_live(&pipe->net.virtio))
		pipe_receive(pipe);
	else
		watch->events = 0;
}

static void pipe_writable(struct rumpel_watch *watch, short revents)
{
	struct net_pipe *pipe = (void *)((char *)watch - offsetof(struct net_pipe, out.watch));
	struct net_pipe *joined = pipe->joined;

	(void)revents;
	if (!rumpel_virtio_is_live(&pipe->net.virtio)) {
		watch->events = 0;
		return;
	}
	pipe->stalled = false;
	pipe_transmit(pipe);
	if (joined && !joined->in.watch.events && is_one_kernel(pipe, joined) &&
	    rumpel_virtio_is_live(&joined->net.virtio))
		pipe_receive(joined);
}

/* No driver, no frames: they wait in the pipe. */
static void pipe_quiesce(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	pipe->in.watch.events = 0;
	if (pipe->out.watch.fd >= 0)
		pipe_flush(pipe);
	pipe->out.watch.events = 0;
}

static int pipe_attach(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	rumpel_kernel_watch(virtio->device.kernel, &pipe->in.watch);
	rumpel_kernel_watch(virtio->device.kernel, &pipe->out.watch);
	return 0;
}

static void pipe_detach(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	rumpel_kernel_unwatch(virtio->device.kernel, &pipe->in.watch);
	rumpel_kernel_unwatch(virtio->device.kernel, &pipe->out.watch);
}

/* A pipe has one reader, and that is the parent's kernel. */
static void pipe_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_pipe *pipe = to_pipe(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&pipe->net);
	rumpel_stream_close(&pipe->in);
	rumpel_stream_close(&pipe->out);
}

static void pipe_free(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	if (pipe->joined)
		pipe->joined->joined = NULL;
	rumpel_net_exit(&pipe->net);
	if (pipe->events >= 0)
		close(pipe->events);
	if (pipe->report >= 0)
		close(pipe->report);
	rumpel_stream_free(&pipe->in);
	rumpel_stream_free(&pipe->out);
	free(pipe->frame);
	free(pipe);
}

static const struct rumpel_virtio_ops pipe_ops = {
	.service = pipe_service,
	.quiesce = pipe_quiesce,
	.attach = pipe_attach,
	.detach = pipe_detach,
	.finish = rumpel_net_finish,
	.fork = pipe_fork,
	.free = pipe_free,
};

static int duplicate(int fd, int *result)
{
	if (fd < 0)
		return 0;
	*result = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *result < 0 ? -errno : 0;
}

static int pipe_open(struct net_pipe *pipe, const struct rumpel_pipe *config)
{
	int error = rumpel_stream_open(&pipe->in, config->in, O_RDONLY);

	if (!error)
		error = rumpel_stream_open(&pipe->out, config->out, O_WRONLY);
	if (!error)
		error = duplicate(config->events, &pipe->events);
	if (!error)
		error = duplicate(config->report, &pipe->report);
	pipe->in.watch.ready = pipe_readable;
	pipe->out.watch.ready = pipe_writable;
	pipe->reader.format = config->read;
	pipe->format = config->write ? config->write : RUMPEL_PACKETS_TEXT;
	pipe->paused = config->paused;
	pipe->direction = config->backward ? '<' : '>';
	if (config->name)
		strncpy(pipe->name, config->name, sizeof(pipe->name) - 1);
	return error;
}

int rumpel_net_pipe(const struct rumpel_pipe *config, const uint8_t mac[6], unsigned int mtu,
		    struct rumpel_device **device)
{
	struct net_pipe *pipe = calloc(1, sizeof(*pipe));
	int error = pipe ? rumpel_net_init(&pipe->net, &pipe_ops, 0, mac, mtu) : -ENOMEM;

	if (error) {
		free(pipe);
		return error;
	}
	pipe->in.watch.fd = pipe->out.watch.fd = pipe->events = pipe->report = -1;
	pipe->frame = malloc(RUMPEL_FRAME_MAX);
	error = pipe->frame ? pipe_open(pipe, config) : -ENOMEM;
	if (error) {
		pipe_free(&pipe->net.virtio);
		return error;
	}
	/* A reader wants to see it at once. */
	if (pipe->out.watch.fd >= 0)
		pipe->out.end = rumpel_packets_begin(pipe->format, pipe->out.bytes);
	*device = &pipe->net.virtio.device;
	return 0;
}

static struct net_pipe *pipe_of(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = rumpel_virtio_of(device, VIRTIO_ID_NET);

	return virtio && virtio->ops == &pipe_ops ? to_pipe(virtio) : NULL;
}

int rumpel_net_pipe_join(struct rumpel_device *device, struct rumpel_device *other)
{
	struct net_pipe *a = pipe_of(device), *b = pipe_of(other);

	if (!a || !b || a == b || a->joined || b->joined || device->kernel || other->kernel)
		return -EINVAL;
	a->joined = b;
	b->joined = a;
	return 0;
}

int rumpel_net_pipe_resume(struct rumpel_device *device)
{
	struct net_pipe *pipe = pipe_of(device);

	if (!pipe)
		return -EINVAL;
	__atomic_store_n(&pipe->paused, false, __ATOMIC_SEQ_CST);
	rumpel_device_notify(device);
	return 0;
}

int rumpel_net_pipe_end(struct rumpel_device *device)
{
	struct net_pipe *pipe = pipe_of(device);

	if (!pipe)
		return -EINVAL;
	__atomic_store_n(&pipe->ending, true, __ATOMIC_SEQ_CST);
	rumpel_device_notify(device);
	return 0;
}
