// SPDX-License-Identifier: GPL-2.0-only
/* Tasks of the kernel that belong to callers, and their system calls. */
#include "core.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>

/* A thread of pid 1 shares all that a thread can. */
#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

/* Of pid 1 and the agent, whose addresses are the same in a snapshot of the kernel. */
static struct rumpel_task *room_in_arena(const struct rumpel_kernel *kernel)
{
	struct rumpel_task *tasks = (struct rumpel_task *)kernel->arena.tasks;

	if (!tasks || !kernel->init)
		return tasks;
	return kernel->agent == kernel->init ? tasks + 1 : NULL;
}

void rumpel_task_delete(struct rumpel_task *task)
{
	uintptr_t tasks = (uintptr_t)task->kernel->arena.tasks;

	/* The arena's go with it. */
	if (!tasks || (uintptr_t)task - tasks >= PAGE)
		free(task);
}

struct rumpel_task *rumpel_task_new(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task = room_in_arena(kernel);

	if (!task)
		task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->kernel = kernel;
	task->caller.state = RUMPEL_CALLER_USER;
	task->caller.process = rumpel_own_process();
	return task;
}

void rumpel_task_link(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;

	task->next = kernel->tasks;
	task->link = &kernel->tasks;
	if (task->next)
		task->next->link = &task->next;
	kernel->tasks = task;
}

static void unlink_task(struct rumpel_task *task)
{
	*task->link = task->next;
	if (task->next)
		task->next->link = task->link;
}

void rumpel_task_ended(struct rumpel_kernel *kernel, struct rumpel_caller *caller)
{
	struct rumpel_task *task = (struct rumpel_task *)caller;
	struct rumpel_waiter *waiter = task->waiter;
	bool exited = caller->state == RUMPEL_CALLER_EXITED;

	/* It goes on where its memory is. */
	if (unlikely(caller->state == RUMPEL_CALLER_AWAY)) {
		if (waiter)
			rumpel_wake(kernel, waiter);
		return;
	}
	if (task->state != TASK_BUSY) {
		/* If not, this was said before: see repair() of shared/alive.c. */
		if (exited)
			task->state = TASK_EXITED;
		return;
	}
	task->waiter = NULL;
	if (exited)
		caller->result = -ESRCH;
	if (task->async && !waiter)
		rumpel_done_add(kernel, task);
	/* From here on another thread may do anything with the task. */
	__atomic_store_n(&task->state, TASK_DONE, __ATOMIC_RELEASE);
	if (waiter)
		rumpel_wake(kernel, waiter);
}

/* The caller has its result: the task is ready for the next call, or gone. */
static long collect(struct rumpel_task *task)
{
	long result = task->caller.result;
	bool exited = task->caller.state == RUMPEL_CALLER_EXITED;

	task->async = false;
	task->waiter = NULL;
	relaxed_set(&task->state, exited ? TASK_EXITED : TASK_READY);
	return result;
}

static void set_call(struct rumpel_caller *caller, long nr, const unsigned long args[6])
{
	caller->nr = nr;
	/* Word by word, as they were written a moment ago: wider loads would wait for that. */
	for (int i = 0; i < 6; i++)
		caller->args[i] = ((const volatile unsigned long *)args)[i];
}

/* Token held. Runs the call that was set until it has ended or sleeps. */
static inline void start(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;
	struct rumpel_vcpu *vcpu = kernel->vcpu;
	struct rumpel_caller *caller = &task->caller;
	unsigned int exit;

	caller->state = RUMPEL_CALLER_SUBMITTED;
	vcpu->request = caller;
	exit = rumpel_enter(kernel);
	if (likely(exit == RUMPEL_EXIT_DONE && vcpu->done == caller &&
		   caller->state == RUMPEL_CALLER_USER)) {
		relaxed_set(&kernel->where, WHERE_HOST);
		kernel->runnable = vcpu->more;
		relaxed_set(&kernel->progress, true);
		task->state = TASK_DONE;
		return;
	}
	task->state = TASK_BUSY;
	task->thread = pthread_self();
	rumpel_vcpu_handle(kernel, exit, task);
}

/* May it make a call? 0 or a negative errno. */
static int check(const struct rumpel_task *task)
{
	const struct rumpel_kernel *kernel = task->kernel;

	if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
		return rumpel_kernel_error(kernel);
	switch (task->state) {
	case TASK_READY:
		return 0;
	case TASK_EXITED:
		return -ESRCH;
	}
	return -EBUSY;
}

/* The same for calls from outside, which end when a halt begins. */
static int check_open(const struct rumpel_task *task)
{
	int status = check(task);

	return unlikely(!status && task->kernel->halting) ? rumpel_kernel_error(task->kernel)
							  : status;
}

