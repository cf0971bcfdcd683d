// SPDX-License-Identifier: GPL-2.0-only
/* A file or block device of the host as disk. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "block.h"

#define FILE_ZEROES (64 << 10)

struct block_file {
	struct rumpel_block block;
	int fd;
	/* What the host cannot do is not tried again; under no lock, for any
	 * value of them is right. */
	bool no_read_some, no_write_some;
};

static struct block_file *to_file(struct rumpel_block *block)
{
	return (struct block_file *)block;
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

	if (__atomic_load_n(&file->no_read_some, __ATOMIC_RELAXED))
		return 0;
	return some_result(preadv2(file->fd, iov, count, offset, RWF_NOWAIT), &file->no_read_some);
}

static ssize_t file_write_some(struct rumpel_block *block, const struct iovec *iov, int count,
			       uint64_t offset)
{
	struct block_file *file = to_file(block);

	if (__atomic_load_n(&file->no_write_some, __ATOMIC_RELAXED))
		return 0;
	return some_result(pwritev2(file->fd, iov, count, offset, RWF_NOWAIT),
			   &file->no_write_some);
}

static int file_transfer(struct rumpel_block *block, struct iovec *iov, unsigned int count,
			 uint64_t offset, bool write)
{
	int fd = to_file(block)->fd;

	while (count) {
		ssize_t done =
			write ? pwritev(fd, iov, count, offset) : preadv(fd, iov, count, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		/* Somebody has made the file shorter. */
		if (!done)
			return -EIO;
		offset += done;
		count = rumpel_iov_skip(&iov, count, done);
	}
	return 0;
}

static int file_read(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	return file_transfer(block, iov, count, offset, false);
}

static int file_write(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	return file_transfer(block, iov, count, offset, true);
}

static int file_flush(struct rumpel_block *block)
{
	/* Nothing was written to it. */
	if (block->read_only)
		return 0;
	return fdatasync(to_file(block)->fd) ? -errno : 0;
}

static int file_allocate(struct block_file *file, int mode, uint64_t offset, uint64_t len)
{
	int error;

	do {
		error = fallocate(file->fd, mode | FALLOC_FL_KEEP_SIZE, offset, len);
	} while (error && errno == EINTR);
	return error ? -errno : 0;
}

static int file_discard(struct rumpel_block *block, uint64_t offset, uint64_t len)
{
	int error = file_allocate(to_file(block), FALLOC_FL_PUNCH_HOLE, offset, len);

	/* A discard is a hint: where the host has no holes, nothing is lost. */
	return error == -EOPNOTSUPP ? 0 : error;
}

static int file_zero(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap)
{
	struct iovec iov;
	void *zeroes;
	int error;

	error = file_allocate(to_file(block), unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE,
			      offset, len);
	if (error != -EOPNOTSUPP)
		return error;
	zeroes = calloc(1, FILE_ZEROES);
	if (!zeroes)
		return -ENOMEM;
	for (error = 0; len && !error; offset += FILE_ZEROES) {
		size_t n = len < FILE_ZEROES ? len : FILE_ZEROES;

		iov = (struct iovec){ zeroes, n };
		error = file_transfer(block, &iov, 1, offset, true);
		len -= n;
	}
	free(zeroes);
	return error;
}

static void file_free(struct rumpel_block *block)
{
	struct block_file *file = to_file(block);

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
	.free = file_free,
};

/*
 * Two kernels that write to one file system destroy it. The lock belongs to
 * the open file, so it also holds within a process and goes when it dies.
 */
static int file_lock(int fd, bool read_only)
{
	struct flock lock = {
		.l_type = read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return -EBUSY;
	/* Some network file systems have no locks. */
	return 0;
}

/* Bytes of what is open as fd. */
static int file_size(int fd, uint64_t *size)
{
	struct stat stat;

	if (fstat(fd, &stat))
		return -errno;
	if (S_ISDIR(stat.st_mode))
		return -EISDIR;
	if (S_ISBLK(stat.st_mode))
		return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
	if (!S_ISREG(stat.st_mode))
		return -ENOTBLK;
	*size = stat.st_size;
	return 0;
}

static int file_open(const char *path, bool read_only, int *fd, uint64_t *size)
{
	int error;

	/* Not to wait for the other end of a pipe. */
	*fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return -errno;
	error = file_size(*fd, size);
	if (!error)
		error = file_lock(*fd, read_only);
	if (!error && fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK))
		error = -errno;
	if (error)
		close(*fd);
	return error;
}

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
	error = file_open(path, read_only, &file->fd, &size);
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
