// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames over a stream socket: each behind its length in four bytes, most
 * significant first, as QEMU's "-netdev stream" and passt have it. Everything
 * happens under the token. When one side cannot take more, frames wait in the
 * socket or in the transmit queue; a frame of which the socket took a part
 * stays in the queue until it is sent whole.
 *
 * A peer that has gone may come back: whoever listens takes the next one,
 * whoever connects tries again. Meanwhile there is no carrier.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net_socket.h"

#define STREAM_BATCH 64 /* frames of one system call */
#define STREAM_IOV (2 * RUMPEL_QUEUE_MAX + STREAM_BATCH)
#define STREAM_READS 4 /* system calls before others get their turn */
#define STREAM_ROOM (256u << 10) /* bytes that were read */
#define STREAM_PREFIX sizeof(uint32_t)

struct net_stream {
	struct rumpel_net net; /* first */
	struct rumpel_watch watch; /* of the connection */
	struct rumpel_watch listener; /* fd -1: we connect, or have what was connected */
	struct rumpel_timer timer; /* when to try again */
	struct sockaddr_un address;
	socklen_t address_len; /* 0: none */
	pid_t owner; /* of the name that the listener has */
	uint64_t again; /* ns between attempts; 0: only one */
	/* What is being sent: the first has `part` bytes on the way, of `part_len`. */
	uint16_t head[STREAM_BATCH];
	size_t len[STREAM_BATCH];
	uint32_t prefix[STREAM_BATCH];
	struct iovec *frame[STREAM_BATCH];
	unsigned int elements[STREAM_BATCH];
	struct iovec iov[STREAM_IOV];
	size_t part, part_len;
	/* What was read: frames and their lengths, the last perhaps not whole. */
	char *bytes;
	size_t start, end;
	struct rumpel_net_rx rx;
};

static struct net_stream *to_stream(struct rumpel_virtio *virtio)
{
	return (struct net_stream *)virtio;
}

static bool is_connected(const struct net_stream *stream)
{
	return stream->watch.fd >= 0;
}

/* ---- the connection ---- */

static void stream_begin(struct net_stream *stream, int fd)
{
	stream->watch.fd = fd;
	stream->watch.polled = 0; /* whoever sleeps, polls another */
	stream->watch.events = POLLIN;
	stream->listener.events = 0;
	stream->start = stream->end = stream->part = 0;
	rumpel_net_carrier(&stream->net, true);
}

/* The peer has gone: half a frame is of no use to anybody. */
static void stream_end(struct net_stream *stream)
{
	if (!is_connected(stream))
		return;
	close(stream->watch.fd);
	stream->watch.fd = -1;
	stream->watch.events = 0;
	rumpel_net_carrier(&stream->net, false);
	stream->start = stream->end = stream->part = 0;
	if (stream->listener.fd >= 0)
		stream->listener.events = POLLIN;
	else if (stream->again)
		rumpel_timer_arm(stream->net.virtio.device.kernel, &stream->timer,
				 rumpel_kernel_now(stream->net.virtio.device.kernel) +
					 stream->again);
}

static int stream_connect(struct net_stream *stream)
{
	int fd = rumpel_unix_socket(SOCK_STREAM), error = fd < 0 ? fd : 0;

	/* To a unix socket it never takes time. */
	if (!error && connect(fd, (struct sockaddr *)&stream->address, stream->address_len) < 0)
		error = -errno;
	if (!error)
		stream_begin(stream, fd);
	else if (fd >= 0)
		close(fd);
	return error;
}

static void stream_again(struct rumpel_timer *timer)
{
	struct net_stream *stream = (void *)((char *)timer - offsetof(struct net_stream, timer));
	struct rumpel_kernel *kernel = stream->net.virtio.device.kernel;

	if (stream_connect(stream))
		rumpel_timer_arm(kernel, timer, rumpel_kernel_now(kernel) + stream->again);
}

static void stream_accept(struct rumpel_watch *watch, short revents)
{
	struct net_stream *stream = (void *)((char *)watch - offsetof(struct net_stream, listener));
	int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd >= 0 && is_connected(stream))
		close(fd);
	else if (fd >= 0)
		stream_begin(stream, fd);
}

/* ---- transmit ---- */

