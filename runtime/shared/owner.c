// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals of descriptors (F_SETOWN, O_ASYNC of fcntl(2)). The kernel's own would end its task,
 * whose handlers are host code; so it is told of no owner, and the keeper waits for all such
 * descriptors with an epoll of pid 1's, and sends the host's signals. The epoll has no hold
 * of a file: what all have closed is gone from it.
 */
#include "instance.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../bare/bare.h"

/* An epoll knows a file by a descriptor's number, too: this is it for all, for a moment. */
#define NUMBER 100000
#define EVENTS 16

/* ---- in any process ---- */

/* Token held. The one of this file, or NULL. */
static struct file_owner *find(uint64_t inode)
{
	for (unsigned int i = 0; i < MOST_OWNERS; i++)
		if (instance->owners[i].inode == inode)
			return &instance->owners[i];
	return NULL;
}

/* Token held. In turn: sockets that are closed do not say so. */
static struct file_owner *take(uint64_t inode)
{
	struct file_owner *owner = &instance->owners[instance->next_owner++ % MOST_OWNERS];

	*owner = (struct file_owner){ .inode = inode };
	return owner;
}

static long inode_of(int fd, uint64_t *inode)
{
	struct stat status;
	long error =
		task_call(rumpel_self->task, SYS_fstat, (unsigned long)fd, (unsigned long)&status);

	*inode = status.st_ino;
	return error;
}

int shared_get_owner(int fd, struct rumpel_owner *result)
{
	const struct file_owner *owner;
	uint64_t inode;
	long error = inode_of(fd, &inode);

	if (error)
		return (int)error;
	rumpel_token_take(instance->kernel);
	owner = find(inode);
	*result = owner ? owner->owner : (struct rumpel_owner){ .type = F_OWNER_PID };
	rumpel_leave(instance->kernel, false);
	return 0;
}

int shared_set_owner(int fd, const struct rumpel_owner *wanted)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct file_owner *owner;
	uint32_t request;
	uint64_t inode;
	long number = inode_of(fd, &inode);

	if (!number)
		number = shared_give(fd);
	if (number < 0)
		return (int)number;
	rumpel_token_take(kernel);
	owner = find(inode);
	if (!owner)
		owner = take(inode);
	owner->owner = *wanted;
	owner->fd = fd;
	atomic_set(&owner->request, (uint32_t)number + 1);
	rumpel_leave(kernel, false);
	shared_notify();
	while ((request = atomic_get(&owner->request)) && !rumpel_kernel_end(kernel))
		rumpel_futex_wait(&owner->request, request, rumpel_host_now() + NS_PER_SEC);
	return rumpel_kernel_end(kernel);
}

/* ---- in the keeper ---- */

static void send(const struct file_owner *owner, int signal, uint32_t events)
{
	const struct rumpel_owner *whose = &owner->owner;
	siginfo_t info = { .si_signo = signal, .si_code = SI_SIGIO };

	info.si_fd = owner->fd;
	info.si_band = events;
	if (whose->type == F_OWNER_TID)
		bare_syscall(SYS_tkill, whose->id, signal);
	else if (whose->type == F_OWNER_PID && whose->signal && signal != SIGURG)
		bare_syscall(SYS_rt_sigqueueinfo, whose->id, signal, &info);
	else
		bare_syscall(SYS_kill, whose->type == F_OWNER_PGRP ? -whose->id : whose->id,
			     signal);
}

static void tell(const struct epoll_event *event)
{
	struct file_owner *owner = &instance->owners[event->data.u32 % MOST_OWNERS];
	bool skips = owner->skips;

	owner->skips = false;
	if (!owner->owner.id || skips)
		return;
	if (event->events & EPOLLPRI)
		send(owner, SIGURG, event->events);
	if (owner->owner.async)
		send(owner, owner->owner.signal ? owner->owner.signal : SIGIO, event->events);
}

static void *owners_main(void *argument)
{
	struct rumpel_task *task = argument;
	struct epoll_event events[EVENTS];
	long count;

	do {
		count = task_call(task, SYS_epoll_wait, (unsigned long)instance->owners_epoll - 1,
				  (unsigned long)events, EVENTS, (unsigned long)-1);
		for (long i = 0; i < count; i++)
			tell(&events[i]);
	} while (count >= 0 || count == -EINTR);
	return NULL;
}

#define agent(nr, ...) rumpel_agent_call(kernel, nr, (const unsigned long[6]){ __VA_ARGS__ })

static long begin(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;
	pthread_t thread;
	int error;
	long epoll = agent(SYS_epoll_create1, EPOLL_CLOEXEC);

	if (epoll < 0)
		return epoll;
	instance->owners_epoll = epoll + 1;
	error = rumpel_task_create(kernel, 0, &task);
	return error ? error : -pthread_create(&thread, NULL, owners_main, task);
}

static void serve(struct rumpel_kernel *kernel, struct file_owner *owner)
{
	unsigned long number = owner->request - 1;
	struct epoll_event event = {
		.events = EPOLLPRI | EPOLLET,
		.data.u32 = (uint32_t)(owner - instance->owners),
	};

	if (owner->owner.async)
		event.events |= EPOLLIN | EPOLLOUT | EPOLLRDHUP;
	if (instance->owners_epoll || begin(kernel) == 0) {
		unsigned long epoll = instance->owners_epoll - 1;
		struct pollfd now = { NUMBER, (short)event.events, 0 };

		agent(SYS_dup3, number, NUMBER, O_CLOEXEC);
		agent(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, NUMBER, 0);
		/* An epoll begins with what there is, a signal comes when there is more. */
		owner->skips = agent(SYS_poll, (unsigned long)&now, 1, 0) > 0;
		if (owner->owner.id)
			agent(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, NUMBER, (unsigned long)&event);
		agent(SYS_close, NUMBER);
	}
	agent(SYS_close, number);
	atomic_set(&owner->request, 0);
	rumpel_futex_wake(&owner->request, INT32_MAX);
}

void shared_owners_serve(struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < MOST_OWNERS; i++)
		if (atomic_get(&instance->owners[i].request))
			serve(kernel, &instance->owners[i]);
}
