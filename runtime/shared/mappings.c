// SPDX-License-Identifier: GPL-2.0-only
/*
 * Callers' mappings in a shared kernel: the range is at the same address in each
 * process, and filled as it is touched there. See ../mappings.c.
 */
#include "instance.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

/* Of one process's 65,530 mappings (vm.max_map_count). */
#define MOST_PIECES 16000

struct rumpel_mappings {
	uint32_t pieces; /* mapped since all was flushed, by any process */
};

int rumpel_mappings_create(struct rumpel_mappings **result)
{
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
	if (mappings->pieces == MOST_PIECES)
		return -ENOMEM;
	mappings->pieces++;
	return rumpel_arena_map(arena, va, pa, len, prot);
}

int rumpel_mappings_unmap(struct rumpel_mappings *mappings, uint64_t va, uint64_t len)
{
	if (len == SHARED_MAPPINGS_SIZE)
		mappings->pieces = 0;
	return shared_hide((char *)va, len);
}

int rumpel_mappings_fault(struct rumpel_kernel *kernel, uint64_t address, bool write)
{
	struct rumpel_task *task = rumpel_self->task;
	long result;

	/* The runtime's own code, with the token: nobody could serve it. */
	if (!task || rumpel_token_is_mine(kernel))
		return SIGSEGV;
	result = task_call(task, RUMPEL_CALL_FAULT, address, write);
	if (result == -EFAULT)
		return SIGSEGV;
	return result ? SIGBUS : 0;
}
