// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ends of processes. One that dies outside the kernel only loses its tasks: the
 * keeper ends them. Of one that held the token see alive.c.
 */
#include "instance.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

#define EVENTS 32
/* While there is something left of a dead process, it is looked at that often. */
#define AGAIN_MS 20
/* So long a child whose parent was killed as it forked has for its first step. */
#define CHILD_PATIENCE (2 * NS_PER_SEC)
#define CONTROL MOST_PROCESSES
#define NOTIFY (MOST_PROCESSES + 1)
#define LISTEN (MOST_PROCESSES + 2)

static void watch(int epoll, int fd, uint32_t what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = what };

	bare_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Token held. One that has not been told to end. */
static struct rumpel_task *next_to_end(struct rumpel_kernel *kernel,
				       const struct rumpel_process *process)
{
	struct rumpel_task *task = kernel->tasks;

	while (task && (task->data != process || task->ends))
		task = task->next;
	return task;
}

/* Token held. It waited for the end of the agent's call: whoever takes the agent next does. */
static void leave_agent(struct rumpel_kernel *kernel, const struct rumpel_process *process)
{
	struct rumpel_task *agent = kernel->agent;

	if (!agent->waiter || shared_tid_process((uint32_t)agent->thread) != process)
		return;
	rumpel_waiter_forget(kernel, agent->waiter);
	agent->waiter = NULL;
}

/* Its tasks end; nobody waits for them. */
static void end_tasks(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	struct rumpel_task *task;

	for (;;) {
		unsigned long kill[6] = { 0, SIGKILL };

		rumpel_token_take(kernel);
		leave_agent(kernel, process);
		task = atomic_get(&kernel->state) == RUMPEL_RUNNING ? next_to_end(kernel, process)
								    : NULL;
		if (!task)
			break;
		kill[0] = (unsigned long)task->id;
		task->ends = true;
		if (task->waiter)
			rumpel_waiter_forget(kernel, task->waiter);
		task->waiter = NULL;
		rumpel_leave(kernel, false);
		/* One that nobody knows the number of has made no call yet. */
		if (task->id)
			rumpel_agent_call(kernel, SYS_tkill, kill);
		else if (task->caller.task)
			task_call(task, SYS_exit_group, 0);
	}
	rumpel_vcpu_run(kernel, NULL);
	rumpel_leave(kernel, false);
}

/* What its threads had is free. */
static void disown(const struct rumpel_process *process)
{
	uint16_t whose = (uint16_t)(process - instance->processes + 1);
	uint32_t left = process->threads;

	if (!left)
		return;
	if (left == 1 && instance->threads[process->first_tid] == whose) {
		bare_owner_died(process->first_tid);
		return;
	}
	for (uint32_t tid = 1; tid < MOST_THREADS && left; tid++)
		if (instance->threads[tid] == whose) {
			bare_owner_died(tid);
			left--;
		}
}

static void died(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	uint64_t word = atomic_get(&process->word);
	uint32_t holder;

	while ((word & WORD_STATE) != PROCESS_GONE &&
	       !shared_process_change(process, word, PROCESS_GONE, (int)(word >> 32)))
		word = atomic_get(&process->word);
	disown(process);
	holder = rumpel_token_holder(kernel);
	if (holder && shared_tid_process(holder) == process)
		shared_rob(holder);
	end_tasks(kernel, process);
}

/* Its parent has been killed, maybe even before it said that it is. */
static bool is_orphan(const struct rumpel_process *process)
{
	const struct rumpel_process *parent = atomic_get(&process->parent);

	return parent ? atomic_get(&parent->word) != process->parent_word
		      : bare_syscall(SYS_kill, process_pid(process), 0) == -ESRCH;
}

/* It may run yet, and be on its way; or it was never made. True: for it to be waited for. */
static bool wait_for_child(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	uint64_t word = atomic_get(&process->word), now = rumpel_host_now();

	if ((word & WORD_STATE) != PROCESS_FORKED || !is_orphan(process)) {
		process->given_up = 0;
		return !process->parent;
	}
	if (!process->given_up)
		process->given_up = now + CHILD_PATIENCE;
	if (now < process->given_up)
		return true;
	/* If it runs after all, in this moment, then it is its own from now on. */
	if (shared_process_change(process, word, PROCESS_GONE, 0))
		died(kernel, process);
	return true;
}

