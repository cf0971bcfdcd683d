// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of the host that a signal ends whatever its handler says of restarts (signal(7)). A
 * library kernel's signals, which tell that pages were taken away, are none of the program's:
 * after one of those the call goes on, with the time that is left.
 */
#include "agent.h"

#include <linux/futex.h>
#include <linux/time.h>

#include "kernel.h"
#include "poll.h"

#define NS_PER_MS 1000000ll
#define NS_PER_SEC 1000000000ll
#define LONGEST (1ll << 32) /* seconds; whoever says more means for ever */
#define SOL_SOCKET 1
#define SO_RCVTIMEO 66 /* with 64 bits of seconds (asm-generic/socket.h) */
#define SO_SNDTIMEO 67

struct wait {
	timespec_t rest; /* what is left; of some calls the host says it */
	uint64_t rest_at; /* where the program wants that, 0: nowhere */
	int64_t end; /* when it is over, if the host does not say; 0: never, or it does */
	int at; /* the argument that is the time */
	bool ms; /* in milliseconds; else a timespec */
};

static int64_t now(const struct thread *t)
{
	timespec_t at;

	if (!t->local.clock_gettime ||
	    t->local.clock_gettime(CLOCK_MONOTONIC, (struct timespec *)&at))
		host(__NR_clock_gettime, CLOCK_MONOTONIC, &at);
	return at.tv_sec * NS_PER_SEC + at.tv_nsec;
}

static int64_t in_ns(const timespec_t *time)
{
	return time->tv_sec * NS_PER_SEC + time->tv_nsec;
}

static bool ends_early(long nr, const long args[6])
{
	switch (nr) {
	case __NR_poll:
	case __NR_ppoll:
	case __NR_select:
	case __NR_pselect6:
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
	case __NR_nanosleep:
	case __NR_clock_nanosleep:
	case __NR_pause:
	case __NR_rt_sigsuspend:
	case __NR_rt_sigtimedwait:
	case __NR_semop:
	case __NR_semtimedop:
	case __NR_msgsnd:
	case __NR_msgrcv:
	case __NR_io_getevents:
	case __NR_io_pgetevents:
		return true;
	case __NR_futex:
		return args[3];
	}
	return false;
}

/* A time from now, in argument number at. What is wrong with it the host says. */
static void time_from_now(const struct thread *t, struct wait *wait, const long args[6], int at)
{
	if (!args[at] || copy_in(&wait->rest, args[at], sizeof(wait->rest)) ||
	    wait->rest.tv_sec < 0 || wait->rest.tv_sec > LONGEST ||
	    (uint64_t)wait->rest.tv_nsec >= NS_PER_SEC)
		return;
	wait->at = at;
	wait->end = now(t) + in_ns(&wait->rest);
}

/* Arguments such that the host says what is left, or that it is known. */
static long begin(const struct thread *t, struct wait *wait, long nr, long args[6])
{
	int sleeper = nr == __NR_nanosleep ? 0 : 2;

	switch (nr) {
	case __NR_nanosleep:
	case __NR_clock_nanosleep:
		if (sleeper && (args[1] & TIMER_ABSTIME))
			break;
		wait->rest_at = args[sleeper + 1];
		args[sleeper + 1] = (long)&wait->rest;
		break;
	case __NR_poll:
		if ((int)args[2] <= 0)
			break;
		wait->rest = (timespec_t){ (int)args[2] / 1000, (int)args[2] % 1000 * NS_PER_MS };
		args[2] = (long)&wait->rest;
		args[3] = args[4] = 0;
		return __NR_ppoll;
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
		wait->at = 3;
		wait->ms = true;
		if ((int)args[3] > 0)
			wait->end = now(t) + (int)args[3] * NS_PER_MS;
		break;
	case __NR_rt_sigtimedwait:
		time_from_now(t, wait, args, 2);
		break;
	case __NR_semtimedop:
	case __NR_epoll_pwait2:
		time_from_now(t, wait, args, 3);
		break;
	case __NR_futex:
		/* Of the others it is a moment. */
		if (((int)args[1] & FUTEX_CMD_MASK) == FUTEX_WAIT)
			time_from_now(t, wait, args, 3);
		break;
	case __NR_io_getevents:
	case __NR_io_pgetevents:
		time_from_now(t, wait, args, 4);
		break;
	}
	return nr;
}

