// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual clocks. The thread that waits drives all kernels of the clock, in
 * the order in which they booted; when none of them can run, the clock jumps
 * to the first deadline. Nothing here depends on the host's time.
 */
#include "core.h"

#include <poll.h>

int rumpel_clock_create(uint64_t start_ns, uint64_t epoch_ns, struct rumpel_clock **clock)
{
	struct rumpel_clock *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->now = new->start = start_ns;
	new->epoch = epoch_ns;
	pthread_mutex_init(&new->lock, NULL);
	*clock = new;
	return 0;
}

void rumpel_clock_free(struct rumpel_clock *clock)
{
	if (!clock)
		return;
	pthread_mutex_destroy(&clock->lock);
	free(clock);
}

uint64_t rumpel_clock_now(const struct rumpel_clock *clock)
{
	return atomic_get(&clock->now);
}

void rumpel_clock_join(struct rumpel_clock *clock, struct rumpel_kernel *kernel)
{
	struct rumpel_kernel **at;

	pthread_mutex_lock(&clock->lock);
	kernel->clock = clock;
	kernel->clock_order = ++clock->booted;
	for (at = &clock->kernels; *at;)
		at = &(*at)->clock_next;
	*at = kernel;
	pthread_mutex_unlock(&clock->lock);
}

void rumpel_clock_leave(struct rumpel_kernel *kernel)
{
	struct rumpel_clock *clock = kernel->clock;
	struct rumpel_kernel **at;

	pthread_mutex_lock(&clock->lock);
	for (at = &clock->kernels; *at && *at != kernel;)
		at = &(*at)->clock_next;
	if (*at)
		*at = kernel->clock_next;
	pthread_mutex_unlock(&clock->lock);
}

static void drive(struct rumpel_clock *clock)
{
	pthread_mutex_lock(&clock->lock);
	relaxed_set(&clock->holder, rumpel_tid);
}

static void let_go(struct rumpel_clock *clock)
{
	relaxed_set(&clock->holder, 0);
	pthread_mutex_unlock(&clock->lock);
}

/* Locked. One of its kernels has called this thread. */
static bool is_inside(const struct rumpel_clock *clock)
{
	const struct rumpel_kernel *kernel = clock->kernels;

	while (kernel && !rumpel_token_is_mine(kernel))
		kernel = kernel->clock_next;
	return kernel;
}

/* Locked. Runs what can run now in every kernel. True: something did. */
static bool run_all(struct rumpel_clock *clock, struct rumpel_kernel *mine,
		    const struct rumpel_waiter *waiter)
{
	struct rumpel_kernel *kernel;
	bool ran = false;

	for (kernel = clock->kernels; kernel; kernel = kernel->clock_next) {
		if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
			continue;
		if (kernel != mine)
			rumpel_token_take(kernel);
		if (kernel->watches)
			rumpel_watches_poll(kernel);
		if (rumpel_vcpu_has_work(kernel) || rumpel_next_deadline(kernel) <= clock->now) {
			rumpel_vcpu_run(kernel, kernel == mine && waiter ? waiter->task : NULL);
			ran = true;
		}
		if (kernel != mine)
			rumpel_token_give(kernel);
		if (waiter && rumpel_waiter_ready(mine, waiter))
			break;
	}
	return ran;
}

/* Locked. The first deadline of all kernels. */
static uint64_t next_deadline(const struct rumpel_clock *clock)
{
	const struct rumpel_kernel *kernel;
	uint64_t next = NEVER, deadline;

	for (kernel = clock->kernels; kernel; kernel = kernel->clock_next) {
		if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
			continue;
		deadline = rumpel_next_deadline(kernel);
		if (deadline < next)
			next = deadline;
	}
	return next;
}

static bool has_watches(const struct rumpel_clock *clock)
{
	const struct rumpel_kernel *kernel;

	for (kernel = clock->kernels; kernel; kernel = kernel->clock_next)
		if (kernel->watches)
			return true;
	return false;
}

static int step(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	struct rumpel_clock *clock = kernel->clock;
	uint64_t next;
	int error;

	if (rumpel_waiter_ready(kernel, waiter))
		return 1;
	error = rumpel_kernel_end(kernel);
	if (error)
		return error;
	if (run_all(clock, kernel, waiter))
		return -EAGAIN;
	if (limit != NEVER && rumpel_host_now() >= limit)
		return 0;
	if (waiter->also && poll(waiter->also, waiter->also_count, 0) > 0)
		return 0;
	next = next_deadline(clock);
	if (!waiter->task && waiter->until <= next && waiter->until != NEVER) {
		/* Kernel code that spins may have gone past it. */
		if (waiter->until > clock->now)
			atomic_set(&clock->now, waiter->until);
		return 0;
	}
	if (next != NEVER)
		atomic_set(&clock->now, next);
	else if (waiter->also || has_watches(clock))
		poll(waiter->also, waiter->also_count,
		     1); /* the world outside may have something to say */
	else
		return -EDEADLK;
	return -EAGAIN;
}

int rumpel_virtual_wait(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	struct rumpel_clock *clock = kernel->clock;
	int result;

	/* Another of its kernels has called this thread. */
	if (relaxed_get(&clock->holder) == rumpel_tid)
		return -EDEADLK;
	do {
		/* The order is always the clock first, then tokens. */
		rumpel_token_give(kernel);
		drive(clock);
		rumpel_token_take(kernel);
		result = step(kernel, waiter, limit);
		let_go(clock);
	} while (result == -EAGAIN);
	return result;
}

int rumpel_clock_advance(struct rumpel_clock *clock, uint64_t until_ns)
{
	uint64_t next;
	int error = 0;

	if (!rumpel_tid)
		rumpel_thread_init();
	if (relaxed_get(&clock->holder) == rumpel_tid)
		return -EDEADLK;
	drive(clock);
	if (is_inside(clock))
		error = -EDEADLK;
	else if (until_ns < clock->now)
		error = -EINVAL;
	if (error) {
		let_go(clock);
		return error;
	}
	for (;;) {
		while (run_all(clock, NULL, NULL))
			;
		next = next_deadline(clock);
		if (next > until_ns)
			break;
		atomic_set(&clock->now, next);
	}
	atomic_set(&clock->now, until_ns);
	let_go(clock);
	return 0;
}
