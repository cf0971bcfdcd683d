/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a kernel lies:
 *
 *	arena.c    its addresses: image, guest memory, vmalloc
 *	pages.c    what of it has been written to
 *	mappings.c addresses of callers' mmap
 *	image.c    loads a kernel image
 *
 * Part of core.h, which includes it.
 */
#ifndef RUMPEL_RUNTIME_ARENA_H
#define RUMPEL_RUNTIME_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rumpel/host_ops.h>

struct rumpel_kernel;
struct rumpel_mappings;

#define PAGE 4096ull

/* ---- arena.c: addresses ---- */

struct rumpel_arena {
	char *base; /* of the whole reserved range */
	size_t size;
	char *tasks; /* one page for those that the kernel has from its boot on; or NULL */
	char *image;
	size_t image_size;
	char *memory; /* guest physical address 0 */
	size_t memory_size;
	char *vmalloc; /* aliases: guest memory that is mapped a second time */
	size_t vmalloc_size;
	int memfd; /* pages of guest memory that have had an alias; -1: none has */
	int copy; /* of the memfd, for a child that is about to be; or -1 */
	size_t tables_size; /* of these three together */
	uint64_t *shared; /* a bit for each page of guest memory: lies in the memfd */
	uint32_t *aliases; /* for each page of vmalloc: what is mapped there, or 0 */
	uint16_t *alias_counts; /* in each block of the table */
	size_t alias_end; /* behind all that ever were (shared/) */
};

/*
 * What the kernel's page tables hold (asm/pgtable.h): addresses wrap there, but the core
 * walks a table up and not around. So none of its ranges may cross a multiple of it.
 */
#define TABLES_HOLD (512ull << 30)

/* From `start` on, the first place for a range that crosses none. */
static inline uint64_t rumpel_in_one_table(uint64_t start, uint64_t len)
{
	uint64_t room = -start % TABLES_HOLD;

	return room && room < len ? start + room : start;
}

/*
 * Addresses that nobody else gets: at `at`, if it is not NULL. MAP_FAILED and errno;
 * EEXIST: something is there.
 */
char *rumpel_reserve(char *at, size_t len);
/* Some for a kernel that is to be saved, which are most likely free in other processes, too. */
bool rumpel_addresses_choose(char **arena, char **mappings);
/* at: where it begins, a multiple of 2 MiB; NULL: anywhere. */
int rumpel_arena_create(struct rumpel_arena *arena, size_t image_size, size_t memory_size,
			char *at);
/* Has pages at hand that are about to be written. */
void rumpel_populate(void *start, size_t len);
void rumpel_arena_destroy(struct rumpel_arena *arena);
/* Is [va, va+len) of the vmalloc range? */
bool rumpel_arena_has(const struct rumpel_arena *arena, unsigned long va, unsigned long len);

/* Pages of guest memory that are mapped a second time, one behind the other. */
struct rumpel_alias {
	uint64_t va, pa, len;
	uint32_t prot; /* RUMPEL_PROT_* */
};

/* The first ones from *index on (0: all), which becomes their end. False: there are none. */
bool rumpel_arena_alias(const struct rumpel_arena *arena, size_t *index,
			struct rumpel_alias *alias);
/* Does this page of guest memory lie in the memfd? */
bool rumpel_arena_is_shared(const struct rumpel_arena *arena, size_t page);
/* Token held: calls `found` with what has been written to, until it returns an error. */
typedef int (*rumpel_written_fn)(void *data, uint64_t address, uint64_t len);
int rumpel_arena_written(const struct rumpel_arena *arena, rumpel_written_fn found, void *data);
/* Token held. prot: RUMPEL_PROT_*. Whole pages. */
int rumpel_arena_map(struct rumpel_arena *arena, unsigned long va, unsigned long pa,
		     unsigned long len, int prot);
int rumpel_arena_unmap(struct rumpel_arena *arena, unsigned long va, unsigned long len);
/* Token held, around a fork: after a prepare that failed, the child has no copy. */
int rumpel_arena_fork_prepare(struct rumpel_arena *arena);
void rumpel_arena_fork_parent(struct rumpel_arena *arena);
int rumpel_arena_fork_child(struct rumpel_arena *arena);

/* ---- mappings.c ---- */

/* at: as for an arena */
int rumpel_mappings_create(struct rumpel_mappings **mappings, char *at);
void rumpel_mappings_range(const struct rumpel_mappings *mappings, uint64_t *start, uint64_t *size);
bool rumpel_mappings_has(const struct rumpel_mappings *mappings, uint64_t va, uint64_t len);
/* Guest memory at an address of the range. -ENOMEM: that is too much, unless all is flushed. */
int rumpel_mappings_map(struct rumpel_mappings *mappings, struct rumpel_arena *arena, uint64_t va,
			uint64_t pa, uint64_t len, int prot);
int rumpel_mappings_unmap(struct rumpel_mappings *mappings, uint64_t va, uint64_t len);
/* Nothing is mapped: the next touch of each page is a fault. */
int rumpel_mappings_flush(struct rumpel_mappings *mappings);
/* The kernel goes, and with it what it held. */
void rumpel_mappings_end(struct rumpel_mappings *mappings);
/* Host code touched an address of the range. 0: it may try again; else a signal. */
int rumpel_mappings_fault(struct rumpel_kernel *kernel, uint64_t address, bool write);

/* ---- image.c ---- */

struct rumpel_image_file {
	int fd;
	size_t size; /* of the address range it takes */
	void *headers; /* what was read of the file */
};

/* -ENOEXEC and *why, or what open() says. */
int rumpel_image_open(struct rumpel_image_file *file, const char *path, const char **why);
/* Maps it at arena->image. fresh: and relocates it; else what is written comes from a snapshot. */
int rumpel_image_load(struct rumpel_image_file *file, const struct rumpel_arena *arena, bool fresh,
		      const struct rumpel_image **image, const char **why);
/*
 * Where in the file a page of the image is that nothing but relocation, and a boot, writes to:
 * at so many bytes from its beginning in memory. -1: it is no such.
 */
int64_t rumpel_image_constant(const struct rumpel_image_file *file, uint64_t at);
void rumpel_image_close(struct rumpel_image_file *file);

#endif
