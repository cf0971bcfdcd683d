// SPDX-License-Identifier: GPL-2.0-only
/*
 * Callers' mappings in a shared kernel: the range is at the same address in each
 * process, and filled as it is touched there. See ../mappings.c.
 */
#include "instance.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* Of one process's 65,530 mappings (vm.max_map_count). */
#define MOST_PIECES 16000

struct rumpel_mappings {
	uint32_t pieces; /* mapped since all was flushed, by any process */
};

int rumpel_mappings_create(struct rumpel_mappings **result, char *at)
{
	(void)at;
	*result = calloc(1, sizeof(**result));
	return *result ? 0 : -ENOMEM;
}

void rumpel_mappings_range(const struct rumpel_mappings *mappings, uint64_t *start, uint64_t *size)
{
	(void)mappings;
	*start = SHARED_MAPPINGS;
	*size = SHARED_MAPPINGS_SIZE;
}

void rumpel_mappings_end(struct rumpel_mappings *mappings)
{
	free(mappings);
}

bool rumpel_mappings_has(const struct rumpel_mappings *mappings, uint64_t va, uint64_t len)
{
	uint64_t offset = va - SHARED_MAPPINGS;

	(void)mappings;
	return offset < SHARED_MAPPINGS_SIZE && len <= SHARED_MAPPINGS_SIZE - offset;
}

int rumpel_mappings_map(struct rumpel_mappings *mappings, struct rumpel_arena *arena, uint64_t va,
			uint64_t pa, uint64_t len, int prot)
{
	struct rumpel_space *space = rumpel_self->process->space;

	if (mappings->pieces == MOST_PIECES)
		return -ENOMEM;
	mappings->pieces++;
	if (space->low >= space->high)
		space->low = va;
	if (va < space->low)
		space->low = va;
	if (va + len > space->high)
		space->high = va + len;
	return rumpel_arena_map(arena, va, pa, len, prot);
}

int rumpel_mappings_unmap(struct rumpel_mappings *mappings, uint64_t va, uint64_t len)
{
	int error = shared_hide((char *)va, len);

	if (len == SHARED_MAPPINGS_SIZE)
		mappings->pieces = 0;
	shared_shoot(va, va + len);
	return error;
}

int rumpel_mappings_fault(struct rumpel_kernel *kernel, uint64_t address, bool write)
{
	struct rumpel_task *task = rumpel_self->task;
	long result;
	bool has;

	/* The runtime's own code, with the token: nobody could serve it. */
	if (!task || rumpel_token_is_mine(kernel))
		return SIGSEGV;
	rumpel_token_take(kernel);
	has = shared_range_has(rumpel_self->process->space, address);
	rumpel_leave(kernel, true);
	if (!has)
		return SIGSEGV;
	result = task_call(task, RUMPEL_CALL_FAULT, address, write);
	if (result == -EFAULT)
		return SIGSEGV;
	return result ? SIGBUS : 0;
}

/* ---- whose they are: space.c ---- */

static uint64_t end_of(uint64_t start, uint64_t len)
{
	return (start + len + PAGE - 1) & ~(PAGE - 1);
}

static bool is_mapping(uint64_t start, uint64_t len)
{
	return !(start & (PAGE - 1)) && rumpel_mappings_has(NULL, start, len);
}

/* [start, end) is no longer this process's, and [new, new_end) is. */
static int exchange(uint64_t start, uint64_t end, uint64_t new, uint64_t new_end)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_space *space = rumpel_self->process->space;
	int error = 0;

	rumpel_token_take(kernel);
	if (start < end)
		error = shared_range_remove(space, start, end);
	if (new < new_end && !error)
		error = shared_range_add(space, new, new_end);
	rumpel_leave(kernel, false);
	return error;
}

/* Another process may have a part of it yet, from before it was forked. */
static long unmap(uint64_t start, uint64_t end)
{
	long result = shared_let_go(rumpel_self->process->space, rumpel_self->task, start, end);

	if (!result &&
	    mmap((void *)start, end - start, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		result = -errno;
	return result;
}

static bool is_others(uint64_t start, uint64_t len)
{
	struct rumpel_kernel *kernel = instance->kernel;
	bool is;

	rumpel_token_take(kernel);
	is = shared_range_is_others(rumpel_self->process->space, start, end_of(start, len));
	rumpel_leave(kernel, false);
	return is;
}

/*
 * Would a call replace or move what another process has too, from before a fork? For the kernel
 * both have the same, which would be taken away from the other.
 */
static bool takes_from_others(long nr, const unsigned long args[6])
{
	if (nr == SYS_mmap)
		return (args[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_FIXED &&
		       is_others(args[0], args[1]);
	return nr == SYS_mremap && (is_others(args[0], args[1]) ||
				    ((args[3] & MREMAP_FIXED) && is_others(args[4], args[2])));
}

long shared_mappings_call(long nr, const unsigned long args[6])
{
	uint64_t start = args[0], len = args[1], end = end_of(start, len);
	long result;
	int error;

	if (nr == SYS_munmap && is_mapping(start, len) && len)
		return unmap(start, end);
	if (takes_from_others(nr, args))
		return -ENOMEM;
	result = shared_call_any(nr, args);
	if (result < 0 || nr == SYS_munmap)
		return result;
	if (nr == SYS_mmap)
		error = exchange(result, end_of(result, len), result, end_of(result, len));
	else
		error = exchange(start, end, result, end_of(result, args[2]));
	if (!error)
		return result;
	/* It is nobody's: there was no memory to say whose. */
	shared_unmap(rumpel_self->task, result, end_of(result, nr == SYS_mmap ? len : args[2]));
	return error;
}
