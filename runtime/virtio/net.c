// SPDX-License-Identifier: GPL-2.0-only
/* virtio-net: what does not depend on where frames go. */
#include "net.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <string.h>

#define NET_MTU 1500
#define NET_MTU_MIN 68 /* 5.1.4.1 */
#define NET_MTU_MAX 65535

/*
 * The one thing of the process: interfaces that are made one after the other
 * have addresses one after the other, in whatever kernels they end up.
 */
static uint32_t net_created;

static void made_up_mac(uint8_t mac[6])
{
	uint32_t n = __atomic_add_fetch(&net_created, 1, __ATOMIC_RELAXED);
	/* Locally administered, unicast. */
	const uint8_t made_up[6] = { 0x02, 0x72, 0x75, n >> 16, n >> 8, n };

	memcpy(mac, made_up, sizeof(made_up));
}

/* An address of one interface: neither of a group nor of nobody. */
static bool is_station(const uint8_t mac[6])
{
	static const uint8_t nobody[6];

	return !(mac[0] & 1) && memcmp(mac, nobody, sizeof(nobody));
}

int rumpel_net_init(struct rumpel_net *net, const struct rumpel_virtio_ops *ops, uint64_t features,
		    const uint8_t mac[6], unsigned int mtu)
{
	if (!mtu)
		mtu = NET_MTU;
	if (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX || (mac && !is_station(mac)))
		return -EINVAL;
	if (mac)
		memcpy(net->config.mac, mac, sizeof(net->config.mac));
	else
		made_up_mac(net->config.mac);
	net->config.mtu = mtu;
	rumpel_capture_init(&net->capture);
	/*
	 * Without STATUS: a driver that has to ask for the state of the link is
	 * not ready when it is opened, and Linux would lose the first frame, a
	 * request for an address, which it repeats after a second.
	 */
	features |= 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_MTU |
		    1ull << VIRTIO_NET_F_MRG_RXBUF;
	rumpel_virtio_init(&net->virtio, ops, VIRTIO_ID_NET, features, &net->config,
			   sizeof(net->config), 2);
	return 0;
}

void rumpel_net_exit(struct rumpel_net *net)
{
	rumpel_capture_exit(&net->capture);
}

int rumpel_net_gather(struct rumpel_net *net, struct rumpel_net_rx *rx, size_t len)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(net);
	bool merge = rumpel_virtio_has(&net->virtio, VIRTIO_NET_F_MRG_RXBUF);
	struct rumpel_chain chain;
	int result;

	rx->count = 0;
	rx->iov_count = 0;
	rx->len = 0;
	while (rx->len < len) {
		/* All the buffers that the driver can have are not enough. */
		if (rx->count == queue->num || (rx->count && !merge))
			return -EMSGSIZE;
		result = rumpel_queue_peek(queue, rx->count, rx->iov + rx->iov_count,
					   RUMPEL_NET_RX_IOV - rx->iov_count, &chain);
		if (result == -ENOBUFS)
			return -EMSGSIZE;
		if (result <= 0)
			return result;
		/* 5.1.6.3.1: each has room for the header at least. */
		if (chain.out || chain.in_len < RUMPEL_NET_HEADER)
			return -EIO;
		rx->head[rx->count] = chain.head;
		rx->room[rx->count] = chain.in_len;
		rx->count++;
		rx->iov_count += chain.in;
		rx->len += chain.in_len;
	}
	return 1;
}

void rumpel_net_deliver(struct rumpel_net *net, struct rumpel_net_rx *rx, size_t len)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(net);
	size_t bytes = len - RUMPEL_NET_HEADER;
	uint16_t used = 0;

	while (len) {
		size_t n = len < rx->room[used] ? len : rx->room[used];

		rumpel_queue_put(queue, rx->head[used++], n);
		len -= n;
	}
	rumpel_iov_write(rx->iov, rx->iov_count, offsetof(struct virtio_net_hdr_v1, num_buffers),
			 &used, sizeof(used));
	/* The buffers of one frame must be seen together (5.1.6.4.1). */
	rumpel_queue_take(queue, used);
	rumpel_queue_publish(queue);
	rumpel_virtio_count(&net->virtio.stats.in, 1);
	rumpel_virtio_count(&net->virtio.stats.in_bytes, bytes);
}

void rumpel_net_record(struct rumpel_net *net, const struct iovec *iov, unsigned int count,
		       size_t skip, size_t len)
{
	uint64_t now;

	if (!__atomic_load_n(&net->capture.active, __ATOMIC_RELAXED))
		return;
	now = rumpel_kernel_now(net->virtio.device.kernel);
	if (!rumpel_capture_frame(&net->capture, now, iov, count, skip, len))
		rumpel_virtio_count(&net->virtio.stats.errors, 1);
}

int rumpel_net_capture(struct rumpel_device *device, int fd)
{
	struct rumpel_virtio *virtio = rumpel_virtio_of(device, VIRTIO_ID_NET);

	if (!virtio)
		return -EINVAL;
	return rumpel_capture_start(&((struct rumpel_net *)virtio)->capture, fd);
}
