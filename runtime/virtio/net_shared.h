/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that both ends of a stream have: large frames are put there, and the
 * stream says where. So they are not copied into the host's kernel and out again,
 * which makes and clears pages for them. There is a half for each direction; where
 * one is full, a frame goes through the stream as others do.
 */
#ifndef RUMPEL_VIRTIO_NET_SHARED_H
#define RUMPEL_VIRTIO_NET_SHARED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "rumpel/rumpel.h"

/* What is in the stream instead of a frame. */
struct net_shared_place {
	uint32_t size; /* of header and frame, and NET_SHARED */
	uint32_t at;
	uint64_t end; /* all that was ever put there, with this one */
};

/* Of a size: it is that of a place. */
#define NET_SHARED (1u << 31)

struct net_shared_half;

struct net_shared {
	struct net_shared_half *halves; /* of both processes; NULL: there are none */
	struct net_shared_half *in, *out;
	uint64_t put; /* bytes so far, and those left out for the end of a half */
};

/* fd: a memfd. second: what this end writes goes into the second half. */
int net_shared_open(struct net_shared *shared, int fd, bool second);
void net_shared_close(struct net_shared *shared);
/* Puts header and frame there. False: there is no room now. */
bool net_shared_put(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		    size_t len, struct net_shared_place *place);
/* The header and frame of a place, or NULL if it is none. */
const char *net_shared_get(const struct net_shared *shared, const struct net_shared_place *place);
/* The place is no longer needed, nor are those before it. */
void net_shared_done(struct net_shared *shared, uint64_t end);

#endif
