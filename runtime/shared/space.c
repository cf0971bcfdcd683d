// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address spaces of processes, and what they have mapped of the kernel's. For the kernel all
 * of them are one, pid 1's: a range is unmapped there when the last one that has it lets go
 * of it, by munmap(), exec or death.
 */
#include "instance.h"

#include <sys/syscall.h>

struct rumpel_range {
	struct rumpel_range *next;
	uint64_t start, end;
};

struct rumpel_space *shared_space_new(void)
{
	struct rumpel_space *space = calloc(1, sizeof(*space));

	if (!space)
		return NULL;
	space->id = __atomic_fetch_add(&instance->spaces, 1, __ATOMIC_SEQ_CST);
	space->users = 1;
	/* Nothing is mapped there that could be taken away. */
	space->seen = instance->journal_end;
	space->next = instance->first_space;
	__atomic_store_n(&instance->first_space, space, __ATOMIC_RELEASE);
	return space;
}

static void free_ranges(struct rumpel_space *space)
{
	struct rumpel_range *range;

	while ((range = space->ranges)) {
		space->ranges = range->next;
		free(range);
	}
}

void shared_space_put(struct rumpel_space *space)
{
	struct rumpel_space **at = &instance->first_space;

	if (!space || --space->users)
		return;
	while (*at && *at != space)
		at = &(*at)->next;
	if (*at)
		*at = space->next;
	free_ranges(space);
	free(space);
}

/* ---- ranges ---- */

int shared_range_add(struct rumpel_space *space, uint64_t start, uint64_t end)
{
	struct rumpel_range *range = malloc(sizeof(*range));

	if (!range)
		return -ENOMEM;
	*range = (struct rumpel_range){ space->ranges, start, end };
	__atomic_store_n(&space->ranges, range, __ATOMIC_RELEASE);
	return 0;
}

int shared_range_remove(struct rumpel_space *space, uint64_t start, uint64_t end)
{
	struct rumpel_range **at = &space->ranges, *range;

	while ((range = *at)) {
		if (range->end <= start || range->start >= end) {
			at = &range->next;
			continue;
		}
		if (range->start < start && range->end > end &&
		    shared_range_add(space, end, range->end))
			return -ENOMEM;
		if (range->start < start) {
			range->end = start;
		} else if (range->end > end) {
			range->start = end;
		} else {
			/* What was put before it, at the head, is behind `at`. */
			*at = range->next;
			free(range);
		}
	}
	return 0;
}

int shared_range_copy(const struct rumpel_space *from, struct rumpel_space *to)
{
	int error = 0;

	for (const struct rumpel_range *range = from->ranges; range && !error; range = range->next)
		error = shared_range_add(to, range->start, range->end);
	to->low = from->ranges ? SHARED_MAPPINGS : 0;
	to->high = from->ranges ? SHARED_MAPPINGS + SHARED_MAPPINGS_SIZE : 0;
	return error;
}

static const struct rumpel_range *find(const struct rumpel_space *space, uint64_t address)
{
	const struct rumpel_range *range = space->ranges;

	while (range && (address < range->start || address >= range->end))
		range = range->next;
	return range;
}

bool shared_range_has(const struct rumpel_space *space, uint64_t address)
{
	return find(space, address);
}

/* Somebody's range that `at` is in, or the first one behind it, but for one space's; or NULL. */
static const struct rumpel_range *nearest(uint64_t at, const struct rumpel_space *but)
{
	const struct rumpel_range *best = NULL;

	for (const struct rumpel_space *space = instance->first_space; space; space = space->next)
		for (const struct rumpel_range *range = space->ranges; range && space != but;
		     range = range->next)
			if (range->end > at && (!best || range->start < best->start))
				best = range;
	return best;
}

bool shared_range_is_others(const struct rumpel_space *space, uint64_t start, uint64_t end)
{
	const struct rumpel_range *range = nearest(start, space);

	return range && range->start < end;
}

/* The next part of [*start, end) that nobody has: it ends at the result. */
static uint64_t next_free(uint64_t *start, uint64_t end)
{
	const struct rumpel_range *range;

	while ((range = nearest(*start, NULL)) && range->start <= *start && *start < end)
		*start = range->end;
	return range && range->start < end ? range->start : end;
}

static long kernel_unmap(struct rumpel_task *task, uint64_t start, uint64_t end)
{
	const unsigned long args[6] = { start, end - start };

	return task ? rumpel_task_call(task, SYS_munmap, args)
		    : rumpel_agent_call(instance->kernel, SYS_munmap, args);
}

long shared_unmap(struct rumpel_task *task, uint64_t start, uint64_t end)
{
	struct rumpel_kernel *kernel = instance->kernel;
	long result = 0;

	while (start < end && !result) {
		uint64_t stop;

		rumpel_token_take(kernel);
		stop = next_free(&start, end);
		rumpel_leave(kernel, false);
		if (start < stop)
			result = kernel_unmap(task, start, stop);
		start = stop > start ? stop : end;
	}
	return result;
}

/* ---- a space lets go of what it has ---- */

struct piece {
	uint64_t start, end;
	bool last; /* nobody else has any of it: it is to be unmapped */
};

/*
 * Token held. A piece of what the space has in [start, end), all of which somebody else has or
 * nobody, is its own no longer: 1; there is none: 0, or -ENOMEM. Both at once, so that of two that
 * let go one is the last: what the other unmapped might be somebody's again.
 */
static int take_piece(struct rumpel_space *space, uint64_t start, uint64_t end, struct piece *piece)
{
	const struct rumpel_range *range = space->ranges, *other;
	int error;

	while (range && (range->end <= start || range->start >= end))
		range = range->next;
	if (!range)
		return 0;
	piece->start = range->start > start ? range->start : start;
	piece->end = range->end < end ? range->end : end;
	other = nearest(piece->start, space);
	piece->last = !other || other->start > piece->start;
	if (other && piece->last && other->start < piece->end)
		piece->end = other->start;
	else if (!piece->last && other->end < piece->end)
		piece->end = other->end;
	error = shared_range_remove(space, piece->start, piece->end);
	return error ? error : 1;
}

long shared_let_go(struct rumpel_space *space, struct rumpel_task *task, uint64_t start,
		   uint64_t end)
{
	struct rumpel_kernel *kernel = instance->kernel;
	long result;

	do {
		struct piece piece;

		rumpel_token_take(kernel);
		result = take_piece(space, start, end, &piece);
		rumpel_leave(kernel, false);
		if (result <= 0 || !piece.last)
			continue;
		result = kernel_unmap(task, piece.start, piece.end);
		if (!result) {
			result = 1;
			continue;
		}
		rumpel_token_take(kernel);
		shared_range_add(space, piece.start, piece.end);
		rumpel_leave(kernel, false);
	} while (result > 0);
	return result;
}

void shared_space_leave(struct rumpel_space *space, struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct piece piece;
	int left;

	do {
		left = 0;
		rumpel_token_take(kernel);
		if (space && space->users == 1) {
			/* Nobody runs there who could touch anything. */
			space->low = space->high = 0;
			left = take_piece(space, 0, UINT64_MAX, &piece);
		}
		if (left <= 0)
			shared_space_put(space);
		rumpel_leave(kernel, false);
		if (left > 0 && piece.last)
			kernel_unmap(task, piece.start, piece.end);
	} while (left > 0);
}