int rumpel_task_submit(struct rumpel_task *task, unsigned int flags, long nr,
		       const unsigned long args[6], long *result)
{
	struct rumpel_kernel *kernel = task->kernel;
	int status;

	if (unlikely(!rumpel_token_try(kernel))) {
		if (flags & RUMPEL_SUBMIT_NOWAIT)
			return -EAGAIN;
		status = rumpel_token_enter(kernel);
		if (status)
			return status;
	}
	status = check_open(task);
	if (unlikely(status)) {
		rumpel_leave(kernel, false);
		return status;
	}
	set_call(&task->caller, nr, args);
	task->async = flags & RUMPEL_SUBMIT_ASYNC;
	start(task);
	if (likely(task->state == TASK_DONE)) {
		if (unlikely(task->reported))
			rumpel_done_remove(kernel, task);
		*result = collect(task);
		status = 1;
	}
	/* Who may not wait here may not be kept either. */
	if (flags & RUMPEL_SUBMIT_NOWAIT)
		rumpel_leave_at_once(kernel, !status);
	else
		rumpel_leave(kernel, !status);
	return status;
}

/* What a call that was interrupted by the end of its kernel says. */
static int ended(struct rumpel_task *task, long *result)
{
	*result = collect(task);
	if (unlikely(task->kernel->halting) && *result == -EINTR && task != task->kernel->agent)
		return -ESHUTDOWN;
	return 1;
}

static int wait_for(struct rumpel_task *task, uint64_t limit, struct pollfd *also,
		    unsigned int count, long *result)
{
	struct rumpel_kernel *kernel = task->kernel;
	int status;

	/* Token held. */
	task->waiting = (struct rumpel_waiter){ .task = task, .also = also, .also_count = count };
	task->waiter = &task->waiting;
	task->thread = pthread_self();
	status = rumpel_wait(kernel, task->waiter, limit);
	if (status == 1)
		return ended(task, result);
	/* The waiter is about to go. */
	rumpel_token_take(kernel);
	task->waiter = NULL;
	if (task->state == TASK_DONE)
		status = ended(task, result);
	rumpel_leave(kernel, true);
	return status;
}

int rumpel_task_wait_also(struct rumpel_task *task, int64_t timeout_ns, struct pollfd *also,
			  unsigned int count, long *result)
{
	struct rumpel_kernel *kernel = task->kernel;
	int error;

	if (task->state == TASK_READY)
		return -EINVAL;
	if (task->state == TASK_EXITED)
		return -ESRCH;
	error = rumpel_token_enter(kernel);
	if (error)
		return error;
	if (task->reported)
		rumpel_done_remove(kernel, task);
	return wait_for(task, rumpel_host_limit(timeout_ns), also, count, result);
}

int rumpel_task_wait(struct rumpel_task *task, int64_t timeout_ns, long *result)
{
	return rumpel_task_wait_also(task, timeout_ns, NULL, 0, result);
}

void rumpel_task_forget(struct rumpel_task *task)
{
	collect(task);
}

int rumpel_task_cancel(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;
	int error = rumpel_token_enter(kernel);

	if (error)
		return error;
	error = rumpel_kernel_end(kernel);
	if (!error && task->state == TASK_BUSY) {
		kernel->vcpu->interrupt = &task->caller;
		rumpel_vcpu_handle(kernel, rumpel_enter(kernel), NULL);
	}
	rumpel_leave(kernel, false);
	return error;
}

/* Token held; gives it back. */
static inline long call(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;
	bool interrupted = false;
	int status;
	long result;

	start(task);
	if (likely(task->state == TASK_DONE)) {
		status = ended(task, &result);
		rumpel_leave(kernel, false);
		return status == 1 ? result : status;
	}
	status = wait_for(task, NEVER, NULL, 0, &result);
	while (status == -EINTR) {
		interrupted |= rumpel_take_interrupt();
		status = rumpel_task_wait(task, -1, &result);
	}
	/* It is for the next call, which can be. */
	if (interrupted)
		rumpel_interrupt_again();
	return status == 1 ? result : status;
}

long rumpel_task_call(struct rumpel_task *task, long nr, const unsigned long args[6])
{
	struct rumpel_kernel *kernel = task->kernel;
	int status = rumpel_token_enter(kernel);

	if (unlikely(status))
		return status;
	status = check(task);
	if (unlikely(status)) {
		rumpel_leave(kernel, false);
		return status;
	}
	set_call(&task->caller, nr, args);
	return call(task);
}

long rumpel_syscall(struct rumpel_task *task, long nr, unsigned long a0, unsigned long a1,
		    unsigned long a2, unsigned long a3, unsigned long a4, unsigned long a5)
{
	struct rumpel_kernel *kernel = task->kernel;
	struct rumpel_caller *caller = &task->caller;
	int status = rumpel_token_enter(kernel);

	if (unlikely(status))
		return status;
	status = check_open(task);
	if (unlikely(status)) {
		rumpel_leave(kernel, false);
		return status;
	}
	caller->nr = nr;
	caller->args[0] = a0;
	caller->args[1] = a1;
	caller->args[2] = a2;
	caller->args[3] = a3;
	caller->args[4] = a4;
	caller->args[5] = a5;
	return call(task);
}

