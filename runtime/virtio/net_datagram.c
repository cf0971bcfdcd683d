// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames as datagrams between unix sockets with names. One socket receives from
 * anybody; another is connected to the peer, as only such a one can be waited
 * for when the peer is full.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "net_fd.h"

int rumpel_net_datagram(const char *local, const char *peer, const uint8_t mac[6], unsigned int mtu,
			struct rumpel_device **device)
{
	struct sockaddr_un local_name, peer_name;
	socklen_t local_len, peer_len;
	int socket, sender, error;
	struct net_fd *fd;

	error = rumpel_unix_address(local, &local_name, &local_len);
	if (!error)
		error = rumpel_unix_address(peer, &peer_name, &peer_len);
	if (error)
		return error;
	sender = rumpel_unix_socket(SOCK_DGRAM);
	if (sender < 0)
		return sender;
	socket = rumpel_unix_bind(SOCK_DGRAM, &local_name, local_len);
	error = socket < 0 ? socket : net_fd_create(socket, mac, mtu, &fd);
	if (error) {
		close(sender);
		if (socket >= 0)
			rumpel_unix_unlink(&local_name);
		return error;
	}
	fd->sender.fd = sender;
	fd->local_name = local_name;
	fd->peer_name = peer_name;
	fd->peer_len = peer_len;
	*device = &fd->net.virtio.device;
	return 0;
}
