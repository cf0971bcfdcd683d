// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames with their headers to and from a descriptor. Everything happens under
 * the token: a frame is copied once, by the host's read or write, from or to the
 * driver's buffers (the end of one that is longer than those before, twice). When one side cannot take more, frames wait in the host's
 * queue or in the transmit queue.
 */
#include "net_vnet.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VNET_BATCH 16 /* frames before the driver hears of them */
#define VNET_READS 64 /* frames before others get their turn */
#define VNET_TAGS 8 /* two VLAN tags, beside the MTU */

static struct net_vnet *to_vnet(struct rumpel_virtio *virtio)
{
	return (struct net_vnet *)virtio;
}

/* The interface has gone: what is sent is lost, and nothing comes any more. */
static void vnet_down(struct net_vnet *vnet)
{
	vnet->down = true;
	vnet->watch.events = 0;
	rumpel_net_carrier(&vnet->net, false);
}

/* ---- transmit ---- */

/* 0; -EAGAIN: the host's queue is full; else: lost. There is a place before iov. */
static int vnet_write(struct net_vnet *vnet, struct virtio_net_hdr_v1 *header, struct iovec *iov,
		      unsigned int count)
{
	ssize_t done;

	if (vnet->down)
		return -ENETDOWN;
	if (vnet->header_len) {
		*--iov = (struct iovec){ header, vnet->header_len };
		count++;
	}
	do {
		done = writev(vnet->watch.fd, iov, count);
	} while (done < 0 && errno == EINTR);
	if (done >= 0)
		return 0;
	if (errno == EBADFD || errno == ENXIO || errno == ENODEV)
		vnet_down(vnet);
	return -errno;
}

/* The same of a whole chain. */
static int vnet_send(struct net_vnet *vnet, struct iovec *iov, const struct rumpel_chain *chain)
{
	size_t len = chain->out_len - RUMPEL_NET_HEADER;
	struct virtio_net_hdr_v1 header;
	unsigned int count;
	int result;

	if (chain->in || chain->out_len < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    len > RUMPEL_NET_GSO_MAX)
		return -EINVAL;
	/* What the host has checked must not change. */
	rumpel_iov_read(iov, chain->out, 0, &header, sizeof(header));
	count = rumpel_iov_skip(&iov, chain->out, RUMPEL_NET_HEADER);
	result = vnet_write(vnet, &header, iov, count);
	if (result != -EAGAIN)
		rumpel_net_record(&vnet->net, iov, count, 0, len);
	return result;
}

