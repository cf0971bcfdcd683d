// SPDX-License-Identifier: GPL-2.0-only
/* virtio-net: what does not depend on where frames go. */
#include "net.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#define NET_MTU 1500
#define NET_MTU_MIN 68 /* 5.1.4.1 */

/* Locally administered, unicast, and of nobody else. */
static int make_up_mac(uint8_t mac[6])
{
	if (getrandom(mac, 6, 0) != 6)
		return -EAGAIN;
	mac[0] = (mac[0] & 0xfc) | 0x02;
	return 0;
}

void rumpel_net_settle_mac(struct rumpel_net *net)
{
	uint64_t number = rumpel_kernel_number(net->virtio.device.kernel);
	const uint8_t mac[6] = {
		0x02, 0x72, number >> 16, number >> 8, number, net->virtio.device.slot,
	};

	if (net->made_up_mac && number)
		memcpy(net->config.mac, mac, sizeof(mac));
}

/* An address of one interface: neither of a group nor of nobody. */
static bool is_station(const uint8_t mac[6])
{
	static const uint8_t nobody[6];

	return !(mac[0] & 1) && memcmp(mac, nobody, sizeof(nobody));
}

uint64_t rumpel_net_offloads(bool uso)
{
	static const unsigned char bits[] = {
		VIRTIO_NET_F_CSUM,	 VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,	 VIRTIO_NET_F_HOST_ECN,	  VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
	};
	uint64_t features = 0;

	for (size_t i = 0; i < sizeof(bits); i++)
		features |= 1ull << bits[i];
	if (uso)
		features |= 1ull << RUMPEL_NET_F_GUEST_USO4 | 1ull << RUMPEL_NET_F_GUEST_USO6 |
			    1ull << RUMPEL_NET_F_HOST_USO;
	return features;
}

int rumpel_net_init(struct rumpel_net *net, const struct rumpel_virtio_ops *ops, uint64_t features,
		    const uint8_t mac[6], unsigned int mtu)
{
	if (!mtu)
		mtu = NET_MTU;
	if (mtu < NET_MTU_MIN || mtu > RUMPEL_NET_MTU_MAX || (mac && !is_station(mac)))
		return -EINVAL;
	if (mac)
		memcpy(net->config.mac, mac, sizeof(net->config.mac));
	else if (make_up_mac(net->config.mac))
		return -EAGAIN;
	net->made_up_mac = !mac;
	net->config.mtu = mtu;
	rumpel_capture_init(&net->capture);
	/*
	 * Without STATUS, unless rumpel_net_set_link() asks for it: a driver that has
	 * to ask for the state of the link is not ready when it is opened, and Linux
	 * would lose the first frame, a request for an address, which it repeats after
	 * a second.
	 */
	net->config.status = VIRTIO_NET_S_LINK_UP;
	features |= 1ull << VIRTIO_NET_F_MAC | 1ull << VIRTIO_NET_F_MTU |
		    1ull << VIRTIO_NET_F_MRG_RXBUF;
	rumpel_virtio_init(&net->virtio, ops, VIRTIO_ID_NET, features, &net->config,
			   sizeof(net->config), 2);
	return 0;
}

void rumpel_net_finish(struct rumpel_virtio *virtio)
{
	rumpel_capture_end(&((struct rumpel_net *)virtio)->capture);
}

int rumpel_net_join(struct rumpel_device *device, struct rumpel_device *other)
{
	struct rumpel_net *a = (struct rumpel_net *)rumpel_virtio_of(device, VIRTIO_ID_NET);
	struct rumpel_net *b = (struct rumpel_net *)rumpel_virtio_of(other, VIRTIO_ID_NET);

	if (!a || !b || a == b || a->joined || b->joined || device->kernel || other->kernel)
		return -EINVAL;
	a->joined = b;
	b->joined = a;
	return 0;
}

struct rumpel_net *rumpel_net_borrow(struct rumpel_net *net)
{
	struct rumpel_net *joined;

