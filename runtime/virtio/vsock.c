// SPDX-License-Identifier: GPL-2.0-only
/* virtio-vsock: the device. Its queues are receive, transmit and events (5.10.2). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vsock.h"

#define VSOCK_EVENTS 64
/* Packets for the driver before others get their turn. */
#define VSOCK_BATCH 64

static struct vsock *to_vsock(struct rumpel_virtio *virtio)
{
	return (struct vsock *)virtio;
}

/* ---- transmit: from the driver ---- */

/* There is room: see vsock_transmit(). */
static void answer_stray(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	unsigned int at = (vsock->stray_first + vsock->stray_count) % VSOCK_STRAYS;

	if (header->op == VIRTIO_VSOCK_OP_RST)
		return;
	vsock->strays[at] = (struct vsock_stray){
		.host_port = header->dst_port,
		.guest_port = header->src_port,
		.cid = header->dst_cid,
		.type = header->type,
	};
	vsock->stray_count++;
}

static void open_connection(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	struct vsock_connection *connection = NULL;
	int fd = -1;

	/* The host's program shall not see those that there is no room for. */
	if (!vsock->virtio.device.lost && vsock->count < VSOCK_CONNECTIONS)
		fd = vsock_host_connect(vsock, header->dst_port);
	if (fd >= 0)
		connection = vsock_add(vsock, VSOCK_OPEN, fd, header->dst_port, header->src_port);
	if (!connection) {
		answer_stray(vsock, header);
		return;
	}
	vsock_credit(connection, header);
	connection->owes = VSOCK_OWES_RESPONSE;
	vsock_wait(connection);
}

/* False: it is not what may come now. */
static bool take_packet(struct vsock_connection *connection, const struct virtio_vsock_hdr *header,
			struct iovec *iov, unsigned int count)
{
	switch (header->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		return vsock_response(connection);
	case VIRTIO_VSOCK_OP_RW:
		return vsock_payload(connection, iov, count, header->len);
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		return vsock_shutdown(connection, header->flags);
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		connection->owes |= VSOCK_OWES_CREDIT;
		vsock_wait(connection);
		return true;
	}
	return false;
}

static void dispatch(struct vsock *vsock, const struct virtio_vsock_hdr *header, struct iovec *iov,
		     unsigned int count)
{
	struct vsock_connection *connection = NULL;

	if (header->type != VIRTIO_VSOCK_TYPE_STREAM || header->dst_cid != VSOCK_HOST ||
	    header->src_cid != vsock->config.guest_cid) {
		answer_stray(vsock, header);
		return;
	}
	connection = vsock_find(vsock, header->dst_port, header->src_port);
	if (!connection && header->op == VIRTIO_VSOCK_OP_REQUEST) {
		open_connection(vsock, header);
		return;
	}
	if (!connection) {
		answer_stray(vsock, header);
		return;
	}
	vsock_credit(connection, header);
	if (header->op == VIRTIO_VSOCK_OP_RST) {
		vsock_leave(connection);
	} else if (!take_packet(connection, header, iov, count)) {
		rumpel_virtio_count(&vsock->virtio.stats.errors, 1);
		answer_stray(vsock, header);
		vsock_remove(connection);
	} else if (connection->guest_shut == VSOCK_BOTH) {
		/* It is over for the driver; what it sent still goes to the host's program. */
		answer_stray(vsock, header);
		vsock_leave(connection);
	}
}