/* Looks at a batch of frames. Their number; *result: why there are no more. */
static unsigned int stream_collect(struct net_stream *stream, int *result, unsigned int *total)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&stream->net);
	unsigned int count = 0, used = 0;
	struct rumpel_chain chain;

	*result = 1;
	while (count < STREAM_BATCH && used < STREAM_IOV - 1) {
		struct iovec *iov = stream->iov + used + 1;
		unsigned int elements;

		*result = rumpel_queue_peek(queue, count, iov, STREAM_IOV - used - 1, &chain);
		if (*result <= 0)
			break;
		stream->head[count] = chain.head;
		stream->len[count] = chain.out_len - RUMPEL_NET_HEADER;
		if (chain.in || chain.out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
		    stream->len[count] > RUMPEL_NET_FRAME_MAX) {
			*result = -EMSGSIZE;
			break;
		}
		elements = rumpel_iov_skip(&iov, chain.out, RUMPEL_NET_HEADER);
		/* Without a gap where the header was. */
		memmove(stream->iov + used + 1, iov, elements * sizeof(*iov));
		stream->prefix[count] = htonl(stream->len[count]);
		stream->iov[used] = (struct iovec){ &stream->prefix[count], STREAM_PREFIX };
		stream->frame[count] = stream->iov + used + 1;
		stream->elements[count] = elements;
		used += elements + 1;
		count++;
	}
	*total = used;
	return count;
}

/* The next frame is done with: sent, or dropped for an error. */
static void stream_settle(struct net_stream *stream, unsigned int i, int error)
{
	struct rumpel_device_stats *stats = &stream->net.virtio.stats;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&stream->net);

	if (error == -EMSGSIZE) {
		rumpel_virtio_count(&stats->errors, 1);
	} else {
		rumpel_virtio_count(error ? &stats->dropped : &stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, error ? 0 : stream->len[i]);
	}
	rumpel_queue_put(queue, stream->head[i], 0);
	rumpel_queue_take(queue, 1);
}

