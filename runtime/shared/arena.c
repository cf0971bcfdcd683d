// SPDX-License-Identifier: GPL-2.0-only
/*
 * The arena of a shared kernel: all of it in the memfd, so that an alias is a second
 * mapping and nothing moves.
 *
 * Each process has its own page tables. An alias comes to the others when they touch
 * it; that it went, or shows something else, they learn from a journal, which they look
 * at when they take the token over.
 */
#include "instance.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

#define PROT_BITS 2

int rumpel_arena_create(struct rumpel_arena *arena, size_t image_size, size_t memory_size, char *at)
{
	size_t aliases = SHARED_VMALLOC_SIZE / PAGE * sizeof(*arena->aliases);
	int fds = instance->fds;

	(void)at; /* the same in all processes */
	instance->kernel =
		(struct rumpel_kernel *)((char *)arena - offsetof(struct rumpel_kernel, arena));
	if (image_size > SHARED_MEMORY - SHARED_IMAGE ||
	    memory_size > SHARED_VMALLOC - SHARED_MEMORY)
		return -ENOMEM;
	arena->memfd = fds + RUMPEL_SHARED_FD_MEMORY;
	arena->copy = -1;
	arena->base = arena->image = (char *)SHARED_IMAGE;
	arena->size = SHARED_MAPPINGS - SHARED_IMAGE;
	arena->tasks = instance->tasks;
	arena->image_size = (image_size + PAGE - 1) & ~(PAGE - 1);
	arena->memory = (char *)SHARED_MEMORY;
	arena->memory_size = memory_size;
	arena->vmalloc = (char *)SHARED_VMALLOC;
	arena->vmalloc_size = SHARED_VMALLOC_SIZE;
	/* All zero, as all memory that was never in use. */
	arena->aliases = malloc(aliases);
	if (!arena->aliases)
		return -ENOMEM;
	if (ftruncate(arena->memfd, SHARED_OFFSET(SHARED_MEMORY + memory_size)) < 0)
		return -errno;
	return shared_map_kernel(fds);
}

void rumpel_populate(void *start, size_t len)
{
	madvise(start, len, 23 /* MADV_POPULATE_WRITE */);
}

bool rumpel_addresses_choose(char **arena, char **mappings)
{
	*arena = (char *)SHARED_IMAGE;
	*mappings = (char *)SHARED_MAPPINGS;
	return true;
}

static int written(const struct rumpel_arena *arena, const char *start, size_t len,
		   rumpel_written_fn found, void *data)
{
	off_t first = SHARED_OFFSET(start), end = first + (off_t)len, at = first, hole;
	int error = 0;

	while (!error && at < end) {
		at = bare_syscall(SYS_lseek, arena->memfd, at, SEEK_DATA);
		if (at < 0 || at >= end)
			break;
		hole = bare_syscall(SYS_lseek, arena->memfd, at, SEEK_HOLE);
		if (hole < 0)
			return (int)hole;
		if (hole > end)
			hole = end;
		error = found(data, (uint64_t)start + (uint64_t)(at - first),
			      (uint64_t)(hole - at));
		at = hole;
	}
	return at == -ENXIO ? 0 : error;
}

int rumpel_arena_written(const struct rumpel_arena *arena, rumpel_written_fn found, void *data)
{
	int error = written(arena, arena->image, arena->image_size, found, data);

	return error ? error : written(arena, arena->memory, arena->memory_size, found, data);
}

/* The memory goes with the last process. */
void rumpel_arena_destroy(struct rumpel_arena *arena)
{
	(void)arena;
}

void *rumpel_guest_memory(struct rumpel_kernel *kernel, uint64_t pa, uint64_t len)
{
	const struct rumpel_arena *arena = &kernel->arena;

	if (pa > arena->memory_size || len > arena->memory_size - pa)
		return NULL;
	return arena->memory + pa;
}

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

static int show(const struct rumpel_arena *arena, char *at, uint64_t pa, size_t len, int prot)
{
	return mmap(at, len, host_prot(prot), MAP_SHARED | MAP_FIXED, arena->memfd,
		    SHARED_OFFSET(arena->memory + pa)) == MAP_FAILED
		       ? -errno
		       : 0;
}

static int hide(char *at, size_t len)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	return mmap(at, len, PROT_NONE, flags, -1, 0) == MAP_FAILED ? -errno : 0;
}

