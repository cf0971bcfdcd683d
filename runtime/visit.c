// SPDX-License-Identifier: GPL-2.0-only
/*
 * Visits: a thread that has given frames to a neighbour runs that one's kernel itself.
 *
 * Between two kernels of a process there is a cable, and behind each a thread that
 * sleeps. To wake it for some frames takes two system calls and, on another CPU,
 * longer than the frames do: in a chain of kernels that is nearly all of the time.
 * But a kernel is a coroutine, which any thread may run. So whoever has put something
 * on a cable does not wake the neighbour at once, but notes it in his own kernel
 * (rumpel_visit_later). When he lets go of that kernel's token, since his call has
 * ended or he is about to sleep, he runs those that he has noted, and what these have
 * noted meanwhile: a burst of frames walks down the chain, and the answers back, on
 * one thread. There is no recursion, only this thread's list.
 *
 * - A visitor has one token at a time, and only tries to take it. Whoever else has it
 *   sees what there is when he gives it back, as always.
 * - It visits those that nobody calls, and whose housekeeper sleeps as their leader. Where
 *   callers come and go they would wait for each other: these are woken, and both kernels
 *   run at once.
 * - A leader sleeps on, unless it is late for what the visit has brought: an earlier
 *   deadline, other descriptors, work that is left (rumpel_leave_to).
 * - It ends after some time, or when the visitor's own call has ended; who is left on
 *   the list is woken then. So nobody waits for long for a result that is there, and a
 *   kernel that is busy by itself is left to its own thread.
 * - Noted is who can be visited: a kernel that is up and not about to be freed, which
 *   waits for its visitors (rumpel_visits_end).
 *
 * Kernels on a virtual clock have one thread that drives them all, and no visits.
 */
#include "core.h"

#include <sched.h>

void rumpel_visits_begin(struct rumpel_kernel *kernel)
{
	atomic_set(&kernel->visitable, true);
}

void rumpel_visits_end(struct rumpel_kernel *kernel)
{
	atomic_set(&kernel->visitable, false);
	while (atomic_get(&kernel->visitors))
		sched_yield();
}

void rumpel_visits_forked(struct rumpel_kernel *kernel)
{
	kernel->neighbours.count = 0;
	kernel->visitors = 0;
	kernel->visit_until = 0;
}

static void put(struct rumpel_kernel *kernel)
{
	__atomic_fetch_sub(&kernel->visitors, 1, __ATOMIC_SEQ_CST);
}

/* As if there were no visits. */
static void wake(struct rumpel_kernel *kernel)
{
	if (!atomic_get(&kernel->token))
		rumpel_rouse(kernel);
}

static bool has(const struct rumpel_visits *visits, const struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < visits->count; i++)
		if (visits->at[i] == kernel)
			return true;
	return false;
}

bool rumpel_visit_later(struct rumpel_kernel *by, struct rumpel_kernel *kernel)
{
	struct rumpel_visits *visits = &by->neighbours;

	if (has(visits, kernel))
		return true;
	if (visits->count == MOST_VISITS)
		return false;
	/* In this order: rumpel_visits_end() looks at them the other way round. */
	__atomic_fetch_add(&kernel->visitors, 1, __ATOMIC_SEQ_CST);
	if (!atomic_get(&kernel->visitable)) {
		put(kernel);
		return false;
	}
	if (!visits->count)
		visits->rounds = 0;
	visits->at[visits->count++] = kernel;
	return true;
}

void rumpel_visits_hand_over(struct rumpel_visits *visits)
{
	while (visits->count) {
		struct rumpel_kernel *kernel = visits->at[--visits->count];

		wake(kernel);
		put(kernel);
	}
}

void rumpel_visits_take(struct rumpel_kernel *kernel, struct rumpel_visits *visits)
{
	struct rumpel_visits *from = &kernel->neighbours;

	for (unsigned int i = 0; i < from->count; i++) {
		if (has(visits, from->at[i])) {
			put(from->at[i]);
		} else if (visits->count < MOST_VISITS) {
			visits->at[visits->count++] = from->at[i];
		} else {
			wake(from->at[i]);
			put(from->at[i]);
		}
	}
	from->count = 0;
}

/* Still: it may have been called, or woken by somebody else, by now. */
static bool is_alone(struct rumpel_kernel *kernel)
{
	return kernel->leader == &kernel->housekeeper.waiter && atomic_get(&kernel->asleep);
}

static void visit(struct rumpel_kernel *kernel, struct rumpel_visits *visits, uint64_t until)
{
	if (!rumpel_token_try(kernel))
		return;
	if (is_alone(kernel)) {
		kernel->visit_until = until;
		rumpel_vcpu_run(kernel, NULL);
		kernel->visit_until = 0;
	}
	rumpel_leave_to(kernel, false, visits);
}

void rumpel_visit(struct rumpel_visits *visits, const struct rumpel_waiter *waiter, uint64_t spell)
{
	uint64_t until = rumpel_host_now() + spell;
	uint32_t self = rumpel_tid;
	struct rumpel_kernel *kernel;

	while (visits->count && rumpel_host_now() < until &&
	       !(waiter && rumpel_has_ended(waiter))) {
		kernel = visits->at[0];
		memmove(visits->at, visits->at + 1, --visits->count * sizeof(*visits->at));
		visit(kernel, visits, until);
		/* The child of a fork has no visitors: none of these is noted any more. */
		if (rumpel_tid != self)
			return;
		put(kernel);
	}
	rumpel_visits_hand_over(visits);
}
