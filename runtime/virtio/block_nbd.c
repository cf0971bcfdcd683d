// SPDX-License-Identifier: GPL-2.0-only
/* A disk that a server of NBD has. */
#include <errno.h>
#include <stdlib.h>

#include "block.h"
#include "nbd.h"

struct block_nbd {
	struct rumpel_block block;
	struct rumpel_nbd *nbd;
};

static struct rumpel_nbd *to_nbd(struct rumpel_block *block)
{
	return ((struct block_nbd *)block)->nbd;
}

static int block_nbd_read(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	return rumpel_nbd_transfer(to_nbd(block), iov, count, offset, false);
}

static int block_nbd_write(struct rumpel_block *block, struct iovec *iov, int count,
			   uint64_t offset)
{
	return rumpel_nbd_transfer(to_nbd(block), iov, count, offset, true);
}

static int block_nbd_flush(struct rumpel_block *block)
{
	return rumpel_nbd_flush(to_nbd(block));
}

static int block_nbd_discard(struct rumpel_block *block, uint64_t offset, uint64_t len)
{
	return rumpel_nbd_discard(to_nbd(block), offset, len);
}

static int block_nbd_zero(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap)
{
	return rumpel_nbd_zero(to_nbd(block), offset, len, unmap);
}

/* Answers to both would come on one connection. */
static bool block_nbd_forked(struct rumpel_block *block)
{
	rumpel_nbd_forked(to_nbd(block));
	return false;
}

static void block_nbd_free(struct rumpel_block *block)
{
	rumpel_nbd_free(to_nbd(block));
	free(block);
}

static const struct rumpel_block_ops nbd_ops = {
	.read = block_nbd_read,
	.write = block_nbd_write,
	.flush = block_nbd_flush,
	.discard = block_nbd_discard,
	.zero = block_nbd_zero,
	.forked = block_nbd_forked,
	.free = block_nbd_free,
};

int rumpel_block_nbd(int fd, uint64_t size, unsigned int flags, struct rumpel_device **device)
{
	struct block_nbd *made = calloc(1, sizeof(*made));
	int error;

	if (!made)
		return -ENOMEM;
	error = rumpel_nbd_open(fd, size, flags, &made->nbd);
	if (error) {
		free(made);
		return error;
	}
	error = rumpel_block_init(&made->block, &nbd_ops, size, rumpel_nbd_is_read_only(made->nbd),
				  "rumpel-nbd");
	if (error) {
		rumpel_nbd_free(made->nbd);
		free(made);
		return error;
	}
	if (!rumpel_nbd_can_discard(made->nbd))
		made->block.virtio.offered &= ~(1ull << VIRTIO_BLK_F_DISCARD);
	if (!rumpel_nbd_can_zero(made->nbd))
		made->block.virtio.offered &= ~(1ull << VIRTIO_BLK_F_WRITE_ZEROES);
	*device = &made->block.virtio.device;
	return 0;
}
