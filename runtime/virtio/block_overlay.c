// SPDX-License-Identifier: GPL-2.0-only
/* An overlay as disk. */
#include <errno.h>
#include <stdlib.h>

#include "block.h"
#include "overlay.h"

struct block_overlay {
	struct rumpel_block block;
	struct rumpel_overlay *overlay;
};

static struct rumpel_overlay *to_overlay(struct rumpel_block *block)
{
	return ((struct block_overlay *)block)->overlay;
}

static ssize_t block_overlay_read_some(struct rumpel_block *block, const struct iovec *iov,
				       int count, uint64_t offset)
{
	return overlay_read_some(to_overlay(block), iov, count, offset);
}

static int block_overlay_read(struct rumpel_block *block, struct iovec *iov, int count,
			      uint64_t offset)
{
	return overlay_read(to_overlay(block), iov, count, offset);
}

static int block_overlay_write(struct rumpel_block *block, struct iovec *iov, int count,
			       uint64_t offset)
{
	return overlay_write(to_overlay(block), iov, count, offset);
}

static int block_overlay_flush(struct rumpel_block *block)
{
	return rumpel_overlay_sync(to_overlay(block));
}

static int block_overlay_discard(struct rumpel_block *block, uint64_t offset, uint64_t len)
{
	return overlay_zero(to_overlay(block), offset, len, false);
}

static int block_overlay_zero(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap)
{
	(void)unmap;
	return overlay_zero(to_overlay(block), offset, len, true);
}

/* Its file, in memory too, is one for both: overlay.c has let go of it. */
static bool block_overlay_forked(struct rumpel_block *block)
{
	(void)block;
	return false;
}

static void block_overlay_free(struct rumpel_block *block)
{
	struct rumpel_overlay *overlay = to_overlay(block);

	overlay_use(overlay, false);
	rumpel_overlay_free(overlay);
	free(block);
}

static const struct rumpel_block_ops overlay_ops = {
	.read_some = block_overlay_read_some,
	.read = block_overlay_read,
	.write = block_overlay_write,
	.flush = block_overlay_flush,
	.discard = block_overlay_discard,
	.zero = block_overlay_zero,
	.forked = block_overlay_forked,
	.free = block_overlay_free,
};

int rumpel_block_overlay(struct rumpel_overlay *overlay, struct rumpel_device **device)
{
	struct block_overlay *made = calloc(1, sizeof(*made));
	int error;

	if (!made)
		return -ENOMEM;
	error = overlay_use(overlay, true);
	if (!error) {
		error = rumpel_block_init(&made->block, &overlay_ops, overlay->size, false,
					  "rumpel-overlay");
		if (error)
			overlay_use(overlay, false);
	}
	if (error) {
		free(made);
		return error;
	}
	__atomic_add_fetch(&overlay->refs, 1, __ATOMIC_RELAXED);
	made->overlay = overlay;
	*device = &made->block.virtio.device;
	return 0;
}