/* Nobody waits for the end of its call any more. */
static void leave_waiter(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;

	rumpel_token_take(kernel);
	if (task->waiter)
		rumpel_waiter_forget(kernel, task->waiter);
	task->waiter = NULL;
	rumpel_leave(kernel, false);
}

/* Whoever had it may have been killed in the middle of a call (shared/), which has to end first. */
void rumpel_agent_take(struct rumpel_kernel *kernel)
{
	struct rumpel_task *agent = kernel->agent;
	bool interrupted = false;
	long result;

	pthread_mutex_lock(&kernel->agent_lock);
	if (unlikely(agent->state == TASK_BUSY))
		leave_waiter(agent);
	/* Again: it may not wait yet for what it is to wait no longer for. */
	while (unlikely(agent->state == TASK_BUSY || agent->state == TASK_DONE)) {
		rumpel_task_cancel(agent);
		if (rumpel_task_wait(agent, NS_PER_SEC / 100, &result) < 0 &&
		    rumpel_kernel_end(kernel))
			break;
		interrupted |= rumpel_take_interrupt();
	}
	if (interrupted)
		rumpel_interrupt_again();
}

void rumpel_agent_give(struct rumpel_kernel *kernel)
{
	pthread_mutex_unlock(&kernel->agent_lock);
}

long rumpel_agent_call(struct rumpel_kernel *kernel, long nr, const unsigned long args[6])
{
	long result;

	rumpel_agent_take(kernel);
	result = rumpel_task_call(kernel->agent, nr, args);
	rumpel_agent_give(kernel);
	return result;
}

int rumpel_task_create(struct rumpel_kernel *kernel, unsigned int flags, struct rumpel_task **task)
{
	/* Processes share the memory too: their code is in one address space, the host's. */
	unsigned long clone_flags = flags & RUMPEL_TASK_PROCESS ? CLONE_VM : THREAD_FLAGS;
	struct rumpel_task *new;
	long result;

	if (flags & ~(unsigned int)RUMPEL_TASK_PROCESS)
		return -EINVAL;
	if (rumpel_token_is_mine(kernel))
		return -EDEADLK;
	new = rumpel_task_new(kernel);
	if (!new)
		return -ENOMEM;
	rumpel_agent_take(kernel);
	result = rumpel_kernel_error(kernel);
	if (!result)
		result = task_call(kernel->agent, RUMPEL_CALL_CLONE, clone_flags,
				   (unsigned long)&new->caller);
	rumpel_agent_give(kernel);
	if (result < 0) {
		rumpel_task_delete(new);
		return (int)result;
	}
	new->id = (int)result;
	rumpel_token_take(kernel);
	rumpel_task_link(new);
	rumpel_leave(kernel, false);
	*task = new;
	return 0;
}

int rumpel_task_id(const struct rumpel_task *task)
{
	return task->id;
}

void rumpel_task_set_data(struct rumpel_task *task, void *data)
{
	task->data = data;
}

void *rumpel_task_data(const struct rumpel_task *task)
{
	return task->data;
}

struct rumpel_task *rumpel_kernel_init(struct rumpel_kernel *kernel)
{
	return kernel->init;
}

/*
 * Ends the task's call. A task that is stopped by a signal, or by a tracer, does
 * not even notice that: it has to be killed. False: it is pid 1's, whom nobody kills.
 */
static bool end_call(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;
	long result;

	for (unsigned int i = 0; task->state == TASK_BUSY && i < 100; i++) {
		if (rumpel_task_cancel(task) ||
		    rumpel_task_wait(task, NS_PER_SEC / 100, &result) < 0)
			return true;
		if (task->state != TASK_BUSY || rumpel_kernel_error(kernel))
			continue;
		rumpel_agent_call(kernel, SYS_tkill,
				  (const unsigned long[6]){ (unsigned long)task->id, SIGKILL });
	}
	return task->state != TASK_BUSY;
}

void rumpel_task_free(struct rumpel_task *task)
{
	struct rumpel_kernel *kernel = task->kernel;

	if (task == kernel->init)
		return;
	/* The kernel has called this thread, and cannot be called: freed with the kernel. */
	if (rumpel_token_is_mine(kernel))
		return;
	if (!end_call(task))
		return; /* the kernel still knows it: freed with the kernel */
	if (task->state == TASK_DONE)
		collect(task); /* nobody took the result */
	if (task->state == TASK_READY && atomic_get(&kernel->state) == RUMPEL_RUNNING)
		task_call(task, SYS_exit, 0);
	rumpel_token_take(kernel);
	if (task->reported)
		rumpel_done_remove(kernel, task);
	unlink_task(task);
	rumpel_task_delete(task);
	rumpel_leave(kernel, false);
}
