// SPDX-License-Identifier: GPL-2.0-only
/* A TAP device of the host (Documentation/networking/tuntap.rst, linux/if_tun.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/if_tun.h>

#include "net_interface.h"
#include "net_vnet.h"

/* Bits that the headers of older systems lack. */
#define TAP_F_USO4 0x20
#define TAP_F_USO6 0x40

static ssize_t tap_read(struct net_vnet *vnet, struct iovec *iov, unsigned int count)
{
	ssize_t len;

	do {
		len = readv(vnet->watch.fd, iov, count);
	} while (len < 0 && errno == EINTR);
	return len < 0 ? -errno : len;
}

/* What the host may leave to a driver with these features. */
static void tap_accept(struct net_vnet *vnet, uint64_t features)
{
	static const struct {
		unsigned char feature, flag;
	} known[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
		{ RUMPEL_NET_F_GUEST_USO4, TAP_F_USO4 }, { RUMPEL_NET_F_GUEST_USO6, TAP_F_USO6 },
	};
	unsigned long flags = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (features >> known[i].feature & 1)
			flags |= known[i].flag;
	/* The rest means something only with CSUM. If it fails, the device has gone. */
	if (vnet->header_len)
		ioctl(vnet->watch.fd, TUNSETOFFLOAD, flags & TUN_F_CSUM ? flags : 0);
}

static const struct net_vnet_ops tap_ops = {
	.read = tap_read,
	.accept = tap_accept,
};

/* Both kinds of a persistent device: it must be opened as it was made. */
static int tap_attach(int fd, const char *name, struct ifreq *request)
{
	static const short kinds[] = { 0, IFF_MULTI_QUEUE };
	int result = -1;

	for (int i = 0; i < 2 && result < 0; i++) {
		memset(request, 0, sizeof(*request));
		strcpy(request->ifr_name, name);
		request->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | kinds[i];
		result = ioctl(fd, TUNSETIFF, request);
		if (result < 0 && errno != EINVAL)
			break;
	}
	return result < 0 ? -errno : 0;
}

int rumpel_tap_open(const char *name, unsigned int flags, char actual[16])
{
	struct ifreq request;
	int fd, error;

	if (strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = tap_attach(fd, name, &request);
	if (!error && (flags & RUMPEL_TAP_PERSIST) && ioctl(fd, TUNSETPERSIST, 1) < 0)
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	memcpy(actual, request.ifr_name, IFNAMSIZ);
	return fd;
}

/* 0, or why this is not a TAP device that frames can be had from. */
static int tap_examine(int fd, struct ifreq *request)
{
	if (ioctl(fd, TUNGETIFF, request) < 0)
		return errno == ENOTTY || errno == EINVAL ? -EPROTOTYPE : -errno;
	if (!(request->ifr_flags & IFF_TAP) || !(request->ifr_flags & IFF_NO_PI))
		return -EPROTOTYPE;
	return 0;
}

int rumpel_net_tap(int tap, unsigned int flags, const uint8_t mac[6], unsigned int mtu,
		   struct rumpel_device **device)
{
	const unsigned long most =
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TAP_F_USO4 | TAP_F_USO6;
	int fd, error, header_len = sizeof(struct virtio_net_hdr_v1);
	struct ifreq request = { 0 };
	uint64_t features = 0;
	bool header;

	error = tap_examine(tap, &request);
	if (error)
		return error;
	fd = fcntl(tap, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	header = request.ifr_flags & IFF_VNET_HDR;
	if (header && ioctl(fd, TUNSETVNETHDRSZ, &header_len) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	if (header && !(flags & RUMPEL_NET_NO_OFFLOADS))
		features = rumpel_net_offloads(!ioctl(fd, TUNSETOFFLOAD, most));
	if (header)
		ioctl(fd, TUNSETOFFLOAD, 0); /* no driver, no features */
	if (!mtu)
		mtu = net_interface_mtu(request.ifr_name);
	return net_vnet_init(calloc(1, sizeof(struct net_vnet)), &tap_ops, fd,
			     header ? header_len : 0, features, mac, mtu, device);
}
