// SPDX-License-Identifier: GPL-2.0-only
/* A disk in memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block.h"

struct block_memory {
	struct rumpel_block block;
	char *data;
	size_t mapped; /* ours, or 0: the caller's */
};

static struct block_memory *to_memory(struct rumpel_block *block)
{
	return (struct block_memory *)block;
}

static int memory_read(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	const char *from = to_memory(block)->data + offset;

	for (; count--; from += iov++->iov_len)
		memcpy(iov->iov_base, from, iov->iov_len);
	return 0;
}

static int memory_write(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset)
{
	char *to = to_memory(block)->data + offset;

	for (; count--; to += iov++->iov_len)
		memcpy(to, iov->iov_base, iov->iov_len);
	return 0;
}

static int memory_flush(struct rumpel_block *block)
{
	(void)block;
	return 0;
}

static int memory_zero(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap)
{
	struct block_memory *memory = to_memory(block);
	uint64_t page = sysconf(_SC_PAGESIZE);
	uint64_t start = (offset + page - 1) & ~(page - 1);
	uint64_t end = (offset + len) & ~(page - 1);

	/* Anonymous pages that are given back read as zeroes. */
	if (unmap && memory->mapped && start < end &&
	    !madvise(memory->data + start, end - start, MADV_DONTNEED)) {
		memset(memory->data + offset, 0, start - offset);
		memset(memory->data + end, 0, offset + len - end);
	} else {
		memset(memory->data + offset, 0, len);
	}
	return 0;
}

static int memory_discard(struct rumpel_block *block, uint64_t offset, uint64_t len)
{
	/* The caller's buffer takes the same room whatever is in it. */
	if (!to_memory(block)->mapped)
		return 0;
	return memory_zero(block, offset, len, true);
}

static int memory_resize(struct rumpel_block *block, uint64_t size)
{
	struct block_memory *memory = to_memory(block);
	void *data;

	if (!memory->mapped)
		return -EOPNOTSUPP;
	data = mremap(memory->data, memory->mapped, size, MREMAP_MAYMOVE);
	if (data == MAP_FAILED)
		return -errno;
	memory->data = data;
	memory->mapped = size;
	return 0;
}

static void memory_free(struct rumpel_block *block)
{
	struct block_memory *memory = to_memory(block);

	if (memory->mapped)
		munmap(memory->data, memory->mapped);
	free(memory);
}

static const struct rumpel_block_ops memory_ops = {
	.instant = true,
	.read = memory_read,
	.write = memory_write,
	.flush = memory_flush,
	.discard = memory_discard,
	.zero = memory_zero,
	.resize = memory_resize,
	.free = memory_free,
};

int rumpel_block_memory(void *data, size_t size, unsigned int flags, struct rumpel_device **device)
{
	struct block_memory *memory;
	int error;

	if (flags & ~RUMPEL_BLOCK_READ_ONLY)
		return -EINVAL;
	memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	error = rumpel_block_init(&memory->block, &memory_ops, size, flags & RUMPEL_BLOCK_READ_ONLY,
				  "rumpel-memory");
	if (error) {
		free(memory);
		return error;
	}
	memory->data = data;
	if (!data) {
		memory->data = mmap(NULL, size, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (memory->data == MAP_FAILED) {
			rumpel_device_free(&memory->block.virtio.device);
			return -ENOMEM;
		}
		memory->mapped = size;
	}
	*device = &memory->block.virtio.device;
	return 0;
}