/* New processes. */
static void look(struct rumpel_kernel *kernel, int epoll)
{
	for (unsigned int i = 1; i < atomic_get(&instance->slots); i++) {
		struct rumpel_process *process = &instance->processes[i];
		enum process_state state = process_state(process);
		int fd;

		if ((state != PROCESS_TAKEN && state != PROCESS_RUNS) || process->pidfd)
			continue;
		fd = (int)bare_syscall(SYS_pidfd_open, process_pid(process), 0);
		if (fd == 0) {
			fd = (int)bare_syscall(SYS_dup, fd);
			close(0);
		}
		if (fd < 0) {
			/* Of what else is wrong (no descriptors left) more is known the next time. */
			if (fd == -ESRCH)
				died(kernel, process);
			continue;
		}
		process->pidfd = fd;
		watch(epoll, fd, i);
	}
}

/* Token held. One of which the kernel knows nothing any more; *has: there are others. */
static struct rumpel_task *next_to_free(struct rumpel_kernel *kernel,
					const struct rumpel_process *process, bool *has)
{
	bool over = atomic_get(&kernel->state) != RUMPEL_RUNNING;

	*has = false;
	for (struct rumpel_task *task = kernel->tasks; task; task = task->next) {
		if (task->data != process)
			continue;
		if (over || !task->caller.task)
			return task;
		*has = true;
	}
	return NULL;
}

/* Is anything left of it in the kernel? What is over is freed. */
static bool has_tasks(struct rumpel_kernel *kernel, const struct rumpel_process *process)
{
	struct rumpel_task *task;
	bool has;

	for (;;) {
		rumpel_token_take(kernel);
		task = next_to_free(kernel, process, &has);
		if (task && task->state != TASK_DONE)
			task->state = TASK_EXITED;
		rumpel_leave(kernel, false);
		if (!task)
			return has;
		rumpel_task_free(task);
	}
}

static void free_wake(struct rumpel_wake *wake)
{
	uint32_t owner = atomic_get(&wake->owner);

	if (owner && shared_is_dead(owner))
		__atomic_compare_exchange_n(&wake->owner, &owner, 0, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED);
}

/* Nothing is left of it, and nobody who looks at it takes the next one for it. */
static void free_slot(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	shared_space_leave(process->space, NULL);
	rumpel_token_take(kernel);
	process->space = NULL;
	shared_free_tids(process, 0);
	for (unsigned int w = 0; w < MOST_WAKES; w++)
		free_wake(&kernel->wakes[w]);
	rumpel_leave(kernel, false);
	if (process->pidfd)
		close(process->pidfd);
	process->pidfd = 0;
	process->parent = NULL;
	process->first = NULL;
	process->given_up = 0;
	process->only = 0;
	shared_process_change(process, process->word, PROCESS_FREE, 0);
}

/* What is over for good may be used again. True: there is something left. */
static bool sweep(struct rumpel_kernel *kernel)
{
	bool left = false;

	for (unsigned int i = 1; i < atomic_get(&instance->slots); i++) {
		struct rumpel_process *process = &instance->processes[i];

		if (process_state(process) == PROCESS_FORKED)
			left |= wait_for_child(kernel, process);
		if (process_state(process) != PROCESS_GONE)
			continue;
		if (has_tasks(kernel, process))
			left = true;
		else
			free_slot(kernel, process);
	}
	return left;
}

/* Somebody wants to join: whether it may, the socket's place in the file system has said. */
static void welcome(int listen)
{
	int socket = (int)bare_syscall(SYS_accept4, listen, 0, 0, SOCK_CLOEXEC);

	if (socket < 0)
		return;
	shared_send_descriptors(socket);
	close(socket);
}

void shared_reap(struct rumpel_kernel *kernel, int control, int listen)
{
	int epoll = (int)bare_syscall(SYS_epoll_create1, EPOLL_CLOEXEC), count;
	struct epoll_event events[EVENTS];
	uint64_t signals;
	bool left = false;

	watch(epoll, control, CONTROL);
	watch(epoll, instance->notify, NOTIFY);
	if (listen >= 0)
		watch(epoll, listen, LISTEN);
	for (;;) {
		count = (int)bare_syscall(SYS_epoll_wait, epoll, events, EVENTS,
					  left ? AGAIN_MS : -1);
		for (int i = 0; i < count; i++) {
			uint32_t what = events[i].data.u32;

			if (what == CONTROL)
				return;
			if (what == LISTEN)
				welcome(listen);
			if (what == NOTIFY &&
			    read(instance->notify, &signals, sizeof(signals)) > 0) {
				look(kernel, epoll);
				shared_owners_serve(kernel);
				if (atomic_get(&kernel->jobs.queued))
					rumpel_jobs_delegate(&kernel->jobs);
			}
			if (what < MOST_PROCESSES) {
				bare_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL,
					     instance->processes[what].pidfd, 0);
				died(kernel, &instance->processes[what]);
			}
		}
		left = sweep(kernel);
	}
}
