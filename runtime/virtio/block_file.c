// SPDX-License-Identifier: GPL-2.0-only
/* A file or block device of the host as disk. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "block.h"
#include "file.h"

struct block_file {
	struct rumpel_block block;
	int fd;
	/* What the host cannot do is not tried again; under no lock, for any
	 * value of them is right. */
	bool no_read_some, no_write_some;
	struct rumpel_file_hints hints;
};

static struct block_file *to_file(struct rumpel_block *block)
{
	return (struct block_file *)block;
}

static size_t length(const struct iovec *iov, int count)
{
	size_t len = 0;

	while (count--)
		len += iov++->iov_len;
	return len;
}

/* Takes as much as is in the host's page cache. */
static ssize_t some_result(ssize_t done, bool *never)
{
	if (done >= 0)
		return done;
	if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)
		__atomic_store_n(never, true, __ATOMIC_RELAXED);
	/* Real errors come again where the request is done in full. */
	return 0;
}

static ssize_t file_read_some(struct rumpel_block *block, const struct iovec *iov, int count,
			      uint64_t offset)
{
	struct block_file *file = to_file(block);

	rumpel_file_will_read(file->fd, &file->hints, offset, length(iov, count));
	if (__atomic_load_n(&file->no_read_some, __ATOMIC_RELAXED))
		return 0;
	return some_result(preadv2(file->fd, iov, count, offset, RWF_NOWAIT), &file->no_read_some);
}

static ssize_t file_write_some(struct rumpel_block *block, const struct iovec *iov, int count,
			       uint64_t offset)
{
	struct block_file *file = to_file(block);

	ssize_t done;

	if (__atomic_load_n(&file->no_write_some, __ATOMIC_RELAXED))
		return 0;
	done = some_result(pwritev2(file->fd, iov, count, offset, RWF_NOWAIT),
			   &file->no_write_some);
	if (done > 0)
		rumpel_file_wrote(file->fd, &file->hints, offset, done);
	return done;
}

static int file_read(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	return rumpel_file_transfer(to_file(block)->fd, iov, count, offset, false);
}

static int file_write(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	struct block_file *file = to_file(block);
	size_t len = length(iov, count);
	int error = rumpel_file_transfer(file->fd, iov, count, offset, true);

	if (!error)
		rumpel_file_wrote(file->fd, &file->hints, offset, len);
	return error;
}

static int file_flush(struct rumpel_block *block)
{
	/* Nothing was written to it. */
	if (block->read_only)
		return 0;
	return fdatasync(to_file(block)->fd) ? -errno : 0;
}

static int file_discard(struct rumpel_block *block, uint64_t offset, uint64_t len)
{
	return rumpel_file_discard(to_file(block)->fd, offset, len);
}

static int file_zero(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap)
{
	return rumpel_file_zero(to_file(block)->fd, offset, len, unmap);
}

static int file_resize(struct rumpel_block *block, uint64_t size)
{
	struct stat stat;

	if (fstat(to_file(block)->fd, &stat))
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return -EOPNOTSUPP;
	return ftruncate(to_file(block)->fd, (off_t)size) ? -errno : 0;
}

/* Two kernels must not write to one file; and its lock is the parent's. */
static bool file_forked(struct rumpel_block *block)
{
	struct block_file *file = to_file(block);

	if (block->read_only)
		return true;
	close(file->fd);
	file->fd = -1;
	return false;
}

static void file_free(struct rumpel_block *block)
{
	struct block_file *file = to_file(block);

	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

static const struct rumpel_block_ops file_ops = {
	.read_some = file_read_some,
	.write_some = file_write_some,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.resize = file_resize,
	.forked = file_forked,
	.free = file_free,
};

int rumpel_block_file(const char *path, unsigned int flags, struct rumpel_device **device)
{
	bool read_only = flags & RUMPEL_BLOCK_READ_ONLY;
	const char *name = strrchr(path, '/');
	struct block_file *file;
	uint64_t size = 0;
	int error;

	if (flags & ~RUMPEL_BLOCK_READ_ONLY)
		return -EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	error = rumpel_file_open(path, read_only, &file->fd, &size);
	if (error) {
		free(file);
		return error;
	}
	error = rumpel_block_init(&file->block, &file_ops, size, read_only, name ? name + 1 : path);
	if (error) {
		close(file->fd);
		free(file);
		return error;
	}
	*device = &file->block.virtio.device;
	return 0;
}