	if (!__atomic_load_n(&net->joined, __ATOMIC_RELAXED))
		return NULL;
	/* In this order: part() looks at them the other way round. */
	__atomic_fetch_add(&net->borrowed, 1, __ATOMIC_SEQ_CST);
	joined = __atomic_load_n(&net->joined, __ATOMIC_SEQ_CST);
	/* Only of one kernel the token is held of both. It may be about to go, from there, too. */
	if (joined && __atomic_load_n(&joined->virtio.device.kernel, __ATOMIC_RELAXED) ==
			      net->virtio.device.kernel)
		return joined;
	rumpel_net_give_back(net);
	return NULL;
}

void rumpel_net_give_back(struct rumpel_net *net)
{
	__atomic_fetch_sub(&net->borrowed, 1, __ATOMIC_SEQ_CST);
}

bool rumpel_net_is_held_up(struct rumpel_net *net)
{
	const struct rumpel_net *joined = rumpel_net_borrow(net);
	bool is;

	if (!joined)
		return false;
	is = __atomic_load_n(&joined->stalled, __ATOMIC_SEQ_CST);
	rumpel_net_give_back(net);
	return is;
}

void rumpel_net_send_joined(struct rumpel_net *net)
{
	struct rumpel_net *joined = rumpel_net_borrow(net);

	if (!joined)
		return;
	if (joined->transmit && rumpel_virtio_is_live(&joined->virtio))
		joined->transmit(joined);
	rumpel_net_give_back(net);
}

void rumpel_net_set_stalled(struct rumpel_net *net, bool stalled)
{
	struct rumpel_net *joined;

	if (__atomic_exchange_n(&net->stalled, stalled, __ATOMIC_SEQ_CST) == stalled || stalled)
		return;
	joined = rumpel_net_borrow(net);
	if (!joined)
		return;
	if (joined->resume && rumpel_virtio_is_live(&joined->virtio))
		joined->resume(joined);
	rumpel_net_give_back(net);
}

bool rumpel_net_is_stalled(const struct rumpel_device *device)
{
	const struct rumpel_virtio *virtio =
		rumpel_virtio_of((struct rumpel_device *)device, VIRTIO_ID_NET);

	return virtio &&
	       __atomic_load_n(&((const struct rumpel_net *)virtio)->stalled, __ATOMIC_SEQ_CST);
}

/* Who runs the other one's kernel, or sends to it, looks at us. */
static void part(struct rumpel_net *net)
{
	struct rumpel_net *joined = net->joined;

	if (!joined)
		return;
	__atomic_store_n(&joined->joined, NULL, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&joined->borrowed, __ATOMIC_SEQ_CST))
		sched_yield();
	if (joined->resume)
		joined->resume(joined);
}

void rumpel_net_exit(struct rumpel_net *net)
{
	part(net);
	rumpel_capture_exit(&net->capture);
}

