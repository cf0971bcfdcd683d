// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel's addresses: one reserved range with the image, guest memory and
 * the range in which guest memory is mapped a second time (vmalloc): aliases.
 *
 * Guest memory is private, so that a fork copies it, and costs nothing before
 * somebody writes. A page that gets an alias moves into a memfd for good, since
 * private memory can be mapped only once. There are few of them: what a fork
 * has to copy at once, and map again in the child.
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
/* Aliases are counted in blocks, so that they are found fast. */
#define BLOCK 512
/* An alias in the table: the guest page's number, and its protection. */
#define PROT_BITS 2

static size_t align_up(size_t size, size_t alignment)
{
	return (size + alignment - 1) & ~(alignment - 1);
}

void rumpel_populate(void *start, size_t len)
{
	/* One call instead of a fault for each page; older hosts fault. */
	madvise(start, len, MADV_POPULATE_WRITE);
}

/* All zero, and as large as they can ever get: only what is used takes memory. */
static int create_tables(struct rumpel_arena *arena)
{
	size_t shared = align_up(arena->memory_size / PAGE, 64) / 8;
	size_t aliases = arena->vmalloc_size / PAGE * sizeof(*arena->aliases);
	size_t counts = arena->vmalloc_size / PAGE / BLOCK * sizeof(*arena->alias_counts);
	char *at;

	arena->tables_size = align_up(aliases + shared + counts, PAGE);
	at = mmap(NULL, arena->tables_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	arena->shared = (uint64_t *)at;
	arena->aliases = (uint32_t *)(at + shared);
	arena->alias_counts = (uint16_t *)(at + shared + aliases);
	return 0;
}

int rumpel_arena_create(struct rumpel_arena *arena, size_t image_size, size_t memory_size)
{
	/* The kernel puts its struct pages at the end at once, and writes to all. */
	size_t pages = align_up(memory_size / PAGE * 64, PAGE);
	char *at;

	arena->memfd = arena->copy = -1;
	arena->image_size = align_up(image_size, PAGE);
	arena->memory_size = memory_size;
	arena->vmalloc_size = VMALLOC_SIZE;
	arena->size = align_up(arena->image_size + GAP, ALIGNMENT) +
		      align_up(memory_size + GAP, ALIGNMENT) + 2 * VMALLOC_SIZE + ALIGNMENT;
	arena->base = mmap(NULL, arena->size, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena->base == MAP_FAILED || create_tables(arena) < 0)
		goto fail;
	at = (char *)align_up((size_t)arena->base, ALIGNMENT);
	arena->image = at;
	at += align_up(arena->image_size + GAP, ALIGNMENT);
	arena->memory = at;
	at += align_up(memory_size + GAP, ALIGNMENT);
	arena->vmalloc = (char *)rumpel_in_one_table((size_t)at, VMALLOC_SIZE);
	if (mprotect(arena->memory, memory_size, PROT_READ | PROT_WRITE) < 0)
		goto fail;
	rumpel_populate(arena->memory + memory_size - pages, pages);
	return 0;
fail:
	rumpel_arena_destroy(arena);
	return -errno;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void rumpel_arena_destroy(struct rumpel_arena *arena)
{
	int error = errno;

	if (arena->base && arena->base != MAP_FAILED)
		munmap(arena->base, arena->size);
	if (arena->shared)
		munmap(arena->shared, arena->tables_size);
	close_fd(&arena->memfd);
	close_fd(&arena->copy);
	arena->base = NULL;
	arena->shared = NULL;
	errno = error;
}

/* ---- pages of guest memory that lie in the memfd ---- */

static bool is_shared(const struct rumpel_arena *arena, size_t page)
{
	return arena->shared[page / 64] >> page % 64 & 1;
}

/* The end of the pages from `page` on that are as that one is. */
static size_t run_end(const struct rumpel_arena *arena, size_t page, size_t end)
{
	bool shared = is_shared(arena, page);
	uint64_t same = shared ? ~0ull : 0;

	do {
		page++;
		while (page % 64 == 0 && page < end && arena->shared[page / 64] == same)
			page += 64;
	} while (page < end && is_shared(arena, page) == shared);
	return page < end ? page : end;
}

static int make_memfd(const struct rumpel_arena *arena)
{
	int fd = memfd_create("rumpel", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, arena->memory_size) == 0)
		return fd < 0 ? -errno : fd;
	close(fd);
	return -ENOMEM;
}

/* The same content at the same place of a memfd. */
static int copy_pages(const struct rumpel_arena *arena, int fd, size_t offset, size_t len)
{
	while (len) {
		ssize_t done = pwrite(fd, arena->memory + offset, len, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		offset += done;
		len -= done;
	}
	return 0;
}

static int map_shared(const struct rumpel_arena *arena, char *at, size_t offset, size_t len,
		      int prot)
{
	return mmap(at, len, prot, MAP_SHARED | MAP_FIXED, arena->memfd, offset) == MAP_FAILED
		       ? -errno
		       : 0;
}

/*
 * Moves pages into the memfd. Whoever reads them meanwhile, in any thread, finds
 * either the old ones or the new, which are alike; the kernel, which could write
 * to them, is stopped. No device is writing to them either: whoever maps pages
 * of Linux a second time has to keep input and output apart from that
 * (Documentation/core-api/cachetlb.rst, flush_kernel_vmap_range), and maps what
 * he has just allocated, locked, or has completely read.
 */
static int share(struct rumpel_arena *arena, size_t page, size_t end)
{
	int error = 0;
	size_t next;

	if (arena->memfd < 0)
		arena->memfd = make_memfd(arena);
	if (arena->memfd < 0)
		return arena->memfd;
	for (; page < end && !error; page = next) {
		size_t offset = page * PAGE, len;

		next = run_end(arena, page, end);
		if (is_shared(arena, page))
			continue;
		len = (next - page) * PAGE;
		error = copy_pages(arena, arena->memfd, offset, len);
		if (!error)
			error = map_shared(arena, arena->memory + offset, offset, len,
					   PROT_READ | PROT_WRITE);
		for (; page < next && !error; page++)
			arena->shared[page / 64] |= 1ull << page % 64;
	}
	return error;
}

/* ---- aliases ---- */

bool rumpel_arena_has(const struct rumpel_arena *arena, unsigned long va, unsigned long len)
{
	unsigned long offset = va - (unsigned long)arena->vmalloc;

	return offset < arena->vmalloc_size && len <= arena->vmalloc_size - offset;
}

static int host_prot(int prot)
{
	return (prot & RUMPEL_PROT_READ ? PROT_READ : 0) |
	       (prot & RUMPEL_PROT_WRITE ? PROT_WRITE : 0);
}

static void set_alias(struct rumpel_arena *arena, size_t index, uint32_t alias)
{
	arena->alias_counts[index / BLOCK] += !!alias - !!arena->aliases[index];
	arena->aliases[index] = alias;
}

int rumpel_arena_map(struct rumpel_arena *arena, unsigned long va, unsigned long pa,
		     unsigned long len, int prot)
{
	size_t index = (va - (unsigned long)arena->vmalloc) / PAGE;
	bool is_alias = rumpel_arena_has(arena, va, len);
	int error;

	if (pa > arena->memory_size || len > arena->memory_size - pa ||
	    (va | pa | len) & (PAGE - 1))
		return -EINVAL;
	error = share(arena, pa / PAGE, (pa + len) / PAGE);
	if (!error)
		error = map_shared(arena, (char *)va, pa, len, host_prot(prot));
	/* The child of a fork maps these again; callers' mappings come as they are touched. */
	for (size_t page = pa / PAGE; is_alias && !error && len; len -= PAGE, page++)
		set_alias(arena, index++, page << PROT_BITS | prot);
	return error;
}

int rumpel_arena_unmap(struct rumpel_arena *arena, unsigned long va, unsigned long len)
{
	size_t index = (va - (unsigned long)arena->vmalloc) / PAGE, end = index + len / PAGE;

	if (!rumpel_arena_has(arena, va, len) || (va | len) & (PAGE - 1))
		return -EINVAL;
	/* Back to what was reserved: nobody else may get these addresses. */
	if (mmap((void *)va, len, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	while (index < end) {
		if (!arena->alias_counts[index / BLOCK])
			index = (index / BLOCK + 1) * BLOCK;
		else
			set_alias(arena, index++, 0);
	}
	return 0;
}

/* ---- fork ---- */

int rumpel_arena_fork_prepare(struct rumpel_arena *arena)
{
	size_t end = arena->memory_size / PAGE, page, next;
	int error = 0;

	if (arena->memfd < 0)
		return 0;
	arena->copy = make_memfd(arena);
	if (arena->copy < 0)
		return arena->copy;
	for (page = 0; page < end && !error; page = next) {
		next = run_end(arena, page, end);
		if (is_shared(arena, page))
			error = copy_pages(arena, arena->copy, page * PAGE, (next - page) * PAGE);
	}
	return error;
}

void rumpel_arena_fork_parent(struct rumpel_arena *arena)
{
	close_fd(&arena->copy);
}

/* Maps what lies together at once, from `index` on. The end of it, or 0 and errno. */
static size_t map_aliases(struct rumpel_arena *arena, size_t index, size_t end)
{
	uint32_t first = arena->aliases[index];
	size_t next = index + 1;

	while (next < end && arena->aliases[next] == first + ((next - index) << PROT_BITS))
		next++;
	if (map_shared(arena, arena->vmalloc + index * PAGE, (first >> PROT_BITS) * PAGE,
		       (next - index) * PAGE, host_prot(first)) < 0)
		return 0;
	return next;
}

int rumpel_arena_fork_child(struct rumpel_arena *arena)
{
	size_t end = arena->memory_size / PAGE, page, next, index;

	if (arena->memfd < 0)
		return 0;
	close_fd(&arena->memfd);
	arena->memfd = arena->copy;
	arena->copy = -1;
	for (page = 0; page < end; page = next) {
		next = run_end(arena, page, end);
		if (is_shared(arena, page) &&
		    map_shared(arena, arena->memory + page * PAGE, page * PAGE,
			       (next - page) * PAGE, PROT_READ | PROT_WRITE) < 0)
			return -errno;
	}
	end = arena->vmalloc_size / PAGE;
	for (index = 0; index < end; index = next) {
		next = index + 1;
		if (!arena->alias_counts[index / BLOCK])
			next = (index / BLOCK + 1) * BLOCK;
		else if (arena->aliases[index])
			next = map_aliases(arena, index, end);
		if (!next)
			return -errno;
	}
	return 0;
}

void *rumpel_guest_memory(struct rumpel_kernel *kernel, uint64_t pa, uint64_t len)
{
	const struct rumpel_arena *arena = &kernel->arena;

	if (pa > arena->memory_size || len > arena->memory_size - pa)
		return NULL;
	return arena->memory + pa;
}
