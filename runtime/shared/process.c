// SPDX-License-Identifier: GPL-2.0-only
/* Processes of a shared kernel: their slots, and how one joins. */
#include "instance.h"

#include <sched.h>
#include <sys/syscall.h>

#include "../bare/bare.h"

void shared_notify(void)
{
	rumpel_eventfd_signal(instance->notify);
}

/* ---- slots ---- */

bool shared_process_change(struct rumpel_process *process, uint64_t seen, enum process_state state,
			   int pid)
{
	uint64_t use = seen & WORD_USE;

	/* Whoever had the slot before must not be taken for who has it now. */
	if ((seen & WORD_STATE) == PROCESS_FREE)
		use = (use + WORD_STATE + 1) & WORD_USE;
	return __atomic_compare_exchange_n(&process->word, &seen, (uint64_t)pid << 32 | use | state,
					   false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static void use_slots(uint32_t count)
{
	uint32_t slots = atomic_get(&instance->slots);

	while (slots < count)
		if (__atomic_compare_exchange_n(&instance->slots, &slots, count, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			return;
}

struct rumpel_process *shared_process_take(enum process_state state, int pid)
{
	for (unsigned int i = 1; i < MOST_PROCESSES; i++) {
		struct rumpel_process *process = &instance->processes[i];
		uint64_t word = atomic_get(&process->word);

		/* Before it is taken, or nobody would look at it. */
		if (i >= atomic_get(&instance->slots))
			use_slots(i + 1);
		if ((word & WORD_STATE) != PROCESS_FREE ||
		    !shared_process_change(process, word, state, pid))
			continue;
		process->first_tid = shared_tid_new(process);
		if (process->first_tid)
			return process;
		/* As if it had died: the keeper sees to it. */
		shared_process_change(process, atomic_get(&process->word), PROCESS_GONE, 0);
		shared_notify();
		break;
	}
	return NULL;
}

/* What the keeper may have begun to watch it has to end. */
void shared_process_give(struct rumpel_process *process, uint64_t seen)
{
	shared_process_change(process, seen, PROCESS_GONE, (int)(seen >> 32));
	shared_notify();
}

static struct rumpel_process *find_process(int pid)
{
	for (unsigned int i = 1; i < atomic_get(&instance->slots); i++) {
		struct rumpel_process *process = &instance->processes[i];

		if (process_pid(process) == pid && process_state(process) == PROCESS_RUNS)
			return process;
	}
	return NULL;
}

void shared_become(struct rumpel_process *process)
{
	struct rumpel_local *local = bare_local();

	local->process = process;
	local->tid = process->first_tid;
	local->task = process->first;
	local->interrupted = 0;
}

/* ---- attach ---- */

static int make_space(struct rumpel_process *process)
{
	struct rumpel_kernel *kernel = instance->kernel;

	rumpel_token_take(kernel);
	process->space = shared_space_new();
	if (process->space)
		kernel->vcpu->process = process->space->id;
	rumpel_leave(kernel, false);
	return process->space ? 0 : -ENOMEM;
}

/* Nobody has asked for it: from pid 1. */
static int attach_new(int pid)
{
	struct rumpel_process *process = shared_process_take(PROCESS_TAKEN, pid);
	uint64_t word;
	int error;

	if (!process)
		return -EUSERS;
	word = atomic_get(&process->word);
	shared_notify();
	shared_become(process);
	error = make_space(process);
	if (!error)
		error = shared_clone(NULL, CLONE_VM, process, &process->first);
	if (error) {
		shared_process_give(process, word);
		return error;
	}
	shared_become(process);
	shared_process_change(process, word, PROCESS_RUNS, pid);
	return 0;
}

int shared_attach(int fds)
{
	int pid = (int)bare_syscall(SYS_getpid), error;
	struct rumpel_process *process;

	error = shared_map_heap(fds + RUMPEL_SHARED_FD_MEMORY);
	if (error)
		return error;
	if (instance->magic != RUMPEL_SHARED_MAGIC || instance->version != RUMPEL_SHARED_VERSION ||
	    instance->fds != fds)
		return -ENOEXEC;
	error = shared_map_kernel(fds);
	if (error)
		return error;
	if (!bare_local()->clock_gettime)
		bare_local()->clock_gettime = bare_vdso_clock();
	process = find_process(pid);
	return process && process->only ? shared_attach_again(process) : attach_new(pid);
}
