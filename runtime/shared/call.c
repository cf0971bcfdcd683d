// SPDX-License-Identifier: GPL-2.0-only
/* System calls of programs, and what ends them early. */
#include "instance.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

long shared_call_any(long nr, const unsigned long args[6])
{
	struct rumpel_task *task = rumpel_self->task;
	long result;
	int status = rumpel_task_submit(task, 0, nr, args, &result);

	while (unlikely(status == 0 || status == -EINTR)) {
		if (rumpel_interrupted()) {
			rumpel_self->interrupted = 0;
			rumpel_task_cancel(task);
		}
		status = rumpel_task_wait(task, -1, &result);
	}
	return status == 1 ? result : status;
}

#define MAPPING_CALLS (1ull << SYS_mmap | 1ull << SYS_munmap | 1ull << SYS_mremap)

long shared_call(long nr, const unsigned long args[6])
{
	if (unlikely((unsigned long)nr < 64 && MAPPING_CALLS >> nr & 1))
		return shared_mappings_call(nr, args);
	return shared_call_any(nr, args);
}

void shared_interrupt(struct rumpel_local *local)
{
	struct rumpel_kernel *kernel = instance->kernel;
	struct rumpel_waiter *waiter = &local->task->waiting;
	int error = local->error;

	atomic_set(&local->interrupted, 1);
	/* It may be about to sleep, having looked already. */
	atomic_set(&waiter->word, 1);
	if (kernel->leader == waiter)
		rumpel_kick(kernel);
	if (waiter->wake_fd > 0)
		rumpel_eventfd_signal(waiter->wake_fd);
	local->error = error;
}

/* ---- with descriptors of the host ---- */

/* What is asked of a descriptor, which may be named several times. */
static uint32_t events_of(const struct pollfd *also, unsigned int count, int fd)
{
	short events = 0;

	for (unsigned int i = 0; i < count; i++)
		if (also[i].fd == fd)
			events |= also[i].events;
	return (uint32_t)(unsigned short)events;
}

/* Many are one to the core: a descriptor of epoll, whose own readiness is theirs. */
static int gather(struct pollfd *also, unsigned int count)
{
	int epoll = (int)bare_syscall(SYS_epoll_create1, EPOLL_CLOEXEC);

	for (unsigned int i = 0; i < count && epoll >= 0; i++) {
		struct epoll_event event = { .events = (uint32_t)(unsigned short)also[i].events };

		/* A file is always ready, and cannot be waited for: poll() says so below. */
		if (also[i].fd < 0 || bare_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, also[i].fd,
						   &event) != -EEXIST)
			continue;
		event.events = events_of(also, i + 1, also[i].fd);
		bare_syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_MOD, also[i].fd, &event);
	}
	return epoll;
}

/* As rumpel_task_wait_also. */
static int wait_also(struct rumpel_task *task, struct pollfd *also, unsigned int count,
		     long *result)
{
	struct pollfd one = { .fd = -1, .events = POLLIN };
	int status;

	if (!count)
		return rumpel_task_wait(task, -1, result);
	if (count > MOST_ALSO) {
		one.fd = gather(also, count);
		if (one.fd < 0)
			return one.fd;
		also = &one;
		count = 1;
	}
	status = rumpel_task_wait_also(task, -1, also, count, result);
	/* No eventfd is left. */
	if (status == -EMFILE)
		status = rumpel_task_wait(task, NS_PER_SEC / 1000, result);
	if (one.fd >= 0)
		close(one.fd);
	return status;
}

/* How many of them have something; most programs that poll have none of the host's. */
static int look(struct pollfd *also, unsigned int count)
{
	return count ? poll(also, count, 0) : 0;
}

long shared_poll(long nr, const unsigned long args[6], struct pollfd *also, unsigned int count,
		 int *ready)
{
	struct rumpel_task *task = rumpel_self->task;
	long result;
	int status = rumpel_task_submit(task, 0, nr, args, &result);

	/* One that sleeps looks at the others itself; not at files that gather() leaves out. */
	*ready = status == 1 || count > MOST_ALSO ? look(also, count) : 0;
	while (unlikely(status == 0 || status == -EINTR)) {
		if (rumpel_interrupted() || *ready > 0) {
			rumpel_self->interrupted = 0;
			rumpel_task_cancel(task);
			status = rumpel_task_wait(task, -1, &result);
		} else {
			status = wait_also(task, also, count, &result);
		}
		/* If the call has ended they are for the next one, which does not sleep then. */
		if (status != 1 || *ready > 0)
			*ready = look(also, count);
	}
	return status == 1 ? result : status;
}

/* ---- files from one process to another: pidfd_getfd(2) ---- */

#define agent_call(nr, ...) \
	rumpel_agent_call(instance->kernel, nr, (const unsigned long[6]){ __VA_ARGS__ })

long shared_give(int fd)
{
	struct rumpel_task *task = rumpel_self->task;
	long pidfd = agent_call(SYS_pidfd_open, (unsigned long)task_call(task, SYS_getpid)), number;

	if (pidfd < 0)
		return pidfd;
	number = agent_call(SYS_pidfd_getfd, (unsigned long)pidfd, (unsigned long)fd);
	agent_call(SYS_close, (unsigned long)pidfd);
	return number;
}

long shared_take(long number)
{
	struct rumpel_task *task = rumpel_self->task;
	long pidfd = task_call(task, SYS_pidfd_open, 1), fd;

	if (pidfd < 0)
		return pidfd;
	fd = task_call(task, SYS_pidfd_getfd, (unsigned long)pidfd, (unsigned long)number);
	task_call(task, SYS_close, (unsigned long)pidfd);
	agent_call(SYS_close, (unsigned long)number);
	return fd;
}

long shared_kill(long nr, const unsigned long args[6])
{
	struct rumpel_kernel *kernel = instance->kernel;
	long result;

	rumpel_token_take(kernel);
	result = bare_syscall(nr, args[0], args[1], args[2]);
	rumpel_leave(kernel, false);
	return result;
}
