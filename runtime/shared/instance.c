// SPDX-License-Identifier: GPL-2.0-only
/* The addresses of a shared kernel, and how a process gets what lies there. */
#include "instance.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* MAP_FIXED_NOREPLACE: a program that is there already stays (Linux 4.17; a hint before). */
#define NEW 0x100000

/*
 * 0 or -errno. Nothing may be there. What all share is not in the core of one of them:
 * it would be several hundred MB, and fill the memory of all as it is written.
 */
static int lay(uint64_t address, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *at = mmap((void *)address, len, prot, flags | NEW, fd, offset);

	if (at == MAP_FAILED)
		return -errno;
	if (at == (void *)address) {
		if (fd >= 0)
			madvise(at, len, MADV_DONTDUMP);
		return 0;
	}
	munmap(at, len);
	return -EEXIST;
}

static int reserve(uint64_t address, size_t len)
{
	return lay(address, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int shared_map_heap(int fd)
{
	return lay(SHARED_HEAP, SHARED_IMAGE - SHARED_HEAP, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
}

int shared_map_kernel(int fds)
{
	const struct rumpel_arena *arena = &instance->kernel->arena;
	int fd = fds + RUMPEL_SHARED_FD_MEMORY, error;

	error = lay((uint64_t)arena->image, arena->image_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    fd, SHARED_OFFSET(arena->image));
	if (!error)
		error = lay((uint64_t)arena->memory, arena->memory_size, PROT_READ | PROT_WRITE,
			    MAP_SHARED, fd, SHARED_OFFSET(arena->memory));
	if (!error)
		error = reserve(SHARED_VMALLOC, SHARED_VMALLOC_SIZE);
	if (!error)
		error = reserve(SHARED_MAPPINGS, SHARED_MAPPINGS_SIZE);
	for (unsigned int i = 0; i < instance->part_count && !error; i++) {
		const struct part *part = &instance->parts[i];

		if (mmap(part->start, part->len, part->prot, MAP_PRIVATE | MAP_FIXED,
			 fds + RUMPEL_SHARED_FD_IMAGE, part->offset) == MAP_FAILED)
			error = -errno;
	}
	return error;
}

bool shared_is_kernel(uint64_t address)
{
	return address >= SHARED_IMAGE && address < SHARED_MAPPINGS;
}

/*
 * Whole pages into the memfd, which has zeroes there, without a fault for each: to read them
 * into its mapping takes twice as long. Behind the file's end the zeroes stay.
 */
static bool copy_in(int memfd, off_t to, size_t len, int fd, off_t offset)
{
	long more = syscall(SYS_lseek, memfd, to, SEEK_SET);

	while (len && more > 0) {
		more = syscall(SYS_sendfile, memfd, fd, &offset, len);
		len -= more > 0 ? (size_t)more : 0;
	}
	return more >= 0;
}

/* The parts that are written to are in the memfd, the others are the file's. */
void *rumpel_image_map(void *at, size_t len, int prot, int fd, off_t offset)
{
	const struct rumpel_arena *arena = &instance->kernel->arena;

	if (!(prot & PROT_WRITE)) {
		if (instance->part_count == MOST_PARTS) {
			errno = ENOEXEC;
			return MAP_FAILED;
		}
		instance->parts[instance->part_count++] = (struct part){ at, len, offset, prot };
		return mmap(at, len, prot, MAP_PRIVATE | MAP_FIXED, fd, offset);
	}
	/* There it is mapped already. */
	return fd < 0 || copy_in(arena->memfd, SHARED_OFFSET(at), len, fd, offset) ? at
										   : MAP_FAILED;
}