void rumpel_net_lose(struct rumpel_net *net)
{
	rumpel_capture_forked(&net->capture);
	net->virtio.device.lost = true;
	rumpel_net_carrier(net, false);
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
	/* Without a cable nothing is received. */
	if (!rumpel_net_is_up(net))
		return -EMSGSIZE;
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

/* Most headers are in one piece. */
static inline void write_header(struct rumpel_net_rx *rx, size_t skip, const void *data, size_t len)
{
	if (rx->iov[0].iov_len >= RUMPEL_NET_HEADER)
		memcpy((char *)rx->iov[0].iov_base + skip, data, len);
	else
		rumpel_iov_write(rx->iov, rx->iov_count, skip, data, len);
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
	write_header(rx, offsetof(struct virtio_net_hdr_v1, num_buffers), &used, sizeof(used));
	/* The buffers of one frame must be seen together (5.1.6.4.1). */
	rumpel_queue_take(queue, used);
	rumpel_queue_publish(queue);
	rumpel_virtio_count(&net->virtio.stats.in, 1);
	rumpel_virtio_count(&net->virtio.stats.in_bytes, bytes);
}

bool rumpel_net_takes(const struct rumpel_net *net, const struct virtio_net_hdr_v1 *header)
{
	const struct rumpel_virtio *virtio = &net->virtio;

	switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return rumpel_virtio_has(virtio, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return rumpel_virtio_has(virtio, VIRTIO_NET_F_GUEST_TSO6);
	case RUMPEL_NET_GSO_UDP_L4:
		return rumpel_virtio_has(virtio, RUMPEL_NET_F_GUEST_USO4) &&
		       rumpel_virtio_has(virtio, RUMPEL_NET_F_GUEST_USO6);
	}
	return false;
}

int rumpel_net_fill_checksum(struct rumpel_net_rx *rx, size_t len,
			     const struct virtio_net_hdr_v1 *header)
{
	size_t at = RUMPEL_NET_HEADER + header->csum_start;
	size_t place = at + header->csum_offset;
	uint64_t sum = 0;
	uint16_t folded;
	uint8_t bytes[256];

	if (place + sizeof(folded) > len)
		return -EINVAL;
	while (at < len) {
		size_t n = len - at < sizeof(bytes) ? len - at : sizeof(bytes);

		rumpel_iov_read(rx->iov, rx->iov_count, at, bytes, n);
		for (size_t i = 0; i < n; i++)
			sum += i & 1 ? bytes[i] : (uint64_t)bytes[i] << 8;
		at += n;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	folded = ~sum;
	/* Zero means "none" to UDP, and the other zero is as good to all. */
	if (!folded)
		folded = 0xffff;
	folded = folded >> 8 | folded << 8;
	rumpel_iov_write(rx->iov, rx->iov_count, place, &folded, sizeof(folded));
	return 0;
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

int rumpel_net_hand_over(struct rumpel_net *net, struct rumpel_net_rx *rx,
			 struct virtio_net_hdr_v1 *header, size_t len)
{
	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    !rumpel_virtio_has(&net->virtio, VIRTIO_NET_F_GUEST_CSUM)) {
		if (rumpel_net_fill_checksum(rx, len, header))
			return -EMSGSIZE;
		header->flags = 0;
	}
	write_header(rx, 0, header, sizeof(*header));
	rumpel_net_record(net, rx->iov, rx->iov_count, RUMPEL_NET_HEADER, len - RUMPEL_NET_HEADER);
	rumpel_net_deliver(net, rx, len);
	return 0;
}

void rumpel_net_received(struct rumpel_net *net, uint16_t before, int result)
{
	struct rumpel_queue *queue = rumpel_net_rx_queue(net);

	if (result != -EAGAIN && result != -ENOBUFS)
		rumpel_queue_notify_off(queue);
	if (queue->next_used != before && rumpel_queue_wants_interrupt(queue))
		rumpel_virtio_interrupt(&net->virtio);
	if (result == -EIO)
		rumpel_virtio_break(&net->virtio);
}

static void tell_link(struct rumpel_net *net)
{
	const uint16_t status = net->pulled || net->no_carrier ? 0 : VIRTIO_NET_S_LINK_UP;

	if (status != net->config.status)
		rumpel_virtio_configure(&net->virtio, &net->config.status, &status, sizeof(status));
}

void rumpel_net_carrier(struct rumpel_net *net, bool there)
{
	net->no_carrier = !there;
	if (net->virtio.offered >> VIRTIO_NET_F_STATUS & 1)
		tell_link(net);
}

int rumpel_net_set_link(struct rumpel_device *device, bool up)
{
	struct rumpel_virtio *virtio = rumpel_virtio_of(device, VIRTIO_ID_NET);

	if (!virtio)
		return -EINVAL;
	if (!device->kernel)
		virtio->offered |= 1ull << VIRTIO_NET_F_STATUS;
	else if (!rumpel_virtio_has(virtio, VIRTIO_NET_F_STATUS))
		return -EOPNOTSUPP;
	((struct rumpel_net *)virtio)->pulled = !up;
	tell_link((struct rumpel_net *)virtio);
	return 0;
}

int rumpel_net_capture(struct rumpel_device *device, int fd, unsigned int flags, const char *name)
{
	struct rumpel_net *net = (struct rumpel_net *)rumpel_virtio_of(device, VIRTIO_ID_NET);

	if (!net)
		return -EINVAL;
	if (fd >= 0)
		return rumpel_capture_start(&net->capture, fd, flags, name, net->config.mac);
	return rumpel_capture_end(&net->capture);
}
