/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The client's side of NBD's transmission phase, on a stream socket (NetworkBlockDevice/nbd,
 * doc/proto.md). Any thread; several requests may be under way.
 */
#ifndef RUMPEL_VIRTIO_NBD_H
#define RUMPEL_VIRTIO_NBD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct rumpel_nbd;

/* `fd` is duplicated. `flags`: the transmission flags that the server has sent. */
int rumpel_nbd_open(int fd, uint64_t size, unsigned int flags, struct rumpel_nbd **nbd);
void rumpel_nbd_free(struct rumpel_nbd *nbd);
/* In the child of a fork: the connection is the parent's. All fails from now on. */
void rumpel_nbd_forked(struct rumpel_nbd *nbd);

bool rumpel_nbd_is_read_only(const struct rumpel_nbd *nbd);
bool rumpel_nbd_can_discard(const struct rumpel_nbd *nbd);
bool rumpel_nbd_can_zero(const struct rumpel_nbd *nbd);

/* 0 or a negative errno: the server's, or -EIO if it is gone. `iov` may be changed. */
int rumpel_nbd_transfer(struct rumpel_nbd *nbd, struct iovec *iov, unsigned int count,
			uint64_t offset, bool write);
int rumpel_nbd_flush(struct rumpel_nbd *nbd);
int rumpel_nbd_discard(struct rumpel_nbd *nbd, uint64_t offset, uint64_t len);
int rumpel_nbd_zero(struct rumpel_nbd *nbd, uint64_t offset, uint64_t len, bool unmap);

#endif
