// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ends of processes. One that dies outside the kernel only loses its tasks: the
 * keeper ends them. One that held the token has left the kernel in the middle of
 * something: the kernel is lost, and all are told.
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

/* Its tasks end; nobody waits for them. */
static void end_tasks(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	struct rumpel_task *task;

	for (;;) {
		unsigned long kill[6] = { 0, SIGKILL };

		rumpel_token_take(kernel);
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
			shared_agent_call(SYS_tkill, kill);
		else if (task->caller.task)
			task_call(task, SYS_exit_group, 0);
	}
	rumpel_vcpu_run(kernel, NULL);
	rumpel_leave(kernel, false);
}

static void died(struct rumpel_kernel *kernel, struct rumpel_process *process)
{
	uint32_t holder = rumpel_token_holder(kernel);

	atomic_set(&process->state, PROCESS_GONE);
	if (holder && shared_tid_process(holder) == process)
		shared_rob(holder);
	end_tasks(kernel, process);
}

/* New processes, and those that were about to be forked when their parents died. */
static void look(struct rumpel_kernel *kernel, int epoll)
{
	for (unsigned int i = 1; i < MOST_PROCESSES; i++) {
		struct rumpel_process *process = &instance->processes[i];
		uint32_t state = atomic_get(&process->state);
		int fd;

		if (state == PROCESS_TAKEN && process->parent &&
		    atomic_get(&process->parent->state) != PROCESS_RUNS && !process->pid)
			died(kernel, process);
		if (state == PROCESS_FREE || state == PROCESS_GONE || !atomic_get(&process->pid) ||
		    process->pidfd >= 0)
			continue;
		fd = (int)bare_syscall(SYS_pidfd_open, process->pid, 0);
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

/* What is over for good may be used again. True: there is something left. */
static bool sweep(struct rumpel_kernel *kernel)
{
	bool left = false;

	for (unsigned int i = 1; i < MOST_PROCESSES; i++) {
		struct rumpel_process *process = &instance->processes[i];
		struct rumpel_process *parent = process->parent;

		if (atomic_get(&process->state) != PROCESS_GONE)
			continue;
		/* Its parent is about to say something of it. */
		if (has_tasks(kernel, process) ||
		    (parent && atomic_get(&parent->state) == PROCESS_RUNS)) {
			left = true;
			continue;
		}
		rumpel_token_take(kernel);
		shared_free_tids(process, 0);
		for (unsigned int w = 0; w < MOST_WAKES; w++)
			free_wake(&kernel->wakes[w]);
		shared_space_put(process->space);
		rumpel_leave(kernel, false);
		if (process->pidfd >= 0)
			close(process->pidfd);
		process->pidfd = -1;
		/* Nobody who looks at it takes the next one for it. */
		process->pid = 0;
		process->parent = NULL;
		process->space = NULL;
		atomic_set(&process->state, PROCESS_FREE);
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
			if (what == NOTIFY && read(instance->notify, &signals, sizeof(signals)) > 0)
				look(kernel, epoll);
			if (what < MOST_PROCESSES) {
				bare_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL,
					     instance->processes[what].pidfd, 0);
				died(kernel, &instance->processes[what]);
				look(kernel, epoll);
			}
		}
		left = sweep(kernel);
	}
}
