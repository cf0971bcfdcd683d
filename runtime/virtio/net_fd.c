// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames to and from a socket that keeps message boundaries. Whoever is at
 * its other end wants plain frames, so no offloads are offered. Everything
 * happens under the token, in batches. When one side cannot take more, frames
 * wait in the socket or in the transmit queue.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net_fd.h"

#define FD_READS 4 /* system calls before others get their turn */
#define FD_ROOM (256u << 10) /* bytes for frames that were read */
#define FD_TAGS 8 /* two VLAN tags, beside the MTU */

static struct net_fd *to_fd(struct rumpel_virtio *virtio)
{
	return (struct net_fd *)virtio;
}

/* Where frames are sent. */
static struct rumpel_watch *fd_out(struct net_fd *fd)
{
	return fd->peer_len ? &fd->sender : &fd->watch;
}

/* The peer has gone: what is sent is lost, and nothing comes any more. */
static void fd_down(struct net_fd *fd)
{
	fd->down = true;
	fd->watch.events = 0;
	rumpel_net_carrier(&fd->net, false);
}

/* ---- transmit ---- */

/* Looks at a batch of frames. Their number; *result: why there are no more. */
static unsigned int fd_collect(struct net_fd *fd, int *result)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&fd->net);
	unsigned int count = 0, used = 0;
	struct rumpel_chain chain;

	*result = 1;
	while (count < FD_BATCH) {
		struct iovec *iov = fd->out_iov + used;
		struct msghdr *message = &fd->out[count].msg_hdr;

		*result = rumpel_queue_peek(queue, count, iov, FD_IOV - used, &chain);
		if (*result <= 0)
			break;
		if (chain.in || chain.out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
		    chain.out_len > RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MAX) {
			*result = -EMSGSIZE;
			break;
		}
		used += chain.out;
		*message = (struct msghdr){ 0 };
		message->msg_iovlen = rumpel_iov_skip(&iov, chain.out, RUMPEL_NET_HEADER);
		message->msg_iov = iov;
		fd->out[count].msg_len = chain.out_len - RUMPEL_NET_HEADER;
		fd->head[count++] = chain.head;
	}
	if (*result == -EMSGSIZE)
		fd->head[count] = chain.head;
	return count;
}

/* The next `count` frames are sent, or dropped for an error. */
static void fd_settle(struct net_fd *fd, unsigned int count, int error)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&fd->net);
	struct rumpel_device_stats *stats = &fd->net.virtio.stats;

	for (unsigned int i = 0; i < count; i++) {
		const struct msghdr *message = &fd->out[i].msg_hdr;
		size_t len = fd->out[i].msg_len;

		rumpel_net_record(&fd->net, message->msg_iov, message->msg_iovlen, 0, len);
		rumpel_virtio_count(error ? &stats->dropped : &stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, error ? 0 : len);
		rumpel_queue_put(queue, fd->head[i], 0);
	}
	rumpel_queue_take(queue, count);
}

/* Whoever made this chain does not know what a frame is. */
static void fd_reject(struct net_fd *fd, uint16_t head)
{
	rumpel_virtio_count(&fd->net.virtio.stats.errors, 1);
	rumpel_queue_put(rumpel_net_tx_queue(&fd->net), head, 0);
	rumpel_queue_take(rumpel_net_tx_queue(&fd->net), 1);
}

/* Is there a peer of that name, again? */
static bool fd_reconnect(struct net_fd *fd)
{
	return connect(fd->sender.fd, (struct sockaddr *)&fd->peer_name, fd->peer_len) == 0;
}

