/* SPDX-License-Identifier: GPL-2.0-only */
/* What interfaces on sockets share: net_fd.c, net_stream.c, net_vde.c. */
#ifndef RUMPEL_VIRTIO_NET_SOCKET_H
#define RUMPEL_VIRTIO_NET_SOCKET_H

#include "net.h"
#include "unix.h"

/* As rumpel_net_fd, for a stream socket. */
int net_stream_on(int socket, const uint8_t mac[6], unsigned int mtu,
		  struct rumpel_device **device);

#endif