/* *wait->rest is what is left, of one that has an end. */
static void take_time(const struct thread *t, struct wait *wait)
{
	int64_t left = wait->end - now(t);

	if (left < 0)
		left = 0;
	wait->rest = (timespec_t){ left / NS_PER_SEC, left % NS_PER_SEC };
}

static void shorten(const struct thread *t, struct wait *wait, long nr, long args[6])
{
	if (nr == __NR_nanosleep && args[1] == (long)&wait->rest)
		args[0] = (long)&wait->rest;
	if (nr == __NR_clock_nanosleep && args[3] == (long)&wait->rest)
		args[2] = (long)&wait->rest;
	if (!wait->end)
		return;
	take_time(t, wait);
	args[wait->at] =
		wait->ms ? (in_ns(&wait->rest) + NS_PER_MS - 1) / NS_PER_MS : (long)&wait->rest;
}

/* ---- sockets of the host's, whose own timeouts make a call one that ends early ---- */

static short events_of(long nr)
{
	switch (nr) {
	case __NR_read:
	case __NR_readv:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_accept:
	case __NR_accept4:
		return POLLIN;
	case __NR_write:
	case __NR_writev:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_sendmmsg:
		return POLLOUT;
	}
	return 0;
}

/*
 * Wait until a socket is ready, if it has a timeout: that began with the call, which nobody has
 * looked at the clock for, so it is taken to begin now, the first time. 0: make the call again.
 */
static long wait_for_socket(struct thread *t, struct wait *wait, long nr, int fd)
{
	struct pollfd polled = { fd, events_of(nr), 0 };
	int option = polled.events == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO, size = sizeof(wait->rest);
	long result;

	if (!polled.events || host(__NR_getsockopt, fd, SOL_SOCKET, option, &wait->rest, &size) ||
	    !in_ns(&wait->rest) || wait->rest.tv_sec > LONGEST)
		return 0;
	if (!wait->end)
		wait->end = now(t) + in_ns(&wait->rest);
	do {
		take_time(t, wait);
		t->shot = false;
		result = call_host(__NR_ppoll, (long)&polled, 1, (long)&wait->rest, 0,
				   sizeof(mask_t), 0);
	} while (result == -EINTR && t->shot && !(t->work & WORK_PENDING));
	if (!result)
		return -EAGAIN;
	return result == RESTART ? -EINTR : result > 0 ? 0 : result;
}

/* ---- */

long call_waiting(struct thread *t, long nr, const long given[6])
{
	long args[6] = { given[0], given[1], given[2], given[3], given[4], given[5] }, result;
	bool early = ends_early(nr, args), again = false;
	struct wait wait = { .end = 0 };

	if (!kernel_present)
		return call_host(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	if (early)
		nr = begin(t, &wait, nr, args);
	for (;;) {
		t->shot = false;
		result = call_host(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
		/* Whatever close() says, the number is gone: close(2). */
		if (result != -EINTR || !t->shot || (t->work & WORK_PENDING) || nr == __NR_close)
			break;
		if (early) {
			shorten(t, &wait, nr, args);
		} else {
			result = wait_for_socket(t, &wait, nr, (int)args[0]);
			if (result)
				break;
		}
		again = true;
	}
	/* One of the program's came between two parts of it: not a second time from the start. */
	if (again && (early || wait.end) && result == RESTART)
		result = -EINTR;
	if (result == -EINTR && wait.rest_at &&
	    copy_out(wait.rest_at, &wait.rest, sizeof(wait.rest)))
		result = -EFAULT;
	return result;
}
