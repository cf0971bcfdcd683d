// SPDX-License-Identifier: GPL-2.0-only
/* Files and block devices of the host. */
#define _GNU_SOURCE
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue.h"

#define FILE_ZEROES (64 << 10)
#define FILE_LONG (64 << 10) /* what is shorter is no part of a long transfer */
#define FILE_AHEAD (4 << 20)
#define FILE_BEHIND (8 << 20)

/*
 * Two kernels that write to one file system destroy it. The lock belongs to
 * the open file, so it also holds within a process and goes when it dies.
 */
int rumpel_file_lock(int fd, bool read_only)
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

int rumpel_file_open(const char *path, bool read_only, int *fd, uint64_t *size)
{
	int error;

	/* Not to wait for the other end of a pipe. */
	*fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return -errno;
	error = file_size(*fd, size);
	if (!error)
		error = rumpel_file_lock(*fd, read_only);
	if (!error && fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) & ~O_NONBLOCK))
		error = -errno;
	if (error)
		close(*fd);
	return error;
}

int rumpel_file_transfer(int fd, struct iovec *iov, unsigned int count, uint64_t offset, bool write)
{
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

int rumpel_file_read(int fd, void *data, size_t len, uint64_t offset)
{
	struct iovec iov = { data, len };

	return rumpel_file_transfer(fd, &iov, len ? 1 : 0, offset, false);
}

int rumpel_file_write(int fd, const void *data, size_t len, uint64_t offset)
{
	struct iovec iov = { (void *)data, len };

	return rumpel_file_transfer(fd, &iov, len ? 1 : 0, offset, true);
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t len)
{
	int error;

	do {
		error = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, offset, len);
	} while (error && errno == EINTR);
	return error ? -errno : 0;
}

int rumpel_file_discard(int fd, uint64_t offset, uint64_t len)
{
	int error = allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, len);

	/* A discard is a hint: where the host has no holes, nothing is lost. */
	return error == -EOPNOTSUPP ? 0 : error;
}

int rumpel_file_zero(int fd, uint64_t offset, uint64_t len, bool unmap)
{
	void *zeroes;
	int error;

	error = allocate(fd, unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE, offset, len);
	if (error != -EOPNOTSUPP)
		return error;
	zeroes = calloc(1, FILE_ZEROES);
	if (!zeroes)
		return -ENOMEM;
	for (error = 0; len && !error; offset += FILE_ZEROES) {
		size_t n = len < FILE_ZEROES ? len : FILE_ZEROES;

		error = rumpel_file_write(fd, zeroes, n, offset);
		len -= n;
	}
	free(zeroes);
	return error;
}

static uint64_t get(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void set(uint64_t *value, uint64_t to)
{
	__atomic_store_n(value, to, __ATOMIC_RELAXED);
}

void rumpel_file_will_read(int fd, struct rumpel_file_hints *hints, uint64_t offset, size_t len)
{
	bool goes_on = offset == get(&hints->read_next);
	uint64_t end = offset + len, from = get(&hints->read_until);

	if (len < FILE_LONG)
		return;
	set(&hints->read_next, end);
	if (!goes_on || from < end || from > end + FILE_AHEAD)
		from = end;
	else if (from > end + FILE_AHEAD / 2)
		return;
	if (goes_on)
		posix_fadvise(fd, from, end + FILE_AHEAD - from, POSIX_FADV_WILLNEED);
	set(&hints->read_until, goes_on ? end + FILE_AHEAD : end);
}

void rumpel_file_wrote(int fd, struct rumpel_file_hints *hints, uint64_t offset, size_t len)
{
	uint64_t from = get(&hints->write_from);

	if (len < FILE_LONG)
		return;
	if (offset != get(&hints->write_next))
		from = offset;
	set(&hints->write_next, offset + len);
	if (offset + len - from >= FILE_BEHIND) {
		/* No error is lost: a flush tells of it. */
		sync_file_range(fd, from, offset + len - from, SYNC_FILE_RANGE_WRITE);
		from = offset + len;
	}
	set(&hints->write_from, from);
}
