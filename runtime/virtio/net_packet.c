// SPDX-License-Identifier: GPL-2.0-only
/*
 * A packet socket on an interface of the host (packet(7)): the kernel is one
 * more station on that interface's network. What the host itself sends there is
 * not seen; what the network sends is seen by the host too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>

#include "net_interface.h"
#include "net_vnet.h"

/* Every version has headers of this length; others only since 6.6. */
#define PACKET_HEADER sizeof(struct virtio_net_hdr)
#define PACKET_BUFFER (8 << 20) /* bytes that may wait in the socket, if the host allows */
#define PACKET_TAG 4 /* bytes of a VLAN tag, behind two addresses */
#define PACKET_ADDRESSES 12

struct net_packet {
	struct net_vnet vnet; /* first */
	char frame[RUMPEL_NET_GSO_MAX]; /* to be given its tag back */
};

/* The tag that the host took off, or false. */
static bool tag_of(struct msghdr *message, uint8_t tag[PACKET_TAG])
{
	struct cmsghdr *control = CMSG_FIRSTHDR(message);
	struct tpacket_auxdata aux;

	for (; control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_PACKET || control->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(control), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID))
			return false;
		if (!(aux.tp_status & TP_STATUS_VLAN_TPID_VALID))
			aux.tp_vlan_tpid = ETH_P_8021Q;
		memcpy(tag,
		       (uint8_t[]){ aux.tp_vlan_tpid >> 8, aux.tp_vlan_tpid, aux.tp_vlan_tci >> 8,
				    aux.tp_vlan_tci },
		       PACKET_TAG);
		return true;
	}
	return false;
}

/* Puts a tag where it was. The first element is the header. Its length then. */
static ssize_t insert_tag(struct net_packet *packet, const uint8_t tag[PACKET_TAG],
			  struct iovec *iov, unsigned int count, ssize_t len)
{
	struct virtio_net_hdr *header = iov[0].iov_base;
	size_t rest = len - PACKET_HEADER - PACKET_ADDRESSES;

	if (rest > sizeof(packet->frame))
		return -EMSGSIZE;
	rumpel_iov_read(iov + 1, count - 1, PACKET_ADDRESSES, packet->frame, rest);
	rumpel_iov_write(iov + 1, count - 1, PACKET_ADDRESSES, tag, PACKET_TAG);
	rumpel_iov_write(iov + 1, count - 1, PACKET_ADDRESSES + PACKET_TAG, packet->frame, rest);
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		header->csum_start += PACKET_TAG;
	if (header->hdr_len)
		header->hdr_len += PACKET_TAG;
	return len + PACKET_TAG;
}

/* The interface was down for a while, or has gone for ever. */
static int packet_error(int fd, int error)
{
	struct sockaddr_ll address;
	socklen_t len = sizeof(address);

	switch (error) {
	case EAGAIN:
		return -EAGAIN;
	case EINVAL: /* an offload that a header has no words for */
		return -EMSGSIZE;
	case ENETDOWN:
		if (!getsockname(fd, (struct sockaddr *)&address, &len) && address.sll_ifindex > 0)
			return -EAGAIN;
	}
	return -ENODEV;
}

static ssize_t packet_read(struct net_vnet *vnet, struct iovec *iov, unsigned int count)
{
	char control[CMSG_SPACE(sizeof(struct tpacket_auxdata))] __attribute__((aligned(8)));
	struct msghdr message = {
		.msg_iov = iov,
		.msg_iovlen = count,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	uint8_t tag[PACKET_TAG];
	ssize_t len;

	do {
		len = recvmsg(vnet->watch.fd, &message, MSG_DONTWAIT);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return packet_error(vnet->watch.fd, errno);
	if ((message.msg_flags & MSG_TRUNC) || len < (ssize_t)(PACKET_HEADER + ETH_HLEN))
		return -EMSGSIZE;
	if (tag_of(&message, tag))
		return insert_tag((struct net_packet *)vnet, tag, iov, count, len);
	return len;
}

static const struct net_vnet_ops packet_ops = {
	.read = packet_read,
};

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* Everything before bind(): until then no frame comes. */
static int set_up(int fd, int index)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = index,
	};
	static const int options[] = { PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING };
	int size = PACKET_BUFFER, error;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		error = set(fd, options[i], 1);
		if (error)
			return error;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	/* Our address is not the interface's. */
	error = net_interface_promiscuous(fd, index);
	if (!error && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		error = -errno;
	return error;
}

int rumpel_net_packet(const char *interface, unsigned int flags, const uint8_t mac[6],
		      unsigned int mtu, struct rumpel_device **device)
{
	/* Of UDP's segments, older versions refuse the frame: to ask takes more than it gives. */
	uint64_t features = flags & RUMPEL_NET_NO_OFFLOADS ? 0 : rumpel_net_offloads(false);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;
	struct net_packet *packet;

	if (fd < 0)
		return -errno;
	error = net_interface_index(fd, interface);
	if (error > 0)
		error = set_up(fd, error);
	if (error) {
		close(fd);
		return error;
	}
	packet = calloc(1, sizeof(*packet));
	if (!mtu)
		mtu = net_interface_mtu(interface);
	return net_vnet_init(packet ? &packet->vnet : NULL, &packet_ops, fd, PACKET_HEADER,
			     features, mac, mtu, device);
}
