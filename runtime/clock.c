// SPDX-License-Identifier: GPL-2.0-only
/* Time: the host's clocks as hypercalls, and the timers of devices. */
#include "core.h"

#include <time.h>

/* How long a kernel that is never idle goes without a look at its descriptors. */
#define POLL_PERIOD (NS_PER_SEC / 1000)
/* By how much a virtual clock goes on when kernel code spins. */
#define SPIN_STEP 1000

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

uint64_t rumpel_host_now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t rumpel_host_limit(int64_t timeout_ns)
{
	if (timeout_ns <= 0)
		return timeout_ns ? NEVER : 0;
	return rumpel_host_now() + timeout_ns;
}

uint64_t rumpel_kernel_now(struct rumpel_kernel *kernel)
{
	return kernel->clock ? atomic_get(&kernel->clock->now) : rumpel_host_now();
}

bool rumpel_kernel_is_virtual(const struct rumpel_kernel *kernel)
{
	return kernel->clock;
}

uint64_t rumpel_kernel_number(const struct rumpel_kernel *kernel)
{
	return kernel->clock_order;
}

void rumpel_timer_arm(struct rumpel_kernel *kernel, struct rumpel_timer *timer, uint64_t deadline)
{
	struct rumpel_timer **at = &kernel->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->deadline = deadline;
	if (deadline == NEVER)
		return;
	/* In order, those of one time as they were armed. */
	for (at = &kernel->timers; *at && (*at)->deadline <= deadline;)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

/* The kernel's own, on the host's clock. */
static uint64_t own_deadline(const struct rumpel_kernel *kernel)
{
	uint64_t deadline = kernel->vcpu->deadline;

	return deadline == NEVER ? NEVER : deadline - kernel->ahead;
}

uint64_t rumpel_next_deadline(const struct rumpel_kernel *kernel)
{
	uint64_t deadline = own_deadline(kernel);

	if (kernel->timers && kernel->timers->deadline < deadline)
		deadline = kernel->timers->deadline;
	return deadline;
}

void rumpel_expire(struct rumpel_kernel *kernel)
{
	uint64_t now = rumpel_cycles_now(kernel) - kernel->ahead;
	struct rumpel_timer *timer;

	relaxed_set(&kernel->housekeeper.overdue, false);
	if (!kernel->clock && kernel->watches && now - kernel->polled_at > POLL_PERIOD) {
		kernel->polled_at = now;
		rumpel_watches_poll(kernel);
	}
	while ((timer = kernel->timers) && timer->deadline <= now) {
		kernel->timers = timer->next;
		timer->deadline = NEVER;
		timer->fire(timer);
	}
	if (own_deadline(kernel) <= now)
		__atomic_fetch_or(&kernel->vcpu->pending, 1ull << RUMPEL_IRQ_TIMER,
				  __ATOMIC_SEQ_CST);
}

/* ---- hypercalls, on kernel stacks ---- */

static unsigned long long op_clock(void *host)
{
	return rumpel_cycles_look(host);
}

static unsigned long long op_realtime(void *host)
{
	const struct rumpel_clock *clock = ((struct rumpel_kernel *)host)->clock;

	return clock ? clock->epoch + (clock->now - clock->start) : read_clock(CLOCK_REALTIME);
}

static void op_delay(void *host, unsigned long long ns)
{
	struct rumpel_kernel *kernel = host;
	uint64_t end;

	if (kernel->clock) {
		kernel->clock->now += ns ? ns : SPIN_STEP;
	} else if (ns) {
		end = rumpel_host_now() + ns;
		while (rumpel_host_now() < end)
			__builtin_ia32_pause();
	}
	rumpel_lockup_look(kernel);
	if (own_deadline(kernel) <= rumpel_kernel_now(kernel))
		__atomic_fetch_or(&kernel->vcpu->pending, 1ull << RUMPEL_IRQ_TIMER,
				  __ATOMIC_SEQ_CST);
}

void rumpel_clock_ops(struct host_ops *ops)
{
	ops->clock = op_clock;
	ops->realtime = op_realtime;
	ops->delay = op_delay;
}
