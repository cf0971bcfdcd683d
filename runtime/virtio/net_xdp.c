// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue of an interface of the host, taken over by AF_XDP: what comes there comes here
 * and nowhere else. Everything happens under the token; a frame is copied once, between
 * the driver's buffers and memory that is shared with the host. To look whether one has come
 * takes no system call, to send a batch takes one.
 *
 * Nobody tells the socket that the interface goes down or comes up again, so netlink does.
 */
#define _GNU_SOURCE
#include "net_xdp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "net.h"
#include "net_interface.h"

#define XDP_BATCH 64 /* frames before host and driver hear of them */
#define XDP_READS 256 /* frames before others get their turn */
#define XDP_AGAIN_NS 100000 /* until the host may have room for more: no event tells */

struct net_xdp {
	struct rumpel_net net; /* first */
	struct net_xsk xsk;
	struct net_xdp_program program;
	int promiscuous; /* a packet socket: our address is not the interface's */
	struct rumpel_watch watch; /* the socket */
	struct rumpel_watch links; /* a netlink socket: states of interfaces */
	struct rumpel_timer again; /* when the host could not take all */
	bool down; /* the interface has gone */
	bool away; /* it is down: what is sent is lost */
	struct rumpel_net_rx rx;
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

static struct net_xdp *to_xdp(struct rumpel_virtio *virtio)
{
	return (struct net_xdp *)virtio;
}

static void xdp_down(struct net_xdp *xdp)
{
	xdp->down = true;
	xdp->watch.events = xdp->links.events = 0;
	rumpel_net_carrier(&xdp->net, false);
}

/* ---- transmit ---- */

static void xdp_again(struct net_xdp *xdp)
{
	struct rumpel_kernel *kernel = xdp->net.virtio.device.kernel;

	rumpel_timer_arm(kernel, &xdp->again, rumpel_kernel_now(kernel) + XDP_AGAIN_NS);
}

/* The host gets what was put. */
static void xdp_flush(struct net_xdp *xdp)
{
	switch (net_xsk_flush(&xdp->xsk)) {
	case 0:
		break;
	case -EAGAIN:
		xdp_again(xdp);
		break;
	case -ENETDOWN:
		xdp->away = true;
		break;
	default:
		xdp_down(xdp);
	}
}

/* 0; -EAGAIN: it has to wait; -EINVAL: no frame; -ENETDOWN: lost. */
static int xdp_put(struct net_xdp *xdp, const struct iovec *iov, const struct rumpel_chain *chain)
{
	size_t len = chain->out_len - RUMPEL_NET_HEADER;
	void *room;

	if (chain->in || chain->out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > xdp->xsk.room)
		return -EINVAL;
	if (xdp->down || xdp->away)
		return -ENETDOWN;
	room = net_xsk_room(&xdp->xsk);
	if (!room)
		return -EAGAIN;
	rumpel_iov_read(iov, chain->out, RUMPEL_NET_HEADER, room, len);
	net_xsk_put(&xdp->xsk, len);
	return 0;
}

/* 1: one frame less; 0: none there; -EAGAIN: the rest has to wait; -EIO: broken. */
static int xdp_transmit_one(struct net_xdp *xdp)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&xdp->net);
	struct rumpel_device_stats *stats = &xdp->net.virtio.stats;
	struct rumpel_chain chain;
	int result;

	result = rumpel_queue_peek(queue, 0, xdp->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	result = xdp_put(xdp, xdp->iov, &chain);
	if (result == -EAGAIN)
		return result;
	if (result == -EINVAL) {
		rumpel_virtio_count(&stats->errors, 1);
	} else {
		size_t len = chain.out_len - RUMPEL_NET_HEADER;

		rumpel_net_record(&xdp->net, xdp->iov, chain.out, RUMPEL_NET_HEADER, len);
		rumpel_virtio_count(result ? &stats->dropped : &stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, result ? 0 : len);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

static void xdp_transmit(struct net_xdp *xdp)
{
	struct rumpel_virtio *virtio = &xdp->net.virtio;
	unsigned int moved = 0;
	int result;

	do {
		result = xdp_transmit_one(xdp);
		if (result > 0)
			moved++;
		/* What was sent may have made room. */
		if (moved == XDP_BATCH || (result <= 0 && moved)) {
			if (!xdp->down && !xdp->away)
				xdp_flush(xdp);
			rumpel_virtio_publish(virtio, rumpel_net_tx_queue(&xdp->net));
			moved = 0;
			if (result == -EAGAIN)
				result = 1;
		}
	} while (result > 0);
	if (result == -EAGAIN)
		xdp_again(xdp);
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- receive ---- */

/* Hands over the next frame. 1; 0: none there; -ENOBUFS: no receive buffers; -EIO: broken. */
static int xdp_receive_one(struct net_xdp *xdp)
{
	struct virtio_net_hdr_v1 header = { 0 };
	struct rumpel_net *net = &xdp->net;
	uint16_t start, offset;
	struct iovec frame;
	int result;

	if (!net_xsk_peek(&xdp->xsk, &frame))
		return 0;
	do {
		result = rumpel_net_gather(net, &xdp->rx, RUMPEL_NET_HEADER + frame.iov_len);
	} while (!result && rumpel_queue_notify_on(rumpel_net_rx_queue(net), xdp->rx.count));
	if (!result)
		return -ENOBUFS;
	if (result == -EIO)
		return result;
	if (net_xdp_checksum_is_open(frame.iov_base, frame.iov_len, &start, &offset)) {
		header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header.csum_start = start;
		header.csum_offset = offset;
	}
	if (result > 0 && frame.iov_len >= RUMPEL_NET_FRAME_MIN) {
		rumpel_iov_write(xdp->rx.iov, xdp->rx.iov_count, RUMPEL_NET_HEADER, frame.iov_base,
				 frame.iov_len);
		result = rumpel_net_hand_over(net, &xdp->rx, &header,
					      RUMPEL_NET_HEADER + frame.iov_len);
	} else {
		result = -EMSGSIZE;
	}
	if (result < 0)
		rumpel_virtio_count(&net->virtio.stats.errors, 1);
	net_xsk_drop(&xdp->xsk);
	return 1;
}

static void xdp_receive(struct net_xdp *xdp)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(&xdp->net);
	uint16_t before = queue->next_used;
	uint32_t seen = xdp->xsk.in.own;
	int result = 1;

	/* Before its first buffers the interface has never been opened. */
	if (xdp->down || !rumpel_queue_used_once(queue))
		return;
	for (int i = 0; i < XDP_READS && result > 0; i++)
		result = xdp_receive_one(xdp);
	if (xdp->xsk.in.own != seen)
		net_xsk_give_back(&xdp->xsk);
	/* With no buffers it is the driver that tells when to go on. */
	if (result < 0)
		xdp->watch.events &= ~POLLIN;
	else
		xdp->watch.events |= POLLIN;
	rumpel_net_received(&xdp->net, before, result);
}

/* ---- the device ---- */

static void xdp_service(struct rumpel_virtio *virtio)
{
	struct net_xdp *xdp = to_xdp(virtio);

	xdp_transmit(xdp);
	/* It costs nothing to look. */
	xdp_receive(xdp);
}

static void xdp_ready(struct rumpel_watch *watch, short revents)
{
	struct net_xdp *xdp = (void *)((char *)watch - offsetof(struct net_xdp, watch));

	if (!rumpel_virtio_is_live(&xdp->net.virtio)) {
		watch->events = 0;
		return;
	}
	if (revents & POLLNVAL)
		xdp_down(xdp);
	xdp_receive(xdp);
}

static void xdp_resume(struct rumpel_timer *timer)
{
	struct net_xdp *xdp = (void *)((char *)timer - offsetof(struct net_xdp, again));

	if (xdp->down || !rumpel_virtio_is_live(&xdp->net.virtio))
		return;
	xdp_flush(xdp);
	xdp_transmit(xdp);
}

/* An interface has changed, perhaps ours: an attempt to send says what it is now. */
static void xdp_changed(struct rumpel_watch *watch, short revents)
{
	struct net_xdp *xdp = (void *)((char *)watch - offsetof(struct net_xdp, links));
	char message[4096];

	(void)revents;
	/* If messages were lost (ENOBUFS), there are others. */
	while (recv(watch->fd, message, sizeof(message), MSG_DONTWAIT) >= 0 || errno == ENOBUFS ||
	       errno == EINTR)
		;
	xdp->away = false;
	xdp_flush(xdp);
}

/* No driver, no frames: they wait in the rings. */
static void xdp_quiesce(struct rumpel_virtio *virtio)
{
	struct net_xdp *xdp = to_xdp(virtio);

	xdp->watch.events = 0;
	if (virtio->device.kernel)
		rumpel_timer_arm(virtio->device.kernel, &xdp->again, RUMPEL_NO_DEADLINE);
}

static int xdp_attach(struct rumpel_virtio *virtio)
{
	struct net_xdp *xdp = to_xdp(virtio);

	rumpel_kernel_watch(virtio->device.kernel, &xdp->watch);
	rumpel_kernel_watch(virtio->device.kernel, &xdp->links);
	return 0;
}

static void xdp_detach(struct rumpel_virtio *virtio)
{
	struct net_xdp *xdp = to_xdp(virtio);

	rumpel_kernel_unwatch(virtio->device.kernel, &xdp->watch);
	rumpel_kernel_unwatch(virtio->device.kernel, &xdp->links);
	rumpel_timer_arm(virtio->device.kernel, &xdp->again, RUMPEL_NO_DEADLINE);
}

static void xdp_close(struct net_xdp *xdp)
{
	/* In this order, so that no frame is lost in between: they are the host's again. */
	net_xdp_detach(&xdp->program);
	net_xsk_close(&xdp->xsk);
	if (xdp->promiscuous >= 0)
		close(xdp->promiscuous);
	if (xdp->links.fd >= 0)
		close(xdp->links.fd);
	xdp->watch.fd = xdp->links.fd = xdp->promiscuous = -1;
}

/* The host's frames are the parent's, and so is the memory that they come in. */
static void xdp_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_xdp *xdp = to_xdp(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&xdp->net);
	if (xdp->xsk.fd >= 0)
		close(xdp->xsk.fd);
	net_xsk_forget(&xdp->xsk);
	xdp_close(xdp);
	xdp_down(xdp);
}

static void xdp_free(struct rumpel_virtio *virtio)
{
	struct net_xdp *xdp = to_xdp(virtio);

	rumpel_net_exit(&xdp->net);
	xdp_close(xdp);
	free(xdp);
}

static const struct rumpel_virtio_ops xdp_ops = {
	.service = xdp_service,
	.quiesce = xdp_quiesce,
	.attach = xdp_attach,
	.detach = xdp_detach,
	.finish = rumpel_net_finish,
	.fork = xdp_fork,
	.free = xdp_free,
};

static int open_links(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error;

	if (fd < 0 || !bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd < 0 ? -errno : fd;
	error = -errno;
	close(fd);
	return error;
}

/* Before the socket leads frames away nobody is to be told of them. */
static int xdp_open(struct net_xdp *xdp, const char *interface, unsigned int queue,
		    unsigned int flags, unsigned int mtu)
{
	int index, error = net_xsk_open(&xdp->xsk, mtu);

	if (error)
		return error;
	index = net_interface_index(xdp->promiscuous, interface);
	if (index < 0)
		return index;
	xdp->links.fd = open_links();
	if (xdp->links.fd < 0)
		return xdp->links.fd;
	error = net_xdp_attach(&xdp->program, index, queue, flags & RUMPEL_NET_XDP_GENERIC);
	if (!error)
		error = net_xsk_bind(&xdp->xsk, index, queue);
	if (!error)
		error = net_interface_promiscuous(xdp->promiscuous, index);
	if (!error)
		error = net_xdp_lead(&xdp->program, queue, xdp->xsk.fd);
	return error;
}

static enum rumpel_xdp_mode mode_of(const struct net_xdp *xdp)
{
	if (xdp->xsk.zerocopy)
		return RUMPEL_XDP_ZEROCOPY;
	return xdp->program.native ? RUMPEL_XDP_NATIVE : RUMPEL_XDP_GENERIC;
}

int rumpel_net_xdp(const char *interface, unsigned int queue, unsigned int flags,
		   const uint8_t mac[6], unsigned int mtu, enum rumpel_xdp_mode *mode,
		   struct rumpel_device **device)
{
	const uint64_t features =
		flags & RUMPEL_NET_NO_OFFLOADS ? 0 : 1ull << VIRTIO_NET_F_GUEST_CSUM;
	struct net_xdp *xdp;
	int fd, error;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = net_interface_index(fd, interface);
	if (!mtu)
		mtu = net_interface_mtu(interface);
	xdp = error < 0 ? NULL : calloc(1, sizeof(*xdp));
	if (!xdp) {
		close(fd);
		return error < 0 ? error : -ENOMEM;
	}
	xdp->promiscuous = fd;
	xdp->links.fd = xdp->program.link = xdp->program.map = xdp->xsk.fd = -1;
	error = rumpel_net_init(&xdp->net, &xdp_ops, features, mac, mtu);
	if (error)
		goto fail;
	error = xdp_open(xdp, interface, queue, flags, mtu);
	if (error) {
		rumpel_net_exit(&xdp->net);
		goto fail;
	}
	xdp->watch.fd = xdp->xsk.fd;
	xdp->watch.ready = xdp_ready;
	xdp->links.events = POLLIN;
	xdp->links.ready = xdp_changed;
	xdp->again = (struct rumpel_timer){ .deadline = RUMPEL_NO_DEADLINE, .fire = xdp_resume };
	*mode = mode_of(xdp);
	*device = &xdp->net.virtio.device;
	return 0;
fail:
	xdp_close(xdp);
	free(xdp);
	return error;
}