/* Bytes that the socket took, or -EAGAIN; -EPIPE: there is no peer. */
static ssize_t stream_write(struct net_stream *stream, unsigned int total)
{
	struct iovec *iov = stream->iov;
	unsigned int left = rumpel_iov_skip(&iov, total, stream->part);
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = left };
	ssize_t done;

	do {
		done = sendmsg(stream->watch.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	if (done >= 0)
		return done;
	return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -EPIPE;
}

/* Sends a batch. False: the socket is full. */
static bool stream_send(struct net_stream *stream, unsigned int count, unsigned int total)
{
	bool begun = stream->part;
	ssize_t done;

	/* A driver that changes what is half sent. */
	if (begun && stream->part_len != stream->len[0])
		stream_end(stream);
	done = is_connected(stream) ? stream_write(stream, total) : -EPIPE;
	if (done == -EAGAIN)
		return false;
	if (done < 0) {
		stream_end(stream);
		for (unsigned int i = 0; i < count; i++)
			stream_settle(stream, i, -EPIPE);
		return true;
	}
	stream->part += done;
	for (unsigned int i = 0; i < count && stream->part; i++) {
		if (i || !begun)
			rumpel_net_record(&stream->net, stream->frame[i], stream->elements[i], 0,
					  stream->len[i]);
		if (stream->part < STREAM_PREFIX + stream->len[i]) {
			stream->part_len = stream->len[i];
			return false;
		}
		stream->part -= STREAM_PREFIX + stream->len[i];
		stream_settle(stream, i, 0);
	}
	return true;
}

static void stream_transmit(struct net_stream *stream)
{
	struct rumpel_virtio *virtio = &stream->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&stream->net);
	uint16_t before = queue->next_used;
	unsigned int count, total;
	bool full = false;
	int result;

	do {
		count = stream_collect(stream, &result, &total);
		if (count)
			full = !stream_send(stream, count, total);
		else if (result == -EMSGSIZE)
			stream_settle(stream, 0, result);
		else
			break;
	} while (!full);
	if (full)
		stream->watch.events |= POLLOUT;
	else
		stream->watch.events &= ~POLLOUT;
	if (queue->next_used != before)
		rumpel_virtio_publish(virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- receive ---- */

/* 0; -EMSGSIZE: no frame; -EAGAIN: no receive buffers; -EIO: broken. */
static int stream_deliver(struct net_stream *stream, const char *frame, size_t len)
{
	static const struct virtio_net_hdr_v1 header;
	struct rumpel_net *net = &stream->net;
	struct rumpel_net_rx *rx = &stream->rx;
	int result;

	if (len < RUMPEL_NET_FRAME_MIN)
		return -EMSGSIZE;
	do {
		result = rumpel_net_gather(net, rx, RUMPEL_NET_HEADER + len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), rx->count));
	if (result <= 0)
		return result ? result : -EAGAIN;
	rumpel_iov_write(rx->iov, rx->iov_count, 0, &header, RUMPEL_NET_HEADER);
	rumpel_iov_write(rx->iov, rx->iov_count, RUMPEL_NET_HEADER, frame, len);
	rumpel_net_record(net, rx->iov, rx->iov_count, RUMPEL_NET_HEADER, len);
	rumpel_net_deliver(net, rx, RUMPEL_NET_HEADER + len);
	return 0;
}

/* Hands over what was read. 0; -EAGAIN: no receive buffers; -EIO: broken. */
static int stream_deliver_all(struct net_stream *stream)
{
	struct rumpel_device_stats *stats = &stream->net.virtio.stats;
	uint32_t len;
	int result;

	while (stream->end - stream->start >= STREAM_PREFIX) {
		memcpy(&len, stream->bytes + stream->start, STREAM_PREFIX);
		len = ntohl(len);
		/* After that nothing can be trusted to be a length. */
		if (len > RUMPEL_NET_FRAME_MAX) {
			rumpel_virtio_count(&stats->errors, 1);
			stream_end(stream);
			return 0;
		}
		if (stream->end - stream->start < STREAM_PREFIX + len)
			break;
		result = stream_deliver(stream, stream->bytes + stream->start + STREAM_PREFIX, len);
		if (result == -EMSGSIZE)
			rumpel_virtio_count(&stats->errors, 1);
		else if (result)
			return result;
		stream->start += STREAM_PREFIX + len;
	}
	return 0;
}

/* Bytes; 0: nothing there now. */
static size_t stream_read(struct net_stream *stream)
{
	ssize_t len;

	memmove(stream->bytes, stream->bytes + stream->start, stream->end - stream->start);
	stream->end -= stream->start;
	stream->start = 0;
	do {
		len = recv(stream->watch.fd, stream->bytes + stream->end, STREAM_ROOM - stream->end,
			   MSG_DONTWAIT);
	} while (len < 0 && errno == EINTR);
	if (len == 0 || (len < 0 && errno != EAGAIN))
		stream_end(stream);
	if (len <= 0)
		return 0;
	stream->end += len;
	return len;
}

static void stream_receive(struct net_stream *stream)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(&stream->net);
	uint16_t before = queue->next_used;
	int result;

	/* Before its first buffers the interface has never been opened. */
	if (!rumpel_queue_used_once(queue))
		return;
	result = stream_deliver_all(stream);
	for (int i = 0; i < STREAM_READS && !result && is_connected(stream); i++) {
		size_t room = STREAM_ROOM - (stream->end - stream->start);
		size_t len = stream_read(stream);

		result = stream_deliver_all(stream);
		if (len < room)
			break;
	}
	/* With no buffers it is the driver that tells when to go on. */
	if (result || !is_connected(stream))
		stream->watch.events &= ~POLLIN;
	else
		stream->watch.events |= POLLIN;
	rumpel_net_received(&stream->net, before, result);
}

/* ---- the device ---- */

static void stream_service(struct rumpel_virtio *virtio)
{
	struct net_stream *stream = to_stream(virtio);

	stream_transmit(stream);
	/* While the socket is watched, there is nothing to see here. */
	if (is_connected(stream) && !(stream->watch.events & POLLIN))
		stream_receive(stream);
}

static void stream_ready(struct rumpel_watch *watch, short revents)
{
	struct net_stream *stream = (void *)((char *)watch - offsetof(struct net_stream, watch));

	if (!is_connected(stream))
		return;
	if (!rumpel_virtio_is_live(&stream->net.virtio)) {
		watch->events = 0;
		return;
	}
	if (revents & (POLLOUT | POLLERR | POLLHUP))
		stream_transmit(stream);
	if (revents & (POLLIN | POLLERR | POLLHUP))
		stream_receive(stream);
}

/* No driver, no frames: they wait in the socket; half a frame is lost with its other half. */
static void stream_quiesce(struct rumpel_virtio *virtio)
{
	struct net_stream *stream = to_stream(virtio);

	stream->watch.events = 0;
	if (stream->part)
		stream_end(stream);
}

