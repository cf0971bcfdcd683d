/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that both ends of a pair of sockets have, for frames with the header of
 * virtio-net: a ring for each direction, as virtqueues are. As long as both ends
 * run, no system call is made for a frame: who is about to sleep says so in the
 * memory, and only then the other one kicks it, by a byte through the sockets.
 * These also tell when the other end is gone.
 *
 * The other end may be hostile: what it writes is read once and checked, and
 * nothing of ours is kept there. It can garble frames, as it can on any cable.
 */
#ifndef RUMPEL_VIRTIO_NET_SHARED_H
#define RUMPEL_VIRTIO_NET_SHARED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "rumpel/rumpel.h"

struct net_shared_half;

struct net_shared {
	struct net_shared_half *halves; /* of both processes; NULL: there are none */
	struct net_shared_half *in, *out;
	uint32_t put, taken; /* bytes of the rings, modulo 2^32: ours of `out`, ours of `in` */
	uint32_t found, slot; /* what net_shared_find() has found */
	bool fresh; /* something was put that the reader was not told of */
};

/* What is next in the ring. */
enum net_shared_found { NET_SHARED_EMPTY, NET_SHARED_FRAME, NET_SHARED_DAMAGED };

/* fd: a memfd. second: what this end writes goes into the second half. */
int net_shared_open(struct net_shared *shared, int fd, bool second);
void net_shared_close(struct net_shared *shared);

/* ---- the writer ---- */

/* Puts header and frame there. False: there is no room now. */
bool net_shared_put(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		    size_t len);
/* After that: is the reader to be kicked? */
bool net_shared_publish(struct net_shared *shared);
/* There will be no more. The reader is to be kicked. */
void net_shared_end(struct net_shared *shared);
/* It is about to wait for room, of which it wants to hear. True: there is some. */
bool net_shared_wait_for_room(struct net_shared *shared);

/* ---- the reader ---- */

/* Finds the next header and frame, until net_shared_take(). */
enum net_shared_found net_shared_find(struct net_shared *shared, const char **bytes,
				      uint32_t *size);
/* What was found is no longer needed. */
void net_shared_take(struct net_shared *shared);
/* After that: is the writer to be kicked? */
bool net_shared_made_room(struct net_shared *shared);
/* Has the writer ended? Then, what is there by now is all. */
bool net_shared_has_ended(const struct net_shared *shared);
/* It is about to wait for frames, of which it wants to hear. True: there are some. */
bool net_shared_wait_for_frames(struct net_shared *shared);

#endif
