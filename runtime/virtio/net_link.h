/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cable between two interfaces, which may belong to kernels that run on two
 * host threads. Each direction is a path of its own: from the transmit queue
 * of one end to the receive queue of the other.
 *
 * Whose thread does what:
 *
 * - Without delay, the sender's (the holder of its token) copies each frame
 *   once, from transmit buffers to receive buffers. There is no queue between.
 *   Without receive buffers, frames wait in the transmit queue; the receiver,
 *   when its driver has offered new ones, notifies the sender.
 * - With delay, the sender's puts frames on the cable and notifies the
 *   receiver, whose timer takes them off when they are due.
 *
 * Either may run the other's kernel when it leaves its own (runtime/visit.c).
 *
 * So a transmit queue and a timer are touched under the token of their own
 * kernel only. The path's lock is for what both sides touch: the receive
 * queue, the frames on the cable, and whether the other end is there. Nobody
 * ever has the locks of two paths.
 */
#ifndef RUMPEL_VIRTIO_NET_LINK_H
#define RUMPEL_VIRTIO_NET_LINK_H

#include "net.h"

struct link_end {
	struct rumpel_net net; /* first */
	struct rumpel_link *link;
	struct link_path *out, *in;
	/* Without delay: patience with the receiver is over. With: a frame is due. */
	struct rumpel_timer timer;
};

/* A frame on the cable, with its header. */
struct link_frame {
	struct link_frame *next;
	uint64_t due; /* on the receiver's clock */
	size_t len;
	char data[];
};

struct link_path {
	pthread_mutex_t lock;
	struct link_end *from, *to; /* NULL: not in a kernel */
	uint64_t delay;
	bool starved; /* atomic: somebody wants to hear of new receive buffers */
	bool overrun; /* patience is over: drop until there are buffers */
	bool fresh; /* the receiver has not heard of all its frames */
	struct link_frame *head, **tail; /* on the cable */
	size_t queued; /* bytes of them */
	struct rumpel_net_rx rx;
	struct iovec iov[RUMPEL_QUEUE_MAX]; /* the sender's: a transmit chain */
};

struct rumpel_link {
	struct link_path paths[2];
	unsigned int ends; /* atomic: not freed yet */
};

/* Locked. */
static inline struct rumpel_kernel *link_path_sender(const struct link_path *path)
{
	return path->from ? path->from->net.virtio.device.kernel : NULL;
}

static inline struct rumpel_kernel *link_path_receiver(const struct link_path *path)
{
	return path->to ? path->to->net.virtio.device.kernel : NULL;
}

/* ---- net_path.c ---- */

/* Holder of the sender's token: sends what is in its transmit queue. */
void link_path_transmit(struct link_path *path);
/* Holder of the sender's token: the receiver has had its time. */
void link_path_expire(struct link_path *path);
/* Holder of the receiver's token: takes what is due off the cable. */
void link_path_arrive(struct link_path *path);
/* Locked. Drops what is on the cable. */
void link_path_clear(struct link_path *path);

#endif
