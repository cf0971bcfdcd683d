// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process executes a program, or ends: its other threads are then killed wherever they
 * are, so before that they are kept from running the kernel.
 */
#include "instance.h"

#include <sys/syscall.h>

#include "../bare/bare.h"

/* Nobody else of this process runs the kernel when it returns, nor afterwards. */
static void stay_alone(void)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_space *space = process->space;
	struct rumpel_task *task;

	rumpel_token_take(kernel);
	process->only = rumpel_tid;
	/* From here on it cannot be told that pages are taken away: see shoot.c. */
	if (space->high) {
		shared_hide_all();
		space->low = space->high = 0;
	}
	for (task = kernel->tasks; task; task = task->next)
		if (task->data == process && task != rumpel_self->task && task->waiter)
			rumpel_waiter_forget(kernel, task->waiter);
	rumpel_leave(kernel, false);
}

int shared_exec_begin(void)
{
	struct rumpel_process *process = rumpel_self->process;

	stay_alone();
	process->first = rumpel_self->task;
	process->first_tid = rumpel_tid;
	return 0;
}

/* Token held. They look again what there is for them. */
static void wake_others(struct rumpel_kernel *kernel, const struct rumpel_process *process)
{
	struct rumpel_task *task;

	for (task = kernel->tasks; task; task = task->next) {
		if (task->data != process || !task->waiter)
			continue;
		atomic_set(&task->waiter->word, 1);
		rumpel_futex_wake(&task->waiter->word, 1);
		if (task->waiter->wake_fd > 0)
			rumpel_eventfd_signal(task->waiter->wake_fd);
	}
}

void shared_exec_failed(void)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_kernel *kernel = instance->kernel;

	rumpel_token_take(kernel);
	atomic_set(&process->only, 0);
	rumpel_futex_wake(&process->only, INT32_MAX);
	wake_others(kernel, process);
	rumpel_leave(kernel, false);
	/* The one that led sleeps where kicks are told, and is none any more that is kicked. */
	rumpel_futex_wake(&kernel->kick, INT32_MAX);
	rumpel_kick(kernel);
}

/* Token held. */
static struct rumpel_task *find_other(const struct rumpel_process *process)
{
	struct rumpel_task *task = instance->kernel->tasks;

	while (task && (task->data != process || task == process->first))
		task = task->next;
	return task;
}

/* Another thread may have been killed as it took the token, only to give it back. */
static void rob_siblings(const struct rumpel_process *process)
{
	uint32_t tid = rumpel_token_holder(instance->kernel);

	if (tid && tid != rumpel_tid && shared_tid_process(tid) == process)
		shared_rob(tid);
}

/*
 * Nor do they make the children that they were about to make: one that is not there yet is
 * an orphan. So is one that has been made but has not begun, for which the keeper waits.
 */
static void leave_children(struct rumpel_process *process)
{
	bool found = false;

	for (unsigned int i = 1; i < atomic_get(&instance->slots); i++) {
		struct rumpel_process *child = &instance->processes[i];

		if (process_state(child) != PROCESS_FORKED ||
		    process_pid(child) != process_pid(process))
			continue;
		child->parent_word = 0;
		atomic_set(&child->parent, process);
		found = true;
	}
	if (found)
		shared_notify();
}

/* What other threads did in the kernel ends: they are gone. */
int shared_attach_again(struct rumpel_process *process)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_space *space, *old = process->space;
	struct rumpel_task *task;

	shared_become(process);
	rob_siblings(process);
	rumpel_token_take(kernel);
	shared_free_tids(process, rumpel_tid);
	space = shared_space_new();
	if (!space) {
		rumpel_leave(kernel, false);
		return -ENOMEM;
	}
	process->space = space;
	/* Pointers of calls that other threads had made mean nothing any more. */
	for (task = kernel->tasks; task; task = task->next)
		if (task->data == process)
			task->caller.process = space->id;
	kernel->vcpu->process = space->id;
	while ((task = find_other(process))) {
		task->data = NULL;
		rumpel_leave(kernel, false);
		rumpel_task_free(task);
		rumpel_token_take(kernel);
	}
	rumpel_leave(kernel, false);
	leave_children(process);
	atomic_set(&process->only, 0);
	shared_space_leave(old, process->first);
	return (int)task_call(process->first, RUMPEL_CALL_EXEC, 0);
}

void shared_exit(void)
{
	stay_alone();
	task_call(rumpel_self->task, SYS_exit_group, 0);
}
