// SPDX-License-Identifier: GPL-2.0-only
/* Interfaces of the host: netdevice(7), packet(7). */
#include "net_interface.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_packet.h>

#include "net.h"

int net_interface_index(int fd, const char *name)
{
	struct ifreq request = { 0 };

	if (strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return -errno;
	if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER &&
	    request.ifr_hwaddr.sa_family != ARPHRD_LOOPBACK)
		return -EPROTOTYPE;
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return -errno;
	return request.ifr_ifindex;
}

int net_interface_promiscuous(int fd, int index)
{
	struct packet_mreq request = { .mr_ifindex = index, .mr_type = PACKET_MR_PROMISC };

	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof(request)) < 0)
		return -errno;
	return 0;
}

unsigned int net_interface_mtu(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };
	unsigned int mtu = 0;

	if (fd < 0)
		return 0;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	if (!ioctl(fd, SIOCGIFMTU, &request))
		mtu = request.ifr_mtu;
	close(fd);
	return mtu > RUMPEL_NET_MTU_MAX ? RUMPEL_NET_MTU_MAX : mtu;
}
