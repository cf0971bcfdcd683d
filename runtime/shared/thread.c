// SPDX-License-Identifier: GPL-2.0-only
/* Threads of a shared kernel's processes: their numbers, and their tasks. */
#include "instance.h"

#include <sched.h>

#include "../bare/bare.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

uint32_t shared_tid_new(struct rumpel_process *process)
{
	uint16_t whose = (uint16_t)(process - instance->processes + 1), free;
	uint32_t tid = relaxed_get(&instance->next_tid);

	__atomic_fetch_add(&process->threads, 1, __ATOMIC_SEQ_CST);
	for (uint32_t tries = 0; tries < MOST_THREADS; tries++) {
		tid = (tid + 1) % MOST_THREADS;
		free = 0;
		if (tid && __atomic_compare_exchange_n(&instance->threads[tid], &free, whose, false,
						       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
			relaxed_set(&instance->next_tid, tid);
			return tid;
		}
	}
	__atomic_fetch_sub(&process->threads, 1, __ATOMIC_SEQ_CST);
	return 0;
}

void shared_tid_free(uint32_t tid)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_process *process = shared_tid_process(tid);

	/* Another thread may get this number: it has to take over all the same, */
	if (kernel->runner == tid)
		kernel->runner = 0;
	/* and must not be taken for the owner of what this one had. */
	bare_owner_died(tid);
	__atomic_fetch_sub(&process->threads, 1, __ATOMIC_SEQ_CST);
	atomic_set(&instance->threads[tid], 0);
}

/* Most processes have one thread: then the long table is not looked at. */
void shared_free_tids(struct rumpel_process *process, uint32_t but)
{
	uint16_t whose = (uint16_t)(process - instance->processes + 1);
	uint32_t left = !!but;

	if (process->first_tid != but && instance->threads[process->first_tid] == whose)
		shared_tid_free(process->first_tid);
	for (uint32_t tid = 1; tid < MOST_THREADS && process->threads > left; tid++)
		if (tid != but && instance->threads[tid] == whose)
			shared_tid_free(tid);
	process->threads = left;
}

struct rumpel_process *shared_tid_process(uint32_t tid)
{
	uint16_t whose = tid < MOST_THREADS ? atomic_get(&instance->threads[tid]) : 0;

	return whose ? &instance->processes[whose - 1] : NULL;
}

/* ---- tasks ---- */

/* It is on the list before it exists, so that the keeper ends it whenever its process dies. */
int shared_clone(struct rumpel_task *maker, unsigned long flags, struct rumpel_process *process,
		 struct rumpel_task **result)
{
	struct rumpel_kernel *kernel = instance->kernel;
	unsigned long args[6] = { flags };
	struct rumpel_task *task;
	long id;

	/* What all processes have is changed by the holder of the token alone. */
	rumpel_token_take(kernel);
	task = rumpel_task_new(kernel);
	if (task) {
		task->caller.process = process->space->id;
		task->data = process;
		rumpel_task_link(task);
	}
	rumpel_leave(kernel, false);
	if (!task)
		return -ENOMEM;
	args[1] = (unsigned long)&task->caller;
	id = maker ? rumpel_task_call(maker, RUMPEL_CALL_CLONE, args)
		   : rumpel_agent_call(kernel, RUMPEL_CALL_CLONE, args);
	if (id < 0) {
		task->state = TASK_EXITED;
		rumpel_task_free(task);
		return (int)id;
	}
	task->id = (int)id;
	*result = task;
	return 0;
}

int shared_thread_begin(struct rumpel_local *local)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_task *task;
	int error;

	local->process = process;
	local->clock_gettime = rumpel_self->clock_gettime;
	local->interrupted = 0;
	local->tid = shared_tid_new(process);
	if (!local->tid)
		return -EAGAIN;
	error = shared_clone(rumpel_self->task, THREAD_FLAGS, process, &task);
	local->task = task;
	if (error) {
		rumpel_token_take(instance->kernel);
		shared_tid_free(local->tid);
		rumpel_leave(instance->kernel, false);
	}
	return error;
}

void shared_thread_end(struct rumpel_local *local)
{
	struct rumpel_kernel *kernel = instance->kernel;
	uint32_t tid = local->tid;

	rumpel_task_free(local->task);
	local->task = NULL;
	rumpel_token_take(kernel);
	shared_tid_free(tid);
	rumpel_leave(kernel, false);
}
