// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has died, and whether the kernel can go on without. One that was killed in kernel
 * code takes the kernel along: what it was in the middle of nobody knows. One that had
 * the token without being there leaves what the runtime was about to do, which is done
 * again.
 */
#include "instance.h"

#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

/* About a second. */
#define LOOK_CYCLES (1ull << 31)

static bool is_keeper(void)
{
	return rumpel_self->process == instance->processes;
}

bool shared_is_dead(uint32_t tid)
{
	const struct rumpel_process *process = shared_tid_process(tid);

	return !process || process_state(process) == PROCESS_GONE;
}

bool shared_is_over(int pidfd)
{
	struct pollfd polled = { pidfd, POLLIN, 0 };

	return poll(&polled, 1, 0) > 0 && (polled.revents & POLLIN);
}

/* Also of one that the keeper does not watch yet. */
static bool is_gone(const struct rumpel_process *process)
{
	int fd, pid = process_pid(process);
	bool gone;

	if (is_keeper() && process->pidfd)
		return shared_is_over(process->pidfd);
	fd = pid ? (int)bare_syscall(SYS_pidfd_open, pid, 0) : -EINVAL;
	gone = fd == -ESRCH || (fd >= 0 && shared_is_over(fd));
	if (fd >= 0)
		close(fd);
	return gone;
}

/* Without the keeper's word: it may wait itself, or be gone. */
static bool has_died(const struct rumpel_process *process)
{
	if (is_keeper())
		return is_gone(process);
	if (!shared_is_over(instance->keeper))
		return false;
	return process == instance->processes || is_gone(process);
}

/* The keeper may wait for what the asking thread has, and not come to say it. */
bool shared_has_died(uint32_t tid)
{
	const struct rumpel_process *process = shared_tid_process(tid);

	/* Once: the number may be freed in between. */
	return !process || process_state(process) == PROCESS_GONE || is_gone(process);
}

/* ---- the kernel after a death ---- */

void shared_lost(enum lost why, int pid)
{
	struct rumpel_kernel *kernel = instance->kernel;

	if (!instance->lost) {
		if (why == LOST_KILLED)
			snprintf(instance->why, sizeof(instance->why),
				 "process %d was killed in the middle of it", pid);
		atomic_set(&instance->lost, why);
	}
	atomic_set(&kernel->state, RUMPEL_PANICKED);
	kernel->runnable = false;
	rumpel_wake_all(kernel);
}

const char *shared_reason(void)
{
	switch (atomic_get(&instance->lost)) {
	case LOST_KILLED:
		return instance->why;
	case LOST_KEEPER:
		return "its keeper, the process rumpel-shared, has ended";
	}
	return "it panicked, and its log says why";
}

/*
 * Token held, taken from one who died outside kernel code. Lists are changed by one store at a
 * time; what was read from the kernel or from a device's flag, and not acted on, is looked
 * at again; whoever waits looks whether it still has to.
 */
static void repair(struct rumpel_kernel *kernel)
{
	struct rumpel_task **link = &kernel->tasks;

	for (; *link; link = &(*link)->next)
		(*link)->link = link;
	for (unsigned int i = 0; i < kernel->device_count; i++)
		if (kernel->devices[i])
			atomic_set(&kernel->devices[i]->notified, true);
	atomic_set(&kernel->vcpu->notified, 1);
	if (relaxed_get(&kernel->where) == WHERE_LEFT)
		rumpel_vcpu_handle(kernel, kernel->vcpu->exit, NULL);
	kernel->runnable = true;
	rumpel_vcpu_run(kernel, NULL);
	/* Who leads may be told already that it does not, or its call be over: it asks again. */
	kernel->leader = NULL;
	if (kernel->leader_fd >= 0)
		rumpel_eventfd_signal(kernel->leader_fd);
	kernel->leader_fd = -1;
	rumpel_wake_all(kernel);
	rumpel_futex_wake(&kernel->kick, INT32_MAX);
}

void shared_rob(uint32_t tid)
{
	struct rumpel_kernel *kernel = instance->kernel;
	const struct rumpel_process *process = shared_tid_process(tid);
	uint32_t word = atomic_get(&kernel->token);

	while ((word & ~(TOKEN_WAITED | TOKEN_WANTED)) == tid) {
		/* Others may wait, whatever it says by now. */
		if (!__atomic_compare_exchange_n(&kernel->token, &word, rumpel_tid | TOKEN_WAITED,
						 false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		if (process != instance->processes && relaxed_get(&kernel->where) != WHERE_KERNEL) {
			rumpel_token_moved(kernel);
			repair(kernel);
			rumpel_leave(kernel, false);
			return;
		}
		shared_lost(process == instance->processes ? LOST_KEEPER : LOST_KILLED,
			    process ? process_pid(process) : 0);
		rumpel_token_give(kernel);
		return;
	}
}

/* ---- the platform's ---- */

/* The keeper is the one who would find out, and must not wait for the dead itself. */
uint64_t rumpel_patience(uint64_t limit)
{
	uint64_t soon = rumpel_host_now() + (is_keeper() ? NS_PER_SEC / 20 : NS_PER_SEC);

	return soon < limit ? soon : limit;
}

static bool is_time_to_look(void)
{
	return unlikely(__builtin_ia32_rdtsc() - instance->looked > LOOK_CYCLES);
}

/*
 * Leaders of other processes find that the keeper has died. One that the kernel's timers
 * wake before each second is over looks all the same: instead of sleeping.
 */
uint64_t rumpel_patience_of_leader(uint64_t limit)
{
	if (is_keeper())
		return limit;
	return is_time_to_look() ? rumpel_host_now() : rumpel_patience(limit);
}

/* Whoever holds the token for long may have died; the keeper, too. */
void rumpel_look_after(struct rumpel_kernel *kernel)
{
	uint32_t tid = rumpel_token_holder(kernel);
	const struct rumpel_process *process = tid ? shared_tid_process(tid) : NULL;

	if (process && has_died(process))
		shared_rob(tid);
}

void rumpel_look_around(struct rumpel_kernel *kernel)
{
	(void)kernel;
	instance->looked = __builtin_ia32_rdtsc();
	if (shared_is_over(instance->keeper))
		shared_lost(LOST_KEEPER, 0);
}

void rumpel_thread_init(void)
{
	__builtin_trap(); /* whoever calls the runtime has a number */
}

unsigned int rumpel_own_process(void)
{
	return rumpel_self->process->space->id;
}

/* The process that leads may have been stopped: every 100 ms the keeper has a look. */
uint64_t rumpel_rest_limit(void)
{
	return rumpel_host_now() + NS_PER_SEC / 10;
}

bool rumpel_may_work(void)
{
	return is_keeper();
}

void rumpel_call_worker(void)
{
	shared_notify();
}

/* Others of this process are about to end: those that are not to run the kernel wait here. */
static void stand_by(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	uint32_t only;

	while ((only = atomic_get(&process->only)) && only != rumpel_tid) {
		rumpel_token_give(kernel);
		rumpel_futex_wait(&process->only, only, NEVER);
		rumpel_token_take(kernel);
	}
}

void rumpel_took_over(struct rumpel_kernel *kernel)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_space *space;

	if (unlikely(process->only))
		stand_by(kernel, process);
	/* A leader that is woken all the time sleeps never for long. */
	if (is_time_to_look())
		rumpel_look_around(kernel);
	space = process->space;
	/* While it attaches it has none: no task's memory is there. */
	kernel->vcpu->process = likely(space) ? space->id : NO_SPACE;
	if (space && unlikely(space->seen != instance->journal_end))
		shared_replay(space);
}
