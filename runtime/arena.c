// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel's addresses: one reserved range with the image, guest memory and
 * the range in which guest memory is mapped a second time (vmalloc).
 */
#include "core.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define VMALLOC_SIZE (4ull << 30)
/* Nothing is mapped between the parts, so that running over an end is a fault. */
#define GAP (64 * PAGE)
/* Parts begin where huge pages could. */
#define ALIGNMENT (2ull << 20)

static size_t align_up(size_t size, size_t alignment)
{
	return (size + alignment - 1) & ~(alignment - 1);
}

void rumpel_populate(void *start, size_t len)
{
	/* One call instead of a fault for each page; older hosts fault. */
	madvise(start, len, MADV_POPULATE_WRITE);
}

int rumpel_arena_create(struct rumpel_arena *arena, size_t image_size, size_t memory_size)
{
	char *at;

	arena->image_size = align_up(image_size, PAGE);
	arena->memory_size = memory_size;
	arena->vmalloc_size = VMALLOC_SIZE;
	arena->size = align_up(arena->image_size + GAP, ALIGNMENT) +
		      align_up(memory_size + GAP, ALIGNMENT) + VMALLOC_SIZE + ALIGNMENT;
	arena->memfd = memfd_create("rumpel", MFD_CLOEXEC);
	if (arena->memfd < 0)
		return -errno;
	if (ftruncate(arena->memfd, memory_size) < 0)
		goto fail;
	arena->base = mmap(NULL, arena->size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena->base == MAP_FAILED)
		goto fail;
	at = (char *)align_up((size_t)arena->base, ALIGNMENT);
	arena->image = at;
	at += align_up(arena->image_size + GAP, ALIGNMENT);
	arena->memory = at;
	at += align_up(memory_size + GAP, ALIGNMENT);
	arena->vmalloc = at;
	if (mmap(arena->memory, memory_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 arena->memfd, 0) != MAP_FAILED) {
		/* The kernel puts its struct pages there at once, and writes to all. */
		size_t pages = align_up(memory_size / PAGE * 64, PAGE);

		rumpel_populate(arena->memory + (memory_size & ~(PAGE - 1)) - pages, pages);
		return 0;
	}
fail:
	rumpel_arena_destroy(arena);
	return -errno;
}

void rumpel_arena_destroy(struct rumpel_arena *arena)
{
	int error = errno;

	if (arena->base && arena->base != MAP_FAILED)
		munmap(arena->base, arena->size);
	if (arena->memfd >= 0)
		close(arena->memfd);
	arena->base = NULL;
	arena->memfd = -1;
	errno = error;
}

bool rumpel_arena_has(const struct rumpel_arena *arena, unsigned long va, unsigned long len)
{
	unsigned long offset = va - (unsigned long)arena->vmalloc;

	return offset < arena->vmalloc_size && len <= arena->vmalloc_size - offset;
}

int rumpel_arena_map(struct rumpel_arena *arena, unsigned long va, unsigned long pa,
		     unsigned long len, int prot)
{
	int host_prot = 0;

	if (pa > arena->memory_size || len > arena->memory_size - pa)
		return -EINVAL;
	if (prot & RUMPEL_PROT_READ)
		host_prot |= PROT_READ;
	if (prot & RUMPEL_PROT_WRITE)
		host_prot |= PROT_WRITE;
	if (mmap((void *)va, len, host_prot, MAP_SHARED | MAP_FIXED, arena->memfd, pa) ==
	    MAP_FAILED)
		return -errno;
	return 0;
}

int rumpel_arena_unmap(struct rumpel_arena *arena, unsigned long va, unsigned long len)
{
	if (!rumpel_arena_has(arena, va, len))
		return -EINVAL;
	/* Back to what was reserved: nobody else may get these addresses. */
	if (mmap((void *)va, len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

void *rumpel_guest_memory(struct rumpel_kernel *kernel, uint64_t pa, uint64_t len)
{
	const struct rumpel_arena *arena = &kernel->arena;

	if (pa > arena->memory_size || len > arena->memory_size - pa)
		return NULL;
	return arena->memory + pa;
}