/* 1: one packet less; 0: there is none; -EIO: broken. */
static int transmit_one(struct vsock *vsock)
{
	struct rumpel_queue *queue = &vsock->virtio.queues[1];
	struct rumpel_device_stats *stats = &vsock->virtio.stats;
	struct virtio_vsock_hdr header;
	struct iovec *iov = vsock->iov;
	struct rumpel_chain chain;
	unsigned int count;
	int result;

	result = rumpel_queue_peek(queue, 0, iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	if (chain.in)
		return -EIO;
	if (rumpel_iov_read(iov, chain.out, 0, &header, VSOCK_HEADER) < VSOCK_HEADER ||
	    header.len > chain.out_len - VSOCK_HEADER) {
		rumpel_virtio_count(&stats->errors, 1);
	} else {
		count = rumpel_iov_skip(&iov, chain.out, VSOCK_HEADER);
		count = rumpel_iov_trim(iov, count, header.len);
		dispatch(vsock, &header, iov, count);
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, header.len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

/* True: packets may be left, for whose answers there was no room. */
static bool vsock_transmit(struct vsock *vsock)
{
	struct rumpel_queue *queue = &vsock->virtio.queues[1];
	bool moved = false;
	int result = 1;

	/* Each packet has an answer at most, and no more are taken than can be kept. */
	while (result > 0 && vsock->stray_count < VSOCK_STRAYS) {
		result = transmit_one(vsock);
		moved |= result > 0;
	}
	if (moved)
		rumpel_virtio_publish(&vsock->virtio, queue);
	if (result < 0)
		rumpel_virtio_break(&vsock->virtio);
	return result > 0;
}

/* ---- receive: to the driver ---- */

static struct virtio_vsock_hdr next_stray(struct vsock *vsock)
{
	struct vsock_stray stray = vsock->strays[vsock->stray_first];

	vsock->stray_first = (vsock->stray_first + 1) % VSOCK_STRAYS;
	vsock->stray_count--;
	return (struct virtio_vsock_hdr){
		.src_cid = stray.cid,
		.dst_cid = vsock->config.guest_cid,
		.src_port = stray.host_port,
		.dst_port = stray.guest_port,
		.type = stray.type,
		.op = VIRTIO_VSOCK_OP_RST,
	};
}

/* The next packet: its bytes without the header, or -EAGAIN. */
static ssize_t next_packet(struct vsock *vsock, struct virtio_vsock_hdr *header,
			   const struct rumpel_chain *chain)
{
	struct iovec own[RUMPEL_QUEUE_MAX], *iov;
	unsigned int count;
	ssize_t len;

	if (vsock->stray_count) {
		*header = next_stray(vsock);
		return 0;
	}
	while (vsock->waiting) {
		memcpy(own, vsock->iov, chain->in * sizeof(own[0]));
		iov = own;
		count = rumpel_iov_skip(&iov, chain->in, VSOCK_HEADER);
		len = vsock_produce(vsock->waiting, header, iov, count,
				    chain->in_len - VSOCK_HEADER);
		if (len >= 0)
			return len;
	}
	return -EAGAIN;
}

/* 1: one more; 0: nothing to say; -ENOBUFS: no buffer; -EIO: broken. */
static int receive_one(struct vsock *vsock)
{
	struct rumpel_queue *queue = &vsock->virtio.queues[0];
	struct rumpel_device_stats *stats = &vsock->virtio.stats;
	struct virtio_vsock_hdr header;
	struct rumpel_chain chain;
	ssize_t len;
	int result;

	if (!vsock->waiting && !vsock->stray_count)
		return 0;
	result = rumpel_queue_peek(queue, 0, vsock->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result ? result : -ENOBUFS;
	if (chain.out || chain.in_len <= VSOCK_HEADER)
		return -EIO;
	len = next_packet(vsock, &header, &chain);
	if (len < 0)
		return 0;
	rumpel_iov_write(vsock->iov, chain.in, 0, &header, VSOCK_HEADER);
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, VSOCK_HEADER + len);
	rumpel_virtio_count(&stats->in, 1);
	rumpel_virtio_count(&stats->in_bytes, len);
	return 1;
}

static void vsock_receive(struct vsock *vsock)
{
	struct rumpel_queue *queue = &vsock->virtio.queues[0];
	bool moved = false;
	int result = 1;

	rumpel_queue_notify_off(queue);
	for (int i = 0; i < VSOCK_BATCH && result > 0; i++) {
		result = receive_one(vsock);
		moved |= result > 0;
		if (result == -ENOBUFS && rumpel_queue_notify_on(queue, 0)) {
			rumpel_queue_notify_off(queue);
			result = 1;
		}
	}
	if (moved)
		rumpel_virtio_publish(&vsock->virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(&vsock->virtio);
	else if (result > 0)
		rumpel_device_notify(&vsock->virtio.device);
}

/* 5.10.6.7: connections are gone, and it may be another context by now. */
static void tell_reset(struct vsock *vsock)
{
	const struct virtio_vsock_event event = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct rumpel_queue *queue = &vsock->virtio.queues[2];
	struct rumpel_chain chain;

	if (rumpel_queue_peek(queue, 0, vsock->iov, RUMPEL_QUEUE_MAX, &chain) <= 0 || chain.out ||
	    chain.in_len < sizeof(event))
		return;
	rumpel_iov_write(vsock->iov, chain.in, 0, &event, sizeof(event));
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, sizeof(event));
	rumpel_virtio_publish(&vsock->virtio, queue);
}

/* ---- the device ---- */

static void vsock_service(struct rumpel_virtio *virtio)
{
	struct vsock *vsock = to_vsock(virtio);
	bool more;

	if (!vsock->up && !virtio->device.lost) {
		vsock->up = true;
		vsock_host_accept(vsock);
	}
	do {
		more = vsock_transmit(vsock);
		vsock_receive(vsock);
	} while (more && vsock->stray_count < VSOCK_STRAYS);
}

static void connection_ready(struct vsock_connection *connection, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		connection->readable = true;
	if (events & (EPOLLHUP | EPOLLERR))
		connection->hup = true;
	/* To a peer that has gone everything can be written: it fails. */
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		connection->writable = true;
	if (connection->state == VSOCK_GREETING) {
		vsock_host_greet(connection);
		return;
	}
	if (connection->state == VSOCK_OPEN && connection->readable)
		vsock_wait(connection);
	if (connection->buffer)
		vsock_flush(connection);
}

static void vsock_ready(struct rumpel_watch *watch, short revents)
{
	struct vsock *vsock = (void *)((char *)watch - offsetof(struct vsock, watch));
	struct epoll_event events[VSOCK_EVENTS];
	bool come = false;
	int count = epoll_wait(watch->fd, events, VSOCK_EVENTS, 0);

	(void)revents;
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr)
			connection_ready(events[i].data.ptr, events[i].events);
		else
			come = true;
	}
	if (!vsock->up)
		return;
	if (come)
		vsock_host_accept(vsock);
	if (rumpel_virtio_is_live(&vsock->virtio))
		vsock_receive(vsock);
}

/* Calls it for each; it may be removed. */
static void for_each(struct vsock *vsock, void (*function)(struct vsock_connection *connection))
{
	for (unsigned int i = 0; i < VSOCK_BUCKETS; i++) {
		struct vsock_connection *at = vsock->buckets[i], *next;

		for (; at; at = next) {
			next = at->next;
			function(at);
		}
	}
}

/* The driver has gone, and its end of all connections. */
static void vsock_quiesce(struct rumpel_virtio *virtio)
{
	struct vsock *vsock = to_vsock(virtio);

	vsock->up = false;
	vsock->stray_count = 0;
	for_each(vsock, vsock_leave);
}

static int vsock_attach(struct rumpel_virtio *virtio)
{
	rumpel_kernel_watch(virtio->device.kernel, &to_vsock(virtio)->watch);
	return 0;
}

static void vsock_detach(struct rumpel_virtio *virtio)
{
	rumpel_kernel_unwatch(virtio->device.kernel, &to_vsock(virtio)->watch);
	for_each(to_vsock(virtio), vsock_remove);
}

/* Sockets have one reader, the parent: the copy of a kernel has lost its peers. */
static void vsock_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct vsock *vsock = to_vsock(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	virtio->device.lost = true;
	/* The parent's too: registrations in it are not touched. */
	close(vsock->watch.fd);
	vsock->watch.fd = -1;
	vsock->watch.events = 0;
	for_each(vsock, vsock_remove);
	close(vsock->listener);
	vsock->listener = -1;
	vsock->up = false;
	vsock->stray_count = 0;
	if (rumpel_kernel_is_copied(virtio->device.kernel) && rumpel_virtio_is_live(virtio))
		tell_reset(vsock);
}

static void vsock_free(struct rumpel_virtio *virtio)
{
	vsock_host_close(to_vsock(virtio));
	free(virtio);
}

static const struct rumpel_virtio_ops vsock_ops = {
	.service = vsock_service,
	.quiesce = vsock_quiesce,
	.attach = vsock_attach,
	.detach = vsock_detach,
	.fork = vsock_fork,
	.free = vsock_free,
};

int rumpel_vsock(const char *path, uint32_t cid, struct rumpel_device **device)
{
	struct vsock *vsock;
	int error;

	/* 5.10.4: those below are the host's and others' already. */
	if (cid <= VSOCK_HOST || cid == 0xffffffff)
		return -EINVAL;
	vsock = calloc(1, sizeof(*vsock));
	if (!vsock)
		return -ENOMEM;
	vsock->config.guest_cid = cid;
	vsock->waiting_tail = &vsock->waiting;
	vsock->listener = -1;
	vsock->watch = (struct rumpel_watch){ .fd = -1, .events = POLLIN, .ready = vsock_ready };
	rumpel_virtio_init(&vsock->virtio, &vsock_ops, VIRTIO_ID_VSOCK, 0, &vsock->config,
			   sizeof(vsock->config), 3);
	error = vsock_host_open(vsock, path);
	if (error)
		vsock_free(&vsock->virtio);
	else
		*device = &vsock->virtio.device;
	return error;
}
