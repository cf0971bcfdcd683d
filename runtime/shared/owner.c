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
/* A request that the keeper sees to: from then on the descriptor is its own to close. */
#define SERVED UINT32_MAX
#define NO_KEY UINT64_MAX

#define agent(nr, ...) rumpel_agent_call(kernel, nr, (const unsigned long[6]){ __VA_ARGS__ })

/* ---- in any process ---- */

/* Token held. The one of this file, or NULL. */
static struct file_owner *find(uint64_t inode)
{
	for (unsigned int i = 0; i < MOST_OWNERS; i++)
		if (instance->owners[i].inode == inode)
			return &instance->owners[i];
	return NULL;
}

/* Token held. In turn: sockets that are closed do not say so. NULL: each has a request. */
static struct file_owner *take(uint64_t inode)
{
	struct file_owner *owner;

	for (unsigned int i = 0; i < MOST_OWNERS; i++) {
		owner = &instance->owners[instance->next_owner++ % MOST_OWNERS];
		if (atomic_get(&owner->request))
			continue;
		*owner = (struct file_owner){ .inode = inode, .use = owner->use + 1 };
		return owner;
	}
	return NULL;
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

/* Until the keeper has seen to what there is. 0, or the kernel's end. */
static int wait_for(struct file_owner *owner)
{
	struct rumpel_kernel *kernel = instance->kernel;
	uint32_t request;

	while ((request = atomic_get(&owner->request)) && !rumpel_kernel_end(kernel)) {
		if (rumpel_futex_wait(&owner->request, request, rumpel_host_now() + NS_PER_SEC) !=
		    -ETIMEDOUT)
			continue;
		rumpel_token_take(kernel);
		rumpel_look_around(kernel);
		rumpel_leave(kernel, false);
	}
	return rumpel_kernel_end(kernel);
}

int shared_set_owner(int fd, const struct rumpel_owner *wanted)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct file_owner *owner;
	uint32_t before;
	uint64_t inode;
	long number = inode_of(fd, &inode);
	int error;

	if (!number)
		number = shared_give(fd);
	if (number < 0)
		return (int)number;
	rumpel_token_take(kernel);
	while (!(owner = find(inode)) && !(owner = take(inode))) {
		rumpel_leave(kernel, false);
		error = wait_for(instance->owners);
		if (error)
			return error;
		rumpel_token_take(kernel);
	}
	owner->owner = *wanted;
	owner->fd = fd;
	before = __atomic_exchange_n(&owner->request, (uint32_t)number + 1, __ATOMIC_SEQ_CST);
	rumpel_leave(kernel, false);
	shared_notify();
	/* Another thread's: what it wanted is overwritten, and it waits for this one. */
	if (before && before != SERVED)
		agent(SYS_close, before - 1);
	return wait_for(owner);
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

/* What an event says of whose file it is: not of the one that had the entry before. */
static uint64_t key_of(const struct file_owner *owner)
{
	return (uint64_t)owner->use << 32 | (uint64_t)(owner - instance->owners);
}

static void tell(uint64_t key, uint32_t events)
{
	const struct file_owner *owner = &instance->owners[(uint32_t)key % MOST_OWNERS];

	if (!owner->owner.id || key_of(owner) != key)
		return;
	if (events & EPOLLPRI)
		send(owner, SIGURG, events);
	if (owner->owner.async)
		send(owner, owner->owner.signal ? owner->owner.signal : SIGIO, events);
}

/* Locked. All that there is; of the file with that key, if any, but what it `shows` anyway. */
static void fetch(struct rumpel_kernel *kernel, uint64_t key, uint32_t shows)
{
	struct epoll_event events[EVENTS];
	long count;

	do {
		count = agent(SYS_epoll_wait, (unsigned long)instance->owners_epoll - 1,
			      (unsigned long)events, EVENTS, 0);
		for (long i = 0; i < count; i++) {
			uint32_t old = events[i].data.u64 == key ? shows : 0;

			if (events[i].events & ~old)
				tell(events[i].data.u64, events[i].events);
		}
	} while (count == EVENTS);
}

static void *owners_main(void *argument)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct pollfd epoll = { (int)instance->owners_epoll - 1, POLLIN, 0 };
	long result;

	do {
		result = task_call(argument, SYS_poll, (unsigned long)&epoll, 1, (unsigned long)-1);
		if (result <= 0)
			continue;
		pthread_mutex_lock(&instance->owners_lock);
		fetch(kernel, NO_KEY, 0);
		pthread_mutex_unlock(&instance->owners_lock);
	} while (result >= 0 || result == -EINTR);
	return NULL;
}

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

/*
 * An epoll begins with what there is, a signal comes when there is more: so what it begins
 * with is fetched here, before anybody is told that it has begun. Also what came before of a
 * file that it knows.
 */
static void enter(struct rumpel_kernel *kernel, const struct file_owner *owner, long number)
{
	unsigned long epoll = instance->owners_epoll - 1;
	struct epoll_event event = { .events = EPOLLPRI | EPOLLET, .data.u64 = key_of(owner) };
	struct pollfd now = { NUMBER, 0, 0 };

	if (owner->owner.async)
		event.events |= EPOLLIN | EPOLLOUT | EPOLLRDHUP;
	now.events = (short)event.events;
	pthread_mutex_lock(&instance->owners_lock);
	agent(SYS_dup3, number, NUMBER, O_CLOEXEC);
	agent(SYS_poll, (unsigned long)&now, 1, 0);
	fetch(kernel, NO_KEY, 0);
	agent(SYS_epoll_ctl, epoll, EPOLL_CTL_DEL, NUMBER, 0);
	if (owner->owner.id)
		agent(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, NUMBER, (unsigned long)&event);
	agent(SYS_close, NUMBER);
	fetch(kernel, event.data.u64, (uint32_t)(unsigned short)now.revents);
	pthread_mutex_unlock(&instance->owners_lock);
}

static void serve(struct rumpel_kernel *kernel, struct file_owner *owner)
{
	uint32_t request;

	/* Again, if there is another one by then. */
	do {
		request = __atomic_exchange_n(&owner->request, SERVED, __ATOMIC_SEQ_CST);
		if (instance->owners_epoll || begin(kernel) == 0)
			enter(kernel, owner, request - 1);
		agent(SYS_close, request - 1);
		request = SERVED;
	} while (!__atomic_compare_exchange_n(&owner->request, &request, 0, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	rumpel_futex_wake(&owner->request, INT32_MAX);
}

void shared_owners_serve(struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < MOST_OWNERS; i++)
		if (atomic_get(&instance->owners[i].request))
			serve(kernel, &instance->owners[i]);
}
