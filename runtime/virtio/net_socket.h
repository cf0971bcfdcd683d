/* SPDX-License-Identifier: GPL-2.0-only */
/* What interfaces on sockets share: net_fd.c, net_stream.c, net_vde.c. */
#ifndef RUMPEL_VIRTIO_NET_SOCKET_H
#define RUMPEL_VIRTIO_NET_SOCKET_H

#include <sys/un.h>

#include "net.h"

/* "@name" is an abstract address (unix(7)). 0, -ENAMETOOLONG, -EINVAL: empty. */
int net_socket_address(const char *path, struct sockaddr_un *address, socklen_t *len);
/* A unix socket that does not block, or a negative errno. */
int net_socket_new(int type);
/*
 * A socket bound to it, that does not block; the one that a dead process left
 * behind makes way. A descriptor or a negative errno.
 */
int net_socket_bind(int type, const struct sockaddr_un *address, socklen_t len);
/* Takes the name away that net_socket_bind() gave. */
void net_socket_unlink(const struct sockaddr_un *address);

/* As rumpel_net_fd, for a stream socket. */
int net_stream_on(int socket, const uint8_t mac[6], unsigned int mtu,
		  struct rumpel_device **device);

#endif
