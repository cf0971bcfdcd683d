// SPDX-License-Identifier: GPL-2.0-only
/*
 * A process makes another one: the kernel's half before, so that the child has a task with
 * a copy of its parent's descriptors when it begins to run. Either may be killed at any
 * moment, and the child may be stopped before its first step.
 */
#include "instance.h"

#include <sched.h>
#include <sys/syscall.h>

#include "../bare/bare.h"

/* What an agent has of a child: its slot, and which use of the slot it is. */
static uint64_t handle_of(const struct rumpel_process *process, uint64_t word)
{
	return (word & WORD_USE) << 32 | (uint64_t)(process - instance->processes);
}

static struct rumpel_process *process_of(uint64_t handle)
{
	return &instance->processes[handle & 0xffffffff];
}

/* From FORKED to RUNS. False: it is no longer what the handle says, or is so already. */
static bool runs(uint64_t handle, int pid)
{
	struct rumpel_process *process = process_of(handle);
	uint64_t word = atomic_get(&process->word);

	if ((word & WORD_USE) != handle >> 32 || (word & WORD_STATE) != PROCESS_FORKED ||
	    !shared_process_change(process, word, PROCESS_RUNS, pid))
		return false;
	shared_notify();
	return true;
}

static int begin(struct rumpel_process *child, unsigned int flags)
{
	struct rumpel_process *parent = rumpel_self->process;
	struct rumpel_kernel *kernel = instance->kernel;
	int error = 0;

	child->parent_word = parent->word;
	atomic_set(&child->parent, parent);
	rumpel_token_take(kernel);
	if (flags & RUMPEL_SHARED_FORK_VM) {
		parent->space->users++;
		child->space = parent->space;
	} else {
		child->space = shared_space_new();
		/* It has a copy of what is mapped in its parent. */
		if (child->space) {
			child->space->seen = parent->space->seen;
			error = shared_range_copy(parent->space, child->space);
		}
	}
	rumpel_leave(kernel, false);
	if (!child->space || error)
		return -ENOMEM;
	return shared_clone(rumpel_self->task,
			    flags & RUMPEL_SHARED_FORK_FILES ? CLONE_VM | CLONE_FILES : CLONE_VM,
			    child, &child->first);
}

int shared_fork_begin(unsigned int flags, uint64_t *result)
{
	int pid = process_pid(rumpel_self->process), error;
	struct rumpel_process *child = shared_process_take(PROCESS_FORKED, pid);
	uint64_t word;

	if (!child)
		return -EAGAIN;
	word = atomic_get(&child->word);
	error = begin(child, flags);
	if (error)
		shared_process_give(child, word);
	else
		*result = handle_of(child, word);
	return error;
}

int shared_fork_child(uint64_t handle)
{
	struct rumpel_process *child = process_of(handle);
	int pid = (int)bare_syscall(SYS_getpid);
	uint64_t word;

	if (!runs(handle, pid)) {
		word = atomic_get(&child->word);
		/* Its parent has said so before it, or it has been given up. */
		if ((word & WORD_USE) != handle >> 32 || (word & WORD_STATE) != PROCESS_RUNS)
			return -ESRCH;
	}
	shared_become(child);
	/* What was taken away since its parent forked: it could not be told before. */
	if (child->space->ranges) {
		rumpel_token_take(instance->kernel);
		rumpel_leave(instance->kernel, false);
	}
	return 0;
}

void shared_fork_parent(uint64_t handle, int pid)
{
	struct rumpel_process *child = process_of(handle);
	uint64_t word = atomic_get(&child->word);

	if (pid > 0)
		runs(handle, pid);
	else if ((word & WORD_USE) == handle >> 32)
		shared_process_give(child, word);
}
