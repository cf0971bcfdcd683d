// SPDX-License-Identifier: GPL-2.0-only
/*
 * The virtual CPU: lends the calling thread to the kernel, and does what the
 * kernel came back for. All of it with the token, none of it waiting.
 */
#include "core.h"

#include <sched.h>

/* Interrupts that a kernel takes before those are woken that it has sent something to. */
#define MOST_ROUNDS 4

bool rumpel_vcpu_has_work(struct rumpel_kernel *kernel)
{
	return kernel->runnable || atomic_get(&kernel->vcpu->pending) ||
	       atomic_get(&kernel->vcpu->notified);
}

static void ended(struct rumpel_kernel *kernel, enum rumpel_state state)
{
	atomic_set(&kernel->state, state);
	kernel->runnable = false;
	rumpel_wake_all(kernel);
}

/* A kernel that spins waits for a device, for time, or for another thread. */
static void relax(struct rumpel_kernel *kernel)
{
	rumpel_devices_serve(kernel);
	rumpel_expire(kernel);
	if (atomic_get(&kernel->jobs.queued))
		rumpel_jobs_delegate(&kernel->jobs);
	if (!kernel->clock && !atomic_get(&kernel->vcpu->pending))
		sched_yield();
}

/*
 * Whoever submits an asynchronous call goes on when another one has ended: what
 * is left is for the next who comes, unless somebody would be woken for it.
 */
static bool is_enough(const struct rumpel_kernel *kernel, const struct rumpel_task *until)
{
	if (until->state != TASK_BUSY)
		return true;
	return until->async && kernel->done &&
	       (!kernel->leader || kernel->leader == &kernel->housekeeper.waiter);
}

/* Something was sent to neighbours. They wait for an interrupt or two, but not for tasks. */
static void neighbours_wait(struct rumpel_kernel *kernel)
{
	if (kernel->runnable || ++kernel->neighbours.rounds > MOST_ROUNDS)
		rumpel_visits_hand_over(&kernel->neighbours);
}

/* What is left is for the kernel's own threads. */
static bool visit_is_over(const struct rumpel_kernel *kernel, unsigned int exit)
{
	return exit == RUMPEL_EXIT_RELAX || rumpel_host_now() >= kernel->visit_until;
}

void rumpel_vcpu_handle(struct rumpel_kernel *kernel, unsigned int exit,
			const struct rumpel_task *until)
{
	struct rumpel_vcpu *vcpu = kernel->vcpu;

	for (;;) {
		relaxed_set(&kernel->where, WHERE_LEFT);
		if (unlikely(kernel->log.fd >= 0))
			rumpel_log_copy(&kernel->log);
		switch (exit) {
		case RUMPEL_EXIT_DONE:
			kernel->runnable = vcpu->more;
			relaxed_set(&kernel->progress, true);
			rumpel_task_ended(kernel, vcpu->done);
			break;
		case RUMPEL_EXIT_IDLE:
			kernel->runnable = false;
			break;
		case RUMPEL_EXIT_RELAX:
			kernel->runnable = true;
			relax(kernel);
			if (likely(!rumpel_lockup_found(kernel)))
				break;
			ended(kernel, RUMPEL_PANICKED);
			return;
		case RUMPEL_EXIT_HALT:
			ended(kernel, RUMPEL_HALTED);
			return;
		default:
			ended(kernel, RUMPEL_PANICKED);
			return;
		}
		relaxed_set(&kernel->where, WHERE_HOST);
		/* One that spins has not taken up the request yet: nobody may come with another. */
		if (until && exit != RUMPEL_EXIT_RELAX && is_enough(kernel, until))
			return;
		rumpel_devices_serve(kernel);
		rumpel_expire(kernel);
		if (!kernel->runnable && !atomic_get(&vcpu->pending))
			return;
		if (unlikely(kernel->neighbours.count))
			neighbours_wait(kernel);
		if (unlikely(kernel->visit_until) && visit_is_over(kernel, exit))
			return;
		/* A device's function may have forked: there is no copy here to go on with. */
		if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
			return;
		exit = rumpel_enter(kernel);
	}
}

void rumpel_vcpu_run(struct rumpel_kernel *kernel, const struct rumpel_task *until)
{
	rumpel_devices_serve(kernel);
	rumpel_expire(kernel);
	if ((kernel->runnable || atomic_get(&kernel->vcpu->pending)) &&
	    atomic_get(&kernel->state) == RUMPEL_RUNNING)
		rumpel_vcpu_handle(kernel, rumpel_enter(kernel), until);
}

int rumpel_kernel_error(const struct rumpel_kernel *kernel)
{
	int error = rumpel_kernel_end(kernel);

	return error || !kernel->halting ? error : -ESHUTDOWN;
}

int rumpel_kernel_end(const struct rumpel_kernel *kernel)
{
	switch (atomic_get(&kernel->state)) {
	case RUMPEL_RUNNING:
		return 0;
	case RUMPEL_HALTED:
		return -ESHUTDOWN;
	case RUMPEL_FORKED:
		return -EOWNERDEAD;
	}
	return -ENOTRECOVERABLE;
}
