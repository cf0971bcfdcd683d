/* SPDX-License-Identifier: GPL-2.0-only */
/* Files and block devices of the host, as disks or parts of disks use them. */
#ifndef RUMPEL_VIRTIO_FILE_H
#define RUMPEL_VIRTIO_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Opens and locks it: one writer, or any number of readers. -EBUSY: another
 * disk, of any process, uses it otherwise; else what open() says.
 */
int rumpel_file_open(const char *path, bool read_only, int *fd, uint64_t *size);
/* The lock only: of another kind, or for a file that was just made. */
int rumpel_file_lock(int fd, bool read_only);
/* All of it, or an error. `iov` may be changed. */
int rumpel_file_transfer(int fd, struct iovec *iov, unsigned int count, uint64_t offset,
			 bool write);
/* One piece of memory. */
int rumpel_file_read(int fd, void *data, size_t len, uint64_t offset);
int rumpel_file_write(int fd, const void *data, size_t len, uint64_t offset);
/*
 * Where long reads and writes in a row have got to. Any thread, under no lock:
 * what comes of a mix-up is a hint that is none.
 */
struct rumpel_file_hints {
	uint64_t read_next, read_until; /* where the next would begin; how far the host was told */
	uint64_t write_from, write_next; /* what it has not been told to write */
};
/* Before a read: the host's disk works while what it has brought is copied. */
void rumpel_file_will_read(int fd, struct rumpel_file_hints *hints, uint64_t offset, size_t len);
/* After a write: the host's disk need not wait for the flush. */
void rumpel_file_wrote(int fd, struct rumpel_file_hints *hints, uint64_t offset, size_t len);
/* The range need not be kept. */
int rumpel_file_discard(int fd, uint64_t offset, uint64_t len);
/* The range reads as zeroes; with `unmap` it need not take room. */
int rumpel_file_zero(int fd, uint64_t offset, uint64_t len, bool unmap);

#endif