/* 1: one frame less; 0: none there; -EAGAIN: the rest has to wait; -EIO: broken. */
static int vnet_transmit_one(struct net_vnet *vnet)
{
	struct rumpel_queue *queue = rumpel_net_tx_queue(&vnet->net);
	struct rumpel_device_stats *stats = &vnet->net.virtio.stats;
	struct iovec *iov = vnet->iov + 1;
	struct rumpel_chain chain;
	int result;

	result = rumpel_queue_peek(queue, 0, iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	result = vnet_send(vnet, iov, &chain);
	if (result == -EAGAIN)
		return result;
	if (!result) {
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, chain.out_len - RUMPEL_NET_HEADER);
	} else {
		rumpel_virtio_count(result == -EINVAL ? &stats->errors : &stats->dropped, 1);
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

static void vnet_transmit(struct net_vnet *vnet)
{
	struct rumpel_virtio *virtio = &vnet->net.virtio;
	struct rumpel_queue *queue = rumpel_net_tx_queue(&vnet->net);
	unsigned int moved = 0;
	int result;

	while ((result = vnet_transmit_one(vnet)) > 0)
		if (++moved % VNET_BATCH == 0)
			rumpel_virtio_publish(virtio, queue);
	if (moved % VNET_BATCH)
		rumpel_virtio_publish(virtio, queue);
	if (result == -EAGAIN)
		vnet->watch.events |= POLLOUT;
	else
		vnet->watch.events &= ~POLLOUT;
	if (result == -EIO)
		rumpel_virtio_break(virtio);
}

/* ---- receive ---- */

/* The longest frame that this driver may be sent. */
static size_t vnet_longest(const struct net_vnet *vnet)
{
	const struct rumpel_virtio *virtio = &vnet->net.virtio;

	if (rumpel_virtio_has(virtio, VIRTIO_NET_F_GUEST_TSO4) ||
	    rumpel_virtio_has(virtio, VIRTIO_NET_F_GUEST_TSO6))
		return RUMPEL_NET_GSO_MAX;
	return vnet->net.config.mtu + RUMPEL_NET_FRAME_MIN + VNET_TAGS;
}

/* 1: there is room for a frame of this length; else as rumpel_net_gather(). */
static int vnet_gather(struct net_vnet *vnet, size_t len)
{
	int result;

	do {
		result = rumpel_net_gather(&vnet->net, &vnet->rx, RUMPEL_NET_HEADER + len);
	} while (!result &&
		 rumpel_queue_notify_on(rumpel_net_rx_queue(&vnet->net), vnet->rx.count));
	return result;
}

/* The length of a frame that was read, or what read() says. */
static ssize_t vnet_read(struct net_vnet *vnet)
{
	struct rumpel_net_rx *rx = &vnet->rx;
	struct iovec *iov = vnet->iov + 1;
	unsigned int count = rx->iov_count;
	ssize_t len;

	memcpy(iov, rx->iov, count * sizeof(*iov));
	count = rumpel_iov_skip(&iov, count, RUMPEL_NET_HEADER);
	iov[count] = (struct iovec){ vnet->spill, sizeof(vnet->spill) };
	vnet->header = (struct virtio_net_hdr_v1){ 0 };
	*--iov = (struct iovec){ &vnet->header, vnet->header_len };
	len = vnet->ops->read(vnet, iov, count + 2);
	if (len < 0)
		return len;
	len -= vnet->header_len;
	if (len < RUMPEL_NET_FRAME_MIN || len > (ssize_t)RUMPEL_NET_GSO_MAX)
		return -EMSGSIZE;
	vnet->direct = rx->iov_count ? rx->len - RUMPEL_NET_HEADER : 0;
	if (vnet->direct > (size_t)len)
		vnet->direct = len;
	vnet->expected -= vnet->expected / 8;
	if (vnet->expected < (size_t)len)
		vnet->expected = len;
	return len;
}

/* The host may know better than the driver what a frame can be. 0, or it is lost. */
static int vnet_adapt(struct net_vnet *vnet, size_t len, struct virtio_net_hdr_v1 *header)
{
	header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID;
	if (!rumpel_net_takes(&vnet->net, header))
		return -EMSGSIZE;
	if (rumpel_virtio_has(&vnet->net.virtio, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    rumpel_net_fill_checksum(&vnet->rx, len, header))
		return -EMSGSIZE;
	header->flags = 0;
	return 0;
}

/* Hands over the frame that was read. 1; -ENOBUFS: it waits for buffers; -EIO: broken. */
static int vnet_finish(struct net_vnet *vnet)
{
	struct rumpel_net *net = &vnet->net;
	size_t len = vnet->len;
	int result = 1;

	if (len > vnet->direct)
		result = vnet_gather(vnet, len);
	if (result == 0)
		return -ENOBUFS;
	vnet->len = 0;
	if (result == -EIO)
		return result;
	if (result > 0 && len > vnet->direct)
		rumpel_iov_write(vnet->rx.iov, vnet->rx.iov_count, RUMPEL_NET_HEADER + vnet->direct,
				 vnet->spill, len - vnet->direct);
	if (result < 0 || vnet_adapt(vnet, RUMPEL_NET_HEADER + len, &vnet->header)) {
		rumpel_virtio_count(&net->virtio.stats.errors, 1);
		return 1;
	}
	rumpel_iov_write(vnet->rx.iov, vnet->rx.iov_count, 0, &vnet->header, sizeof(vnet->header));
	rumpel_net_record(net, vnet->rx.iov, vnet->rx.iov_count, RUMPEL_NET_HEADER, len);
	rumpel_net_deliver(net, &vnet->rx, RUMPEL_NET_HEADER + len);
	return 1;
}

/* 1: a frame; 0: nothing there; -ENOBUFS: no receive buffers; -EIO: broken. */
static int vnet_receive_one(struct net_vnet *vnet)
{
	size_t longest = vnet_longest(vnet);
	ssize_t len;
	int result;

	if (vnet->len)
		return vnet_finish(vnet);
	result = vnet_gather(vnet, vnet->expected < longest ? vnet->expected : longest);
	if (result == 0)
		return -ENOBUFS;
	/* A driver that has less room than that gets what fits. */
	if (result == -EIO)
		return result;
	len = vnet_read(vnet);
	if (len == -EAGAIN)
		return 0;
	if (len == -EMSGSIZE) {
		rumpel_virtio_count(&vnet->net.virtio.stats.errors, 1);
		return 1;
	}
	if (len < 0) {
		vnet_down(vnet);
		return 0;
	}
	vnet->len = len;
	return vnet_finish(vnet);
}

static void vnet_receive(struct net_vnet *vnet)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(&vnet->net);
	uint16_t before = queue->next_used;
	int result = 1;

	/* Before its first buffers the interface has never been opened. */
	if (!rumpel_queue_used_once(queue))
		return;
	for (int i = 0; i < VNET_READS && result > 0 && !vnet->down; i++)
		result = vnet_receive_one(vnet);
	/* With no buffers it is the driver that tells when to go on. */
	if (result < 0 || vnet->down)
		vnet->watch.events &= ~POLLIN;
	else
		vnet->watch.events |= POLLIN;
	rumpel_net_received(&vnet->net, before, result);
}

/* ---- the device ---- */

/* The host segments and sums up what this driver cannot. */
static void vnet_accept(struct net_vnet *vnet, uint64_t features)
{
	if (vnet->accepted == features)
		return;
	vnet->accepted = features;
	if (vnet->ops->accept)
		vnet->ops->accept(vnet, features);
}

static void vnet_service(struct rumpel_virtio *virtio)
{
	struct net_vnet *vnet = to_vnet(virtio);

	vnet_accept(vnet, virtio->accepted);
	vnet_transmit(vnet);
	/* While the descriptor is watched, there is nothing to see here. */
	if (!(vnet->watch.events & POLLIN) && !vnet->down)
		vnet_receive(vnet);
}

static void vnet_ready(struct rumpel_watch *watch, short revents)
{
	struct net_vnet *vnet = (void *)((char *)watch - offsetof(struct net_vnet, watch));

	if (!rumpel_virtio_is_live(&vnet->net.virtio)) {
		watch->events = 0;
		return;
	}
	if (revents & POLLNVAL)
		vnet_down(vnet);
	if (revents & (POLLIN | POLLERR | POLLHUP))
		vnet_receive(vnet);
	if (revents & (POLLOUT | POLLERR | POLLHUP))
		vnet_transmit(vnet);
}

/* No driver, no frames: they wait in the host's queue. */
static void vnet_quiesce(struct rumpel_virtio *virtio)
{
	struct net_vnet *vnet = to_vnet(virtio);

	vnet->watch.events = 0;
	if (vnet->len)
		rumpel_virtio_count(&virtio->stats.dropped, 1);
	vnet->len = 0;
	vnet_accept(vnet, 0);
}

static int vnet_attach(struct rumpel_virtio *virtio)
{
	rumpel_kernel_watch(virtio->device.kernel, &to_vnet(virtio)->watch);
	return 0;
}

static void vnet_detach(struct rumpel_virtio *virtio)
{
	struct net_vnet *vnet = to_vnet(virtio);

	rumpel_kernel_unwatch(virtio->device.kernel, &vnet->watch);
}

/* The host's frames are the parent's. */
static void vnet_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_vnet *vnet = to_vnet(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&vnet->net);
	close(vnet->watch.fd);
	vnet->watch.fd = -1;
	vnet_down(vnet);
}

static void vnet_free(struct rumpel_virtio *virtio)
{
	struct net_vnet *vnet = to_vnet(virtio);

	rumpel_net_exit(&vnet->net);
	if (vnet->watch.fd >= 0)
		close(vnet->watch.fd);
	free(vnet);
}

static const struct rumpel_virtio_ops vnet_ops = {
	.service = vnet_service,
	.quiesce = vnet_quiesce,
	.attach = vnet_attach,
	.detach = vnet_detach,
	.finish = rumpel_net_finish,
	.fork = vnet_fork,
	.free = vnet_free,
};

int net_vnet_init(struct net_vnet *vnet, const struct net_vnet_ops *ops, int fd, size_t header_len,
		  uint64_t features, const uint8_t mac[6], unsigned int mtu,
		  struct rumpel_device **device)
{
	int error = vnet ? rumpel_net_init(&vnet->net, &vnet_ops, features, mac, mtu) : -ENOMEM;

	if (error) {
		free(vnet);
		close(fd);
		return error;
	}
	vnet->ops = ops;
	vnet->header_len = header_len;
	vnet->watch.fd = fd;
	vnet->watch.ready = vnet_ready;
	vnet->expected = RUMPEL_NET_FRAME_MIN;
	*device = &vnet->net.virtio.device;
	return 0;
}
