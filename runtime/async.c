// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asynchronous calls that have ended, and what an event loop needs to wait for
 * them: a wait that lends the thread, or a descriptor of the host's.
 */
#include "core.h"

#include <poll.h>
#include <unistd.h>

/* A virtual wait comes back so often, for its thread to look for signals. */
#define VIRTUAL_PERIOD (NS_PER_SEC / 10)

void rumpel_done_signal(struct rumpel_kernel *kernel)
{
	if (kernel->done_fd >= 0 && !kernel->done_signalled) {
		kernel->done_signalled = true;
		rumpel_eventfd_signal(kernel->done_fd);
	}
}

static void quiet(struct rumpel_kernel *kernel)
{
	uint64_t signals;
	ssize_t got = 0;

	if (kernel->done_signalled) {
		kernel->done_signalled = false;
		got = read(kernel->done_fd, &signals, sizeof(signals));
	}
	(void)got;
}

/* There are ended calls: tells somebody in rumpel_run, or whoever polls the descriptor. */
static void tell(struct rumpel_kernel *kernel)
{
	struct rumpel_waiter *waiter = kernel->leader;

	if (waiter && (waiter->task || waiter == &kernel->housekeeper.waiter))
		waiter = NULL;
	for (struct rumpel_waiter *at = kernel->followers; at && !waiter; at = at->next)
		if (!at->task)
			waiter = at;
	if (waiter)
		rumpel_wake(kernel, waiter);
	else
		rumpel_done_signal(kernel);
}

void rumpel_done_add(struct rumpel_kernel *kernel, struct rumpel_task *task)
{
	bool first = !kernel->done;

	task->reported = true;
	task->next_done = NULL;
	if (first)
		kernel->done_tail = &kernel->done;
	*kernel->done_tail = task;
	kernel->done_tail = &task->next_done;
	if (first)
		tell(kernel);
}

void rumpel_done_remove(struct rumpel_kernel *kernel, struct rumpel_task *task)
{
	struct rumpel_task **at = &kernel->done;

	while (*at && *at != task)
		at = &(*at)->next_done;
	if (*at)
		*at = task->next_done;
	kernel->done_tail = &kernel->done;
	while (*kernel->done_tail)
		kernel->done_tail = &(*kernel->done_tail)->next_done;
	task->reported = false;
}

bool rumpel_done_any(const struct rumpel_kernel *kernel)
{
	if (!kernel->clock)
		return kernel->done;
	for (kernel = kernel->clock->kernels; kernel; kernel = kernel->clock_next)
		if (kernel->done)
			return true;
	return false;
}

/* Takes the token. */
static int wait_for_any(struct rumpel_kernel *kernel, int64_t timeout_ns, int fd)
{
	struct pollfd also = { fd, POLLIN, 0 };
	struct rumpel_waiter waiter = { .until = NEVER };
	uint64_t limit = rumpel_host_limit(timeout_ns);
	int status;

	if (kernel->clock) {
		if (timeout_ns >= 0)
			waiter.until = kernel->clock->now + timeout_ns;
		limit = rumpel_host_limit(VIRTUAL_PERIOD);
	}
	if (fd >= 0) {
		waiter.also = &also;
		waiter.also_count = 1;
		status = rumpel_eventfd_open(&kernel->eventfd);
		if (status)
			return status;
	}
	status = rumpel_wait(kernel, &waiter, limit);
	rumpel_token_take(kernel);
	return status;
}

int rumpel_run(struct rumpel_kernel *kernel, int64_t timeout_ns, int fd, struct rumpel_task **done,
	       size_t count)
{
	struct rumpel_task *task;
	size_t found = 0;
	int status = rumpel_token_enter(kernel);

	if (status)
		return status;
	if (!kernel->done)
		status = wait_for_any(kernel, timeout_ns, fd);
	for (; found < count && (task = kernel->done); found++) {
		kernel->done = task->next_done;
		task->reported = false;
		done[found] = task;
	}
	if (kernel->done)
		tell(kernel);
	else
		quiet(kernel);
	rumpel_leave(kernel, false);
	return status < 0 && !found ? status : (int)found;
}

int rumpel_kernel_fd(struct rumpel_kernel *kernel)
{
	int status = rumpel_token_enter(kernel);

	if (status)
		return status;
	status = rumpel_eventfd_open(&kernel->done_fd);
	if (!status && kernel->done)
		rumpel_done_signal(kernel);
	rumpel_leave(kernel, false);
	return status ? status : kernel->done_fd;
}

uint64_t rumpel_kernel_deadline(struct rumpel_kernel *kernel)
{
	bool inside = rumpel_token_enter(kernel) < 0;
	uint64_t deadline;

	deadline = rumpel_vcpu_has_work(kernel) ? rumpel_kernel_now(kernel)
						: rumpel_next_deadline(kernel);
	if (!inside)
		rumpel_leave(kernel, false);
	return deadline;
}
