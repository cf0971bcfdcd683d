/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An interface on a descriptor of the host's network stack: each read and each
 * write is a frame, with a header of virtio's before it that keeps offloads
 * across (VIRTIO 1.2, 5.1.6; linux/if_tun.h, packet(7)). What kind of
 * descriptor it is, is the business of net_tap.c and net_packet.c.
 */
#ifndef RUMPEL_VIRTIO_NET_VNET_H
#define RUMPEL_VIRTIO_NET_VNET_H

#include "net.h"

struct net_vnet;

struct net_vnet_ops {
	/*
	 * Reads a frame behind its header (the first element). Its length with
	 * header, or more than there is room for; -EAGAIN; -EMSGSIZE: not a
	 * frame; else: the interface has gone.
	 */
	ssize_t (*read)(struct net_vnet *vnet, struct iovec *iov, unsigned int count);
	/* The driver has accepted these features; 0: there is none. May be NULL. */
	void (*accept)(struct net_vnet *vnet, uint64_t features);
};

struct net_vnet {
	struct rumpel_net net; /* first */
	const struct net_vnet_ops *ops;
	struct rumpel_watch watch;
	size_t header_len; /* of the host's headers: 0, 10 or 12 */
	uint64_t accepted; /* what the host knows of it */
	bool down; /* the interface has gone */
	/*
	 * What is being received. Most frames are as long as the last ones, so no
	 * more buffers are looked at; what does not fit goes to `spill` first.
	 */
	size_t expected; /* length */
	size_t len; /* of a frame that waits for more buffers; 0: there is none */
	size_t direct; /* so much of it lies in buffers already */
	struct virtio_net_hdr_v1 header; /* its header */
	struct rumpel_net_rx rx;
	char spill[RUMPEL_NET_GSO_MAX + 1]; /* the last byte: it was too long */
	struct iovec iov[RUMPEL_NET_RX_IOV + 2];
};

/* Of all zeroes (calloc); owns it and the descriptor from now on, also if it fails. */
int net_vnet_init(struct net_vnet *vnet, const struct net_vnet_ops *ops, int fd, size_t header_len,
		  uint64_t features, const uint8_t mac[6], unsigned int mtu,
		  struct rumpel_device **device);

#endif
