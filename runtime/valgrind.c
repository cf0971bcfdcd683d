// SPDX-License-Identifier: GPL-2.0-only
/*
 * valgrind takes a far jump of the stack pointer for a deep frame, and what lies
 * between for its variables, unless it knows the stacks. A kernel's are aligned
 * blocks anywhere in its memory or, the first one, in its data: all such blocks
 * are announced, since which of them are stacks changes all the time.
 */
#include "core.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>

#define STACK_SIZE (4 * PAGE)

static void announce(char *start, size_t size)
{
	for (size_t at = 0; at + STACK_SIZE <= size; at += STACK_SIZE)
		(void)VALGRIND_STACK_REGISTER(start + at, start + at + STACK_SIZE - 1);
	/* A stack that is no more becomes something else, and nobody says so. */
	(void)VALGRIND_DISABLE_ADDR_ERROR_REPORTING_IN_RANGE(start, size);
}

bool rumpel_valgrind_runs(void)
{
	return RUNNING_ON_VALGRIND;
}

void rumpel_valgrind_announce(const struct rumpel_arena *arena)
{
	if (!RUNNING_ON_VALGRIND)
		return;
	announce(arena->image, arena->image_size);
	announce(arena->memory, arena->memory_size);
}

void rumpel_valgrind_forget(const struct rumpel_arena *arena)
{
	if (!RUNNING_ON_VALGRIND || !arena->image)
		return;
	(void)VALGRIND_ENABLE_ADDR_ERROR_REPORTING_IN_RANGE(arena->image, arena->image_size);
	(void)VALGRIND_ENABLE_ADDR_ERROR_REPORTING_IN_RANGE(arena->memory, arena->memory_size);
}
#else
bool rumpel_valgrind_runs(void)
{
	return false;
}

void rumpel_valgrind_announce(const struct rumpel_arena *arena)
{
	(void)arena;
}

void rumpel_valgrind_forget(const struct rumpel_arena *arena)
{
	(void)arena;
}
#endif