/* What was there is not what is there now. */
static void tell(char *start, size_t len)
{
	struct rumpel_space *mine = rumpel_self->process->space;

	instance->journal[instance->journal_end % JOURNAL] = (struct journal_entry){ start, len };
	instance->journal_end++;
	mine->seen = instance->journal_end;
}

void shared_hide_all(void)
{
	hide((char *)SHARED_MAPPINGS, SHARED_MAPPINGS_SIZE);
}

int shared_hide(char *start, size_t len)
{
	int error = hide(start, len);

	tell(start, len);
	return error;
}

void shared_replay(struct rumpel_space *space)
{
	uint64_t end = instance->journal_end;

	/* Too far behind: all is found again when it is touched. */
	if (end - space->seen > JOURNAL) {
		hide((char *)SHARED_VMALLOC, SHARED_VMALLOC_SIZE);
		hide((char *)SHARED_MAPPINGS, SHARED_MAPPINGS_SIZE);
		space->seen = end;
	}
	for (; space->seen != end; space->seen++) {
		const struct journal_entry *entry = &instance->journal[space->seen % JOURNAL];

		hide(entry->start, entry->len);
	}
}

/* The end of what is mapped together with the alias at `index`, from there on. */
static size_t alias_run_end(const struct rumpel_arena *arena, size_t index)
{
	uint32_t first = arena->aliases[index];
	size_t end = index + 1;

	while (end < SHARED_VMALLOC_SIZE / PAGE &&
	       arena->aliases[end] == first + ((uint32_t)(end - index) << PROT_BITS))
		end++;
	return end;
}

int rumpel_arena_map(struct rumpel_arena *arena, unsigned long va, unsigned long pa,
		     unsigned long len, int prot)
{
	size_t index = (va - (unsigned long)arena->vmalloc) / PAGE;
	bool is_alias = rumpel_arena_has(arena, va, len), replaced = false;
	int error;

	if (pa > arena->memory_size || len > arena->memory_size - pa ||
	    (va | pa | len) & (PAGE - 1))
		return -EINVAL;
	error = show(arena, (char *)va, pa, len, prot);
	if (is_alias && index + len / PAGE > arena->alias_end)
		arena->alias_end = index + len / PAGE;
	for (size_t i = 0; is_alias && !error && i < len / PAGE; i++) {
		replaced |= arena->aliases[index + i];
		arena->aliases[index + i] = (uint32_t)(pa / PAGE + i) << PROT_BITS | (uint32_t)prot;
	}
	/* Of callers' mappings what replaces another page was flushed before. */
	if (replaced && !error)
		tell((char *)va, len);
	return error;
}

int rumpel_arena_unmap(struct rumpel_arena *arena, unsigned long va, unsigned long len)
{
	size_t index = (va - (unsigned long)arena->vmalloc) / PAGE;
	bool had = false;
	int error;

	if (!rumpel_arena_has(arena, va, len) || (va | len) & (PAGE - 1))
		return -EINVAL;
	error = hide((char *)va, len);
	if (error)
		return error;
	for (size_t i = 0; i < len / PAGE; i++) {
		had |= arena->aliases[index + i];
		arena->aliases[index + i] = 0;
	}
	if (had)
		tell((char *)va, len);
	return 0;
}

bool rumpel_arena_alias(const struct rumpel_arena *arena, size_t *index, struct rumpel_alias *alias)
{
	size_t first = *index, next;

	while (first < arena->alias_end && !arena->aliases[first])
		first++;
	if (first >= arena->alias_end)
		return false;
	next = alias_run_end(arena, first);
	*alias = (struct rumpel_alias){
		.va = SHARED_VMALLOC + first * PAGE,
		.pa = (uint64_t)(arena->aliases[first] >> PROT_BITS) * PAGE,
		.len = (next - first) * PAGE,
		.prot = arena->aliases[first] & ((1 << PROT_BITS) - 1),
	};
	*index = next;
	return true;
}

bool shared_fault_in(uint64_t address, bool write)
{
	const struct rumpel_arena *arena = &instance->kernel->arena;
	size_t index = (address - SHARED_VMALLOC) / PAGE;
	uint32_t first;

	if (address < SHARED_VMALLOC || address >= SHARED_VMALLOC + SHARED_VMALLOC_SIZE)
		return false;
	first = arena->aliases[index];
	if (!first || (write && !(first & RUMPEL_PROT_WRITE)))
		return false;
	return show(arena, (char *)(address & ~(PAGE - 1)), (first >> PROT_BITS) * PAGE,
		    (alias_run_end(arena, index) - index) * PAGE, first) == 0;
}
