// SPDX-License-Identifier: GPL-2.0-only
/* Processes of a shared kernel, and their threads: how they come, and how they go. */
#include "instance.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

/* About a second. */
#define LOOK_CYCLES (1ull << 31)

/* ---- numbers of threads ---- */

uint32_t shared_tid_new(struct rumpel_process *process)
{
	uint16_t whose = (uint16_t)(process - instance->processes + 1), free;
	uint32_t tid = relaxed_get(&instance->next_tid);

	for (uint32_t tries = 0; tries < MOST_THREADS; tries++) {
		tid = (tid + 1) % MOST_THREADS;
		free = 0;
		if (tid && __atomic_compare_exchange_n(&instance->threads[tid], &free, whose, false,
						       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
			relaxed_set(&instance->next_tid, tid);
			return tid;
		}
	}
	return 0;
}

void shared_tid_free(uint32_t tid)
{
	struct rumpel_kernel *kernel = instance->kernel;

	/* Another thread may get this number: it has to take over all the same. */
	if (kernel->runner == tid)
		kernel->runner = 0;
	atomic_set(&instance->threads[tid], 0);
}

void shared_free_tids(struct rumpel_process *process, uint32_t but)
{
	uint16_t whose = (uint16_t)(process - instance->processes + 1);

	for (uint32_t tid = 1; tid < MOST_THREADS; tid++)
		if (tid != but && instance->threads[tid] == whose)
			shared_tid_free(tid);
}

struct rumpel_process *shared_tid_process(uint32_t tid)
{
	uint16_t whose = tid < MOST_THREADS ? atomic_get(&instance->threads[tid]) : 0;

	return whose ? &instance->processes[whose - 1] : NULL;
}

bool shared_is_dead(uint32_t tid)
{
	const struct rumpel_process *process = shared_tid_process(tid);

	return !process || atomic_get(&process->state) == PROCESS_GONE;
}

bool shared_is_over(int pidfd)
{
	struct pollfd polled = { pidfd, POLLIN, 0 };

	return poll(&polled, 1, 0) > 0 && (polled.revents & POLLIN);
}

/* ---- the platform's ---- */

static bool is_keeper(void)
{
	return rumpel_self->process == instance->processes;
}

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

/* In the keeper. Also of one that it does not watch yet. */
static bool is_gone(const struct rumpel_process *process)
{
	int fd = process->pidfd, pid = atomic_get(&process->pid);
	bool gone;

	if (!pid)
		return false;
	if (fd < 0)
		fd = (int)bare_syscall(SYS_pidfd_open, pid, 0);
	gone = fd == -ESRCH || (fd >= 0 && shared_is_over(fd));
	if (fd >= 0 && fd != process->pidfd)
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
	return process == instance->processes || bare_syscall(SYS_kill, process->pid, 0) == -ESRCH;
}

bool shared_has_died(uint32_t tid)
{
	return shared_is_dead(tid) || has_died(shared_tid_process(tid));
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
		shared_lost();
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

	if (unlikely(process->only))
		stand_by(kernel, process);
	/* A leader that is woken all the time sleeps never for long. */
	if (is_time_to_look())
		rumpel_look_around(kernel);
	kernel->vcpu->process = process->space->id;
	if (unlikely(process->space->seen != instance->journal_end))
		shared_replay(process->space);
}

/* ---- spaces ---- */

struct rumpel_space *shared_space_new(void)
{
	struct rumpel_space *space = calloc(1, sizeof(*space));

	if (space) {
		space->id = __atomic_fetch_add(&instance->spaces, 1, __ATOMIC_SEQ_CST);
		space->users = 1;
	}
	return space;
}

void shared_space_put(struct rumpel_space *space)
{
	if (space && !__atomic_sub_fetch(&space->users, 1, __ATOMIC_SEQ_CST))
		free(space);
}

/* ---- processes ---- */

void shared_notify(void)
{
	rumpel_eventfd_signal(instance->notify);
}

void shared_lost(void)
{
	struct rumpel_kernel *kernel = instance->kernel;

	atomic_set(&kernel->state, RUMPEL_PANICKED);
	kernel->runnable = false;
	rumpel_wake_all(kernel);
}

void shared_rob(uint32_t tid)
{
	struct rumpel_kernel *kernel = instance->kernel;
	uint32_t word = atomic_get(&kernel->token);

	while ((word & ~(TOKEN_WAITED | TOKEN_WANTED)) == tid) {
		/* Others may wait, whatever it says by now. */
		if (!__atomic_compare_exchange_n(&kernel->token, &word, rumpel_tid | TOKEN_WAITED,
						 false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		shared_lost();
		rumpel_token_give(kernel);
		return;
	}
}

static struct rumpel_process *take_process(void)
{
	for (unsigned int i = 1; i < MOST_PROCESSES; i++) {
		struct rumpel_process *process = &instance->processes[i];
		uint32_t free = PROCESS_FREE;

		if (!__atomic_compare_exchange_n(&process->state, &free, PROCESS_TAKEN, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		process->only = 0;
		process->pidfd = -1;
		process->first = NULL;
		process->first_tid = shared_tid_new(process);
		if (process->first_tid)
			return process;
		atomic_set(&process->state, PROCESS_FREE);
		break;
	}
	return NULL;
}

/* It has not come to anything. */
static void give_process(struct rumpel_process *process)
{
	struct rumpel_kernel *kernel = instance->kernel;

	if (process->first)
		rumpel_task_free(process->first);
	process->first = NULL;
	rumpel_token_take(kernel);
	shared_tid_free(process->first_tid);
	shared_space_put(process->space);
	process->space = NULL;
	rumpel_leave(kernel, false);
	process->parent = NULL;
	/* What the keeper has begun to watch it has to end. */
	atomic_set(&process->state, process->pid ? PROCESS_GONE : PROCESS_FREE);
	shared_notify();
}

static void runs(struct rumpel_process *process, int pid)
{
	process->pid = pid;
	atomic_set(&process->state, PROCESS_RUNS);
	shared_notify();
}

static struct rumpel_process *find_process(int pid)
{
	for (unsigned int i = 1; i < MOST_PROCESSES; i++) {
		struct rumpel_process *process = &instance->processes[i];

		if (process->pid == pid && atomic_get(&process->state) == PROCESS_RUNS)
			return process;
	}
	return NULL;
}

/* The calling thread is this process's first. */
static void become(struct rumpel_process *process)
{
	struct rumpel_local *local = bare_local();

	local->process = process;
	local->tid = process->first_tid;
	local->task = process->first;
	local->interrupted = 0;
}

/*
 * Calls of pid 1's thread are anybody's. One that dies before such a call has ended, which
 * needs no more than a token's hold, leaves the rest to whoever is next.
 */
long shared_agent_call(long nr, const unsigned long args[6])
{
	struct rumpel_kernel *kernel = instance->kernel;
	uint32_t nothing = 0, user;
	long result = 0;
	int status;

	for (;;) {
		status = rumpel_task_submit(kernel->agent, 0, nr, args, &result);
		if (status != -EBUSY)
			break;
		user = atomic_get(&instance->agent_user);
		if (user && shared_is_dead(user))
			rumpel_task_wait(kernel->agent, 0, &result);
		rumpel_futex_wait(&nothing, 0, rumpel_host_now() + NS_PER_SEC / 1000);
	}
	atomic_set(&instance->agent_user, rumpel_tid);
	while (status == 0 || status == -EINTR)
		status = rumpel_task_wait(kernel->agent, -1, &result);
	return status == 1 ? result : status;
}

/*
 * A task of `process`, made by another one, or by pid 1: a thread, or a process that has
 * a copy of its descriptors. It is on the list before it exists, so that the keeper ends
 * it whenever this process dies.
 */
static int clone_task(struct rumpel_task *maker, unsigned long flags,
		      struct rumpel_process *process, struct rumpel_task **result)
{
	struct rumpel_kernel *kernel = instance->kernel;
	unsigned long args[6] = { flags };
	struct rumpel_task *task;
	long id;

	/* Locks are taken by the holder of the token alone: see stay_alone(). */
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
		   : shared_agent_call(RUMPEL_CALL_CLONE, args);
	if (id < 0) {
		task->state = TASK_EXITED;
		rumpel_task_free(task);
		return (int)id;
	}
	task->id = (int)id;
	*result = task;
	return 0;
}

/* Nobody has asked for it: from pid 1. */
static int attach_new(int pid)
{
	struct rumpel_process *process = take_process();
	int error = 0;

	if (!process)
		return -EUSERS;
	/* Locks are held by numbers of threads, and whose they are the keeper must know: reap.c. */
	become(process);
	atomic_set(&process->pid, pid);
	shared_notify();
	process->space = shared_space_new();
	if (!process->space)
		error = -ENOMEM;
	/* Nothing is mapped here that could be taken away. */
	else
		process->space->seen = atomic_get(&instance->journal_end);
	if (!error)
		error = clone_task(NULL, CLONE_VM, process, &process->first);
	if (error) {
		give_process(process);
		return error;
	}
	become(process);
	runs(process, pid);
	return 0;
}

/* Token held. */
static struct rumpel_task *find_other(const struct rumpel_process *process)
{
	struct rumpel_task *task = instance->kernel->tasks;

	while (task && (task->data != process || task == process->first))
		task = task->next;
	return task;
}

/* An exec: other threads are gone, and what they did in the kernel ends. */
static int attach_again(struct rumpel_process *process)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_space *space;
	struct rumpel_task *task;

	become(process);
	space = shared_space_new();
	if (!space)
		return -ENOMEM;
	space->seen = atomic_get(&instance->journal_end);
	rumpel_token_take(kernel);
	shared_space_put(process->space);
	process->space = space;
	/* Pointers of calls that other threads had made mean nothing any more. */
	for (task = kernel->tasks; task; task = task->next)
		if (task->data == process)
			task->caller.process = space->id;
	kernel->vcpu->process = space->id;
	shared_free_tids(process, rumpel_tid);
	while ((task = find_other(process))) {
		task->data = NULL;
		rumpel_leave(kernel, false);
		rumpel_task_free(task);
		rumpel_token_take(kernel);
	}
	rumpel_leave(kernel, false);
	atomic_set(&process->only, 0);
	return (int)task_call(process->first, RUMPEL_CALL_EXEC, 0);
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
	return process && process->only ? attach_again(process) : attach_new(pid);
}

/* ---- threads ---- */

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
	error = clone_task(rumpel_self->task, THREAD_FLAGS, process, &task);
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

/* ---- fork ---- */

int shared_fork_begin(unsigned int flags, struct rumpel_process **result)
{
	struct rumpel_process *parent = rumpel_self->process, *child = take_process();
	unsigned long clone_flags = CLONE_VM;
	int error = 0;

	if (!child)
		return -EAGAIN;
	child->parent = parent;
	if (flags & RUMPEL_SHARED_FORK_FILES)
		clone_flags |= CLONE_FILES;
	if (flags & RUMPEL_SHARED_FORK_VM) {
		__atomic_fetch_add(&parent->space->users, 1, __ATOMIC_SEQ_CST);
		child->space = parent->space;
	} else {
		child->space = shared_space_new();
		if (!child->space)
			error = -ENOMEM;
		else
			child->space->seen = parent->space->seen;
	}
	if (!error)
		error = clone_task(rumpel_self->task, clone_flags, child, &child->first);
	if (error)
		shared_fork_parent(child, error);
	else
		*result = child;
	return error;
}

int shared_fork_child(struct rumpel_process *child)
{
	become(child);
	runs(child, (int)bare_syscall(SYS_getpid));
	return 0;
}

void shared_fork_parent(struct rumpel_process *child, int pid)
{
	/* The child may have said so itself, and may even have ended. */
	if (pid > 0) {
		uint32_t taken = PROCESS_TAKEN;

		child->pid = pid;
		if (__atomic_compare_exchange_n(&child->state, &taken, PROCESS_RUNS, false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			shared_notify();
		/* From here on it may be used again. */
		__atomic_store_n(&child->parent, NULL, __ATOMIC_SEQ_CST);
		return;
	}
	give_process(child);
}

/* ---- exec and exit ---- */

/* Nobody else of this process runs the kernel when it returns, nor afterwards. */
static void stay_alone(void)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_task *task;

	rumpel_token_take(kernel);
	process->only = rumpel_tid;
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

void shared_exec_failed(void)
{
	struct rumpel_process *process = rumpel_self->process;
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_task *task;

	rumpel_token_take(kernel);
	atomic_set(&process->only, 0);
	rumpel_futex_wake(&process->only, INT32_MAX);
	/* They look again what there is for them. */
	for (task = kernel->tasks; task; task = task->next) {
		if (task->data != process || !task->waiter)
			continue;
		atomic_set(&task->waiter->word, 1);
		rumpel_futex_wake(&task->waiter->word, 1);
		if (task->waiter->also && task->waiter->wake_fd > 0)
			rumpel_eventfd_signal(task->waiter->wake_fd);
	}
	rumpel_leave(kernel, false);
	rumpel_kick(kernel);
}

void shared_exit(void)
{
	stay_alone();
	task_call(rumpel_self->task, SYS_exit_group, 0);
}
