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
#include <sys/random.h>
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
/* Addresses at random, of which most are free. */
#define TRIES 8

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

/* A host before 4.17 takes it for a wish. */
char *rumpel_reserve(char *at, size_t len)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *got = mmap(at, len, PROT_NONE, flags | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

	if (!at || got == MAP_FAILED || got == at)
		return got;
	munmap(got, len);
	errno = EEXIST;
	return MAP_FAILED;
}

int rumpel_arena_create(struct rumpel_arena *arena, size_t image_size, size_t memory_size, char *at)
{

	arena->memfd = arena->copy = -1;
	arena->image_size = align_up(image_size, PAGE);
	arena->memory_size = memory_size;
	arena->vmalloc_size = VMALLOC_SIZE;
	arena->size = align_up(arena->image_size + GAP, ALIGNMENT) +
		      align_up(memory_size + GAP, ALIGNMENT) + 2 * VMALLOC_SIZE + 2 * ALIGNMENT;
	arena->base = rumpel_reserve(at, arena->size);
	if (arena->base == MAP_FAILED || create_tables(arena) < 0)
		goto fail;
	arena->tasks = arena->base;
	at = (char *)align_up((size_t)arena->base + PAGE, ALIGNMENT);
	arena->image = at;
	at += align_up(arena->image_size + GAP, ALIGNMENT);
	arena->memory = at;
	at += align_up(memory_size + GAP, ALIGNMENT);
	arena->vmalloc = (char *)rumpel_in_one_table((size_t)at, VMALLOC_SIZE);
	if (mprotect(arena->memory, memory_size, PROT_READ | PROT_WRITE) == 0 &&
	    mprotect(arena->tasks, PAGE, PROT_READ | PROT_WRITE) == 0)
		return 0;
fail:
	rumpel_arena_destroy(arena);
	return -errno;
}

static bool is_free(char *at, size_t len)
{
	char *got = rumpel_reserve(at, len);

	if (got == MAP_FAILED)
		return false;
	munmap(got, len);
	return true;
}

/*
 * Between where programs lie and where mappings are put, at random: one half of what page
 * tables hold (TABLES_HOLD) for the arena, the other one for callers' mappings.
 */
bool rumpel_addresses_choose(char **arena, char **mappings)
{
	const uint64_t huge = 2ull << 20, first = 40, count = 120, half = TABLES_HOLD / 2;
	uint16_t random[3];
	uint64_t table;

	for (int i = 0; i < TRIES; i++) {
		if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
			return false;
		table = (first + random[0] % count) * TABLES_HOLD;
		*arena = (char *)(table + random[1] * huge);
		*mappings = (char *)(table + half + random[2] * huge);
		if (is_free(*arena, half / 4) && is_free(*mappings, half / 4))
			return true;
	}
	return false;
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

bool rumpel_arena_is_shared(const struct rumpel_arena *arena, size_t page)
{
	return arena->shared[page / 64] >> page % 64 & 1;
}

/* The end of the pages from `page` on that are as that one is. */
static size_t run_end(const struct rumpel_arena *arena, size_t page, size_t end)
{
	bool shared = rumpel_arena_is_shared(arena, page);
	uint64_t same = shared ? ~0ull : 0;

	do {
		page++;
		while (page % 64 == 0 && page < end && arena->shared[page / 64] == same)
			page += 64;
	} while (page < end && rumpel_arena_is_shared(arena, page) == shared);
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
		if (rumpel_arena_is_shared(arena, page))
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

bool rumpel_arena_alias(const struct rumpel_arena *arena, size_t *index, struct rumpel_alias *alias)
{
	size_t end = arena->vmalloc_size / PAGE, first, next;
	uint32_t page;

	for (first = *index; first < end; first = next) {
		next = first + 1;
		/* A table that nobody has written to is not to be touched. */
		if (!arena->alias_counts[first / BLOCK]) {
			next = (first / BLOCK + 1) * BLOCK;
			continue;
		}
		page = arena->aliases[first];
		if (!page)
			continue;
		while (next < end && arena->aliases[next] == page + ((next - first) << PROT_BITS))
			next++;
		*alias = (struct rumpel_alias){
			.va = (uint64_t)arena->vmalloc + first * PAGE,
			.pa = (uint64_t)(page >> PROT_BITS) * PAGE,
			.len = (next - first) * PAGE,
			.prot = page & ((1 << PROT_BITS) - 1),
		};
		*index = next;
		return true;
	}
	return false;
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
		if (rumpel_arena_is_shared(arena, page))
			error = copy_pages(arena, arena->copy, page * PAGE, (next - page) * PAGE);
	}
	return error;
}

void rumpel_arena_fork_parent(struct rumpel_arena *arena)
{
	close_fd(&arena->copy);
}

int rumpel_arena_fork_child(struct rumpel_arena *arena)
{
	size_t end = arena->memory_size / PAGE, page, next, index = 0;
	struct rumpel_alias alias;

	if (arena->memfd < 0)
		return 0;
	close_fd(&arena->memfd);
	arena->memfd = arena->copy;
	arena->copy = -1;
	for (page = 0; page < end; page = next) {
		next = run_end(arena, page, end);
		if (rumpel_arena_is_shared(arena, page) &&
		    map_shared(arena, arena->memory + page * PAGE, page * PAGE,
			       (next - page) * PAGE, PROT_READ | PROT_WRITE) < 0)
			return -errno;
	}
	while (rumpel_arena_alias(arena, &index, &alias))
		if (map_shared(arena, (char *)alias.va, alias.pa, alias.len,
			       host_prot((int)alias.prot)) < 0)
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