/* False: the socket is full. */
static bool fd_send(struct net_fd *fd, unsigned int count)
{
	size_t len[FD_BATCH];
	int done;

	if (fd->down) {
		fd_settle(fd, count, -ENETDOWN);
		return true;
	}
	/* The host puts what it sent in place of what it should send. */
	for (unsigned int i = 0; i < count; i++)
		len[i] = fd->out[i].msg_len;
	do {
		done = sendmmsg(fd_out(fd)->fd, fd->out, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	for (unsigned int i = 0; i < count; i++)
		fd->out[i].msg_len = len[i];
	if (done > 0) {
		fd_settle(fd, done, 0);
		return true;
	}
	if (errno == EAGAIN)
		return false;
	if (fd->peer_len && (errno == ECONNREFUSED || errno == ENOTCONN) && fd_reconnect(fd))
		return true;
	if (fd->local && errno != ENOBUFS && errno != ENOMEM && errno != EMSGSIZE)
		fd_down(fd);
	fd_settle(fd, 1, -errno);
	return true;
}

static void fd_transmit(struct net_fd *fd)
{
	struct rumpel_virtio *virtio = &fd->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&fd->net);
	uint16_t before = queue->next_used;
	bool full = false;
	int result;

	do {
		unsigned int count = fd_collect(fd, &result);

		if (count)
			full = !fd_send(fd, count);
		else if (result == -EMSGSIZE)
			fd_reject(fd, fd->head[0]);
		else
			break;
	} while (!full);
	if (full)
		fd_out(fd)->events |= POLLOUT;
	else
		fd_out(fd)->events &= ~POLLOUT;
	if (queue->next_used != before)
		rumpel_virtio_publish(virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- receive ---- */

/* Reads a batch of messages. Their number. */
static unsigned int fd_read(struct net_fd *fd)
{
	int count;

	do {
		count = recvmmsg(fd->watch.fd, fd->in, fd->slots, MSG_DONTWAIT | MSG_TRUNC, NULL);
	} while (count < 0 && errno == EINTR);
	if (count < 0 && errno != EAGAIN && fd->local)
		fd_down(fd);
	fd->next = 0;
	fd->count = count > 0 ? count : 0;
	for (unsigned int i = 0; fd->seqpacket && i < fd->count; i++) {
		if (!fd->in[i].msg_len) {
			fd_down(fd);
			fd->count = i;
		}
	}
	return fd->count;
}

/* 0; -EMSGSIZE: no frame; -EAGAIN: no receive buffers; -EIO: broken. */
static int fd_deliver(struct net_fd *fd, const struct mmsghdr *message)
{
	struct rumpel_net *net = &fd->net;
	size_t len = message->msg_len + RUMPEL_NET_HEADER;
	const char *frame = (char *)message->msg_hdr.msg_iov->iov_base - RUMPEL_NET_HEADER;
	int result;

	if ((message->msg_hdr.msg_flags & MSG_TRUNC) || message->msg_len < RUMPEL_NET_FRAME_MIN)
		return -EMSGSIZE;
	do {
		result = rumpel_net_gather(net, &fd->rx, len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), fd->rx.count));
	if (result <= 0)
		return result ? result : -EAGAIN;
	rumpel_iov_write(fd->rx.iov, fd->rx.iov_count, 0, frame, len);
	rumpel_net_record(net, fd->rx.iov, fd->rx.iov_count, RUMPEL_NET_HEADER, message->msg_len);
	rumpel_net_deliver(net, &fd->rx, len);
	return 0;
}

/* Hands over what was read. 0; -EAGAIN: no receive buffers; -EIO: broken. */
static int fd_deliver_all(struct net_fd *fd)
{
	for (; fd->next < fd->count; fd->next++) {
		int result = fd_deliver(fd, &fd->in[fd->next]);

		if (result == -EMSGSIZE)
			rumpel_virtio_count(&fd->net.virtio.stats.errors, 1);
		else if (result)
			return result;
	}
	return 0;
}

static void fd_receive(struct net_fd *fd)
{
	uint16_t before = rumpel_net_rx_queue(&fd->net)->next_used;
	int result = fd_deliver_all(fd);

	for (int i = 0; i < FD_READS && !result && !fd->down; i++) {
		bool more = fd_read(fd) == fd->slots;

		result = fd_deliver_all(fd);
		if (!more)
			break;
	}
	/* With no buffers it is the driver that tells when to go on. */
	if (result || fd->down)
		fd->watch.events &= ~POLLIN;
	else
		fd->watch.events |= POLLIN;
	rumpel_net_received(&fd->net, before, result);
}

/* ---- the device ---- */

static void fd_service(struct rumpel_virtio *virtio)
{
	struct net_fd *fd = to_fd(virtio);

	fd_transmit(fd);
	/* While the socket is watched, there is nothing to see here. */
	if (!(fd->watch.events & POLLIN))
		fd_receive(fd);
}

static void fd_ready(struct rumpel_watch *watch, short revents)
{
	struct net_fd *fd = (void *)((char *)watch - offsetof(struct net_fd, watch));

	if (!rumpel_virtio_is_live(&fd->net.virtio)) {
		watch->events = 0;
		return;
	}
	if (revents & (POLLOUT | POLLERR | POLLHUP))
		fd_transmit(fd);
	if (revents & (POLLIN | POLLERR | POLLHUP))
		fd_receive(fd);
}

static void fd_writable(struct rumpel_watch *watch, short revents)
{
	struct net_fd *fd = (void *)((char *)watch - offsetof(struct net_fd, sender));

	(void)revents;
	if (rumpel_virtio_is_live(&fd->net.virtio))
		fd_transmit(fd);
	else
		watch->events = 0;
}

/* It is silent as long as there is somebody. */
static void fd_control(struct rumpel_watch *watch, short revents)
{
	struct net_fd *fd = (void *)((char *)watch - offsetof(struct net_fd, control));
	char byte;

	(void)revents;
	if (recv(watch->fd, &byte, 1, MSG_DONTWAIT) == 0 || (errno != EAGAIN && errno != EINTR)) {
		watch->events = 0;
		fd_down(fd);
	}
}

/* No driver, no frames: they wait in the socket. */
static void fd_quiesce(struct rumpel_virtio *virtio)
{
	struct net_fd *fd = to_fd(virtio);

	fd->watch.events = fd->sender.events = 0;
	rumpel_virtio_count(&virtio->stats.dropped, fd->count - fd->next);
	fd->next = fd->count;
}

static int fd_attach(struct rumpel_virtio *virtio)
{
	struct net_fd *fd = to_fd(virtio);

	rumpel_kernel_watch(virtio->device.kernel, &fd->watch);
	if (fd->peer_len)
		rumpel_kernel_watch(virtio->device.kernel, &fd->sender);
	if (fd->control.events)
		rumpel_kernel_watch(virtio->device.kernel, &fd->control);
	return 0;
}

static void fd_detach(struct rumpel_virtio *virtio)
{
	struct net_fd *fd = to_fd(virtio);

	rumpel_kernel_unwatch(virtio->device.kernel, &fd->watch);
	rumpel_kernel_unwatch(virtio->device.kernel, &fd->sender);
	rumpel_kernel_unwatch(virtio->device.kernel, &fd->control);
}

/* A socket has one reader, and that is the parent's kernel. */
static void fd_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_fd *fd = to_fd(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&fd->net);
	close(fd->watch.fd);
	if (fd->sender.fd >= 0)
		close(fd->sender.fd);
	if (fd->control.fd >= 0)
		close(fd->control.fd);
	fd->watch.fd = fd->sender.fd = fd->control.fd = -1;
	fd->sender.events = fd->control.events = 0;
	fd->local_name.sun_family = 0;
	fd->next = fd->count;
	fd_down(fd);
}

static void fd_free(struct rumpel_virtio *virtio)
{
	struct net_fd *fd = to_fd(virtio);

	rumpel_net_exit(&fd->net);
	if (fd->watch.fd >= 0)
		close(fd->watch.fd);
	if (fd->sender.fd >= 0)
		close(fd->sender.fd);
	if (fd->control.fd >= 0)
		close(fd->control.fd);
	if (fd->local_name.sun_family)
		rumpel_unix_unlink(&fd->local_name, fd->owner);
	free(fd->frames);
	free(fd);
}

static const struct rumpel_virtio_ops fd_ops = {
	.service = fd_service,
	.quiesce = fd_quiesce,
	.attach = fd_attach,
	.detach = fd_detach,
	.finish = rumpel_net_finish,
	.fork = fd_fork,
	.free = fd_free,
};

static int fd_make_room(struct net_fd *fd)
{
	size_t len = fd->net.config.mtu + RUMPEL_NET_FRAME_MIN + FD_TAGS;

	fd->slot_len = RUMPEL_NET_HEADER + len;
	fd->slots = FD_ROOM / fd->slot_len < FD_BATCH ? FD_ROOM / fd->slot_len : FD_BATCH;
	fd->frames = calloc(fd->slots, fd->slot_len);
	if (!fd->frames)
		return -ENOMEM;
	for (unsigned int i = 0; i < fd->slots; i++) {
		char *slot = fd->frames + i * fd->slot_len;

		/* The header stays what it is: all zeroes. */
		fd->in_iov[i] = (struct iovec){ slot + RUMPEL_NET_HEADER, len };
		fd->in[i].msg_hdr.msg_iov = &fd->in_iov[i];
		fd->in[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

static int fd_option(int fd, int option, int *value)
{
	socklen_t len = sizeof(*value);

	return getsockopt(fd, SOL_SOCKET, option, value, &len) ? -errno : 0;
}

int net_fd_create(int socket, const uint8_t mac[6], unsigned int mtu, struct net_fd **result)
{
	struct net_fd *fd = calloc(1, sizeof(*fd));
	int error = fd ? rumpel_net_init(&fd->net, &fd_ops, 0, mac, mtu) : -ENOMEM;

	if (!error) {
		error = fd_make_room(fd);
		if (error)
			rumpel_net_exit(&fd->net);
	}
	if (error) {
		close(socket);
		free(fd);
		return error;
	}
	fd->watch.ready = fd_ready;
	fd->watch.fd = socket;
	fd->sender.fd = fd->control.fd = -1;
	fd->sender.ready = fd_writable;
	fd->control.ready = fd_control;
	*result = fd;
	return 0;
}

int rumpel_net_fd(int socket, const uint8_t mac[6], unsigned int mtu, struct rumpel_device **device)
{
	int type = 0, domain = 0, own, error;
	struct net_fd *fd;

	error = fd_option(socket, SO_TYPE, &type);
	if (!error)
		error = fd_option(socket, SO_DOMAIN, &domain);
	if (error)
		return error;
	if (type == SOCK_STREAM)
		return net_stream_on(socket, mac, mtu, device);
	own = fcntl(socket, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	error = net_fd_create(own, mac, mtu, &fd);
	if (error)
		return error;
	fd->seqpacket = type == SOCK_SEQPACKET;
	fd->local = domain == AF_UNIX;
	*device = &fd->net.virtio.device;
	return 0;
}
