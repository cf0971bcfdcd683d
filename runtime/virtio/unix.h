/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets, for network interfaces and vsock. */
#ifndef RUMPEL_VIRTIO_UNIX_H
#define RUMPEL_VIRTIO_UNIX_H

#include <sys/socket.h>
#include <sys/un.h>

/* "@name" is an abstract address (unix(7)). 0, -ENAMETOOLONG, -EINVAL: empty. */
int rumpel_unix_address(const char *path, struct sockaddr_un *address, socklen_t *len);
/* A socket that does not block, or a negative errno. */
int rumpel_unix_socket(int type);
/*
 * A socket bound to it, that does not block; the one that a dead process left
 * behind makes way. A descriptor or a negative errno.
 */
int rumpel_unix_bind(int type, const struct sockaddr_un *address, socklen_t len);
/* Takes the name away that rumpel_unix_bind() gave. */
void rumpel_unix_unlink(const struct sockaddr_un *address);

#endif
