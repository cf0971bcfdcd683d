// SPDX-License-Identifier: GPL-2.0-only
/*
 * An epoll of the program's is two with one number, the host's and the kernel's: each has
 * the descriptors of its own, and a wait is for both. So what is shared by fork, copied by
 * dup or inherited by an execve is as it should be without more ado.
 */
#include "poll.h"

#include <linux/eventpoll.h>
#include <linux/fcntl.h>

#include "dispatch.h"
#include "files.h"

#define NS_PER_SEC 1000000000ll

long call_epoll_create(struct thread *t)
{
	long flags = t->regs.nr == __NR_epoll_create1 ? (long)t->regs.rdi : 0, fd = call_through(t);
	long kernel_fd;

	if (fd < 0 || !kernel_present)
		return fd;
	kernel_fd = fd < (long)FDS ? kernel(__NR_epoll_create1, flags) : -EMFILE;
	if (kernel_fd < 0) {
		host(__NR_close, fd);
		return kernel_fd;
	}
	if (kernel_fd != fd) {
		kernel(__NR_dup3, kernel_fd, fd, flags & EPOLL_CLOEXEC);
		kernel(__NR_close, kernel_fd);
	}
	files_own(t->files, fd, true);
	return fd;
}

/* Was one ever added to another? Then both kernels may tell of it, each for its half. */
static bool nested;

/*
 * What the host has found, `more` events behind `count` of the kernel's, without those that
 * are about the same: how many remain, or -EFAULT.
 */
static long merge(uint64_t at, long count, long more)
{
	struct epoll_event event, host_event;
	long left = more;

	for (long i = count; i < count + left; i++) {
		if (copy_in(&host_event, at + i * sizeof(event), sizeof(event)))
			return -EFAULT;
		for (long k = 0; k < count; k++) {
			if (copy_in(&event, at + k * sizeof(event), sizeof(event)))
				return -EFAULT;
			if (event.data != host_event.data)
				continue;
			event.events |= host_event.events;
			/* The last one takes the place of the one that goes. */
			if (copy_out(at + k * sizeof(event), &event, sizeof(event)) ||
			    copy_in(&event, at + (count + left - 1) * sizeof(event),
				    sizeof(event)) ||
			    copy_out(at + i * sizeof(event), &event, sizeof(event)))
				return -EFAULT;
			left--;
			i--;
			break;
		}
	}
	return left;
}

long call_epoll_ctl(struct thread *t)
{
	int fd = (int)t->regs.rdx;
	long result, others;

	if (is_reserved(t->files, fd))
		return -EBADF;
	if (!files_owned(t->files, fd) || !files_dual(t->files, (int)t->regs.rdi))
		return call_through(t);
	result = kernel_call(t);
	if (result || !files_dual(t->files, fd))
		return result;
	/* An epoll in an epoll. */
	nested = true;
	others = call_through(t);
	if (others && t->regs.rsi == EPOLL_CTL_ADD) {
		const unsigned long args[6] = { t->regs.rdi, EPOLL_CTL_DEL, fd };

		kernel_call_with(t, __NR_epoll_ctl, args);
	}
	return others;
}

/* The wait itself; timeout (NULL: for ever) is in monotonic time from now. */
static long wait_both(struct thread *t, timespec_t *timeout)
{
	int epoll = (int)t->regs.rdi, most = (int)t->regs.rdx, ready = 0;
	const unsigned long args[6] = { epoll, t->regs.rsi, most, (unsigned long)timeout };
	uint64_t rest = t->regs.rsi;
	struct pollfd also = { epoll, POLLIN, 0 };
	long result, more;

	result = kernel_poll(t, __NR_epoll_pwait2, args, &also, 1, &ready);
	if (ready <= 0 || (result < 0 && result != -EINTR) || result == most)
		return result;
	if (result < 0)
		result = 0;
	rest += result * sizeof(struct epoll_event);
	more = host(__NR_epoll_wait, epoll, rest, most - result, 0);
	if (nested && more > 0 && result > 0)
		more = merge(t->regs.rsi, result, more);
	return more >= 0 ? result + more : result ? result : more;
}

static int64_t now(void)
{
	timespec_t at;

	host(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &at);
	return at.tv_sec * NS_PER_SEC + at.tv_nsec;
}

/* Until there is something: one of several threads may find that another took it. */
static long wait_long(struct thread *t, timespec_t *timeout)
{
	int64_t end = timeout ? now() + timeout->tv_sec * NS_PER_SEC + timeout->tv_nsec : 0, left;
	timespec_t rest;
	long result;

	for (;;) {
		if (timeout) {
			left = end - now();
			if (left < 0)
				left = 0;
			rest = (timespec_t){ left / NS_PER_SEC, left % NS_PER_SEC };
		}
		result = wait_both(t, timeout ? &rest : NULL);
		if (result && (result != -EINTR || (t->work & WORK_PENDING)))
			return result;
		if (timeout && now() >= end)
			return 0;
	}
}

static long epoll_both(struct thread *t, timespec_t *timeout)
{
	if ((int)t->regs.rdx <= 0 || t->regs.rdx > 0x7fffffff / sizeof(struct epoll_event))
		return -EINVAL;
	if (timeout && !timeout->tv_sec && !timeout->tv_nsec) {
		long result = wait_both(t, timeout);

		return result == -EINTR && !(t->work & WORK_PENDING) ? 0 : result;
	}
	return wait_long(t, timeout);
}

static timespec_t *from_ms(timespec_t *timeout, int ms)
{
	if (ms < 0)
		return NULL;
	*timeout = (timespec_t){ ms / 1000, ms % 1000 * 1000000ll };
	return timeout;
}

long call_epoll_wait(struct thread *t)
{
	timespec_t timeout;

	if (!files_dual(t->files, (int)t->regs.rdi))
		return call_through(t);
	return epoll_both(t, from_ms(&timeout, (int)t->regs.r10));
}

/* epoll_pwait and epoll_pwait2 */
long call_epoll_pwait(struct thread *t)
{
	uint64_t mask_at = t->regs.r8, at = t->regs.r10;
	timespec_t timeout, *given = &timeout;
	long result;

	if (!files_dual(t->files, (int)t->regs.rdi))
		return call_masked(t, 4, mask_at, t->regs.r9);
	if (t->regs.nr == __NR_epoll_pwait)
		given = from_ms(&timeout, (int)at);
	else if (!at)
		given = NULL;
	else if (copy_in(&timeout, at, sizeof(timeout)))
		return -EFAULT;
	if (!mask_at)
		return epoll_both(t, given);
	if (t->regs.r9 != sizeof(mask_t))
		return -EINVAL;
	result = mask_begin(t, mask_at);
	if (result)
		return result;
	result = epoll_both(t, given);
	mask_end(t);
	return result;
}
