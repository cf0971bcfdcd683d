/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interfaces whose frames are the messages of sockets: net_fd.c, and those that
 * find their peers by name: net_datagram.c, net_vde.c.
 */
#ifndef RUMPEL_VIRTIO_NET_FD_H
#define RUMPEL_VIRTIO_NET_FD_H

#include <sys/socket.h>

#include "net_socket.h"

#define FD_BATCH 64 /* frames of one system call */
#define FD_IOV (2 * RUMPEL_QUEUE_MAX)

struct net_fd {
	struct rumpel_net net; /* first */
	struct rumpel_watch watch;
	/* With names: the peer's, who may come and go, and a socket to send to it. */
	struct rumpel_watch sender;
	struct rumpel_watch control; /* VDE: a connection that ends when the switch does */
	struct sockaddr_un local_name, peer_name;
	socklen_t peer_len; /* 0: no names */
	pid_t owner; /* of the local name */
	bool seqpacket; /* an empty message is the end */
	bool local; /* errors are the peer's end, not a hint of the network */
	bool down;
	/* What is being sent. */
	uint16_t head[FD_BATCH];
	struct mmsghdr out[FD_BATCH];
	struct iovec out_iov[FD_IOV];
	/* What was read: frames with room for a header before each. */
	unsigned int slots, next, count;
	size_t slot_len;
	char *frames;
	struct mmsghdr in[FD_BATCH];
	struct iovec in_iov[FD_BATCH];
	struct rumpel_net_rx rx;
};

/* Owns `socket` from now on, also if it fails. */
int net_fd_create(int socket, const uint8_t mac[6], unsigned int mtu, struct net_fd **result);

#endif