static int stream_attach(struct rumpel_virtio *virtio)
{
	struct net_stream *stream = to_stream(virtio);
	struct rumpel_kernel *kernel = virtio->device.kernel;

	rumpel_kernel_watch(kernel, &stream->watch);
	if (stream->listener.fd >= 0)
		rumpel_kernel_watch(kernel, &stream->listener);
	if (!is_connected(stream) && stream->again)
		rumpel_timer_arm(kernel, &stream->timer, rumpel_kernel_now(kernel));
	return 0;
}

static void stream_detach(struct rumpel_virtio *virtio)
{
	struct net_stream *stream = to_stream(virtio);
	struct rumpel_kernel *kernel = virtio->device.kernel;

	rumpel_kernel_unwatch(kernel, &stream->watch);
	rumpel_kernel_unwatch(kernel, &stream->listener);
	rumpel_timer_arm(kernel, &stream->timer, RUMPEL_NO_DEADLINE);
}

/* A socket has one reader, and that is the parent's kernel. */
static void stream_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_stream *stream = to_stream(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&stream->net);
	if (stream->listener.fd >= 0)
		close(stream->listener.fd);
	stream->listener.fd = -1;
	stream->listener.events = 0;
	stream->again = 0;
	rumpel_timer_arm(virtio->device.kernel, &stream->timer, RUMPEL_NO_DEADLINE);
	stream_end(stream);
}

static void stream_free(struct rumpel_virtio *virtio)
{
	struct net_stream *stream = to_stream(virtio);

	rumpel_net_exit(&stream->net);
	if (stream->listener.fd >= 0) {
		close(stream->listener.fd);
		rumpel_unix_unlink(&stream->address, stream->owner);
	}
	if (is_connected(stream))
		close(stream->watch.fd);
	free(stream->bytes);
	free(stream);
}

static const struct rumpel_virtio_ops stream_ops = {
	.service = stream_service,
	.quiesce = stream_quiesce,
	.attach = stream_attach,
	.detach = stream_detach,
	.finish = rumpel_net_finish,
	.fork = stream_fork,
	.free = stream_free,
};

static int stream_new(const uint8_t mac[6], unsigned int mtu, struct net_stream **result)
{
	struct net_stream *stream = calloc(1, sizeof(*stream));
	int error = -ENOMEM;

	if (stream)
		stream->bytes = malloc(STREAM_ROOM);
	if (stream && stream->bytes)
		error = rumpel_net_init(&stream->net, &stream_ops, 0, mac, mtu);
	if (error) {
		if (stream)
			free(stream->bytes);
		free(stream);
		return error;
	}
	stream->watch.fd = stream->listener.fd = -1;
	stream->net.no_carrier = true;
	stream->watch.ready = stream_ready;
	stream->listener.ready = stream_accept;
	stream->timer =
		(struct rumpel_timer){ .deadline = RUMPEL_NO_DEADLINE, .fire = stream_again };
	*result = stream;
	return 0;
}

int net_stream_on(int socket, const uint8_t mac[6], unsigned int mtu, struct rumpel_device **device)
{
	struct net_stream *stream;
	int error = stream_new(mac, mtu, &stream), fd;

	if (error)
		return error;
	fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		error = -errno;
		stream_free(&stream->net.virtio);
		return error;
	}
	stream_begin(stream, fd);
	*device = &stream->net.virtio.device;
	return 0;
}

int rumpel_net_unix(const char *path, unsigned int flags, uint64_t again_ns, const uint8_t mac[6],
		    unsigned int mtu, struct rumpel_device **device)
{
	struct net_stream *stream;
	int error = stream_new(mac, mtu, &stream);

	if (error)
		return error;
	error = rumpel_unix_address(path, &stream->address, &stream->address_len);
	if (!error && (flags & RUMPEL_UNIX_LISTEN)) {
		error = rumpel_unix_bind(SOCK_STREAM, &stream->address, stream->address_len);
		stream->listener.fd = error < 0 ? -1 : error;
		stream->listener.events = POLLIN;
		stream->owner = getpid();
		error = error < 0 ? error : listen(stream->listener.fd, 1) < 0 ? -errno : 0;
	} else if (!error) {
		stream->again = again_ns;
		error = stream_connect(stream);
		/* There will be somebody. */
		if (again_ns && (error == -ENOENT || error == -ECONNREFUSED || error == -EAGAIN))
			error = 0;
	}
	if (error)
		stream_free(&stream->net.virtio);
	else
		*device = &stream->net.virtio.device;
	return error;
}
