// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls of the host that any signal ends, whatever its handler says of restarts (signal(7)). A
 * library kernel's signals, which tell that pages were taken away, are none of the program's:
 * after one of those the call goes on, with the time that is left.
 */
#include "agent.h"

#include <linux/time.h>

#include "kernel.h"
#include "poll.h"

#define NS_PER_MS 1000000ll
#define NS_PER_SEC 1000000000ll

struct wait {
	timespec_t rest; /* what is left, as the host says */
	uint64_t rest_at; /* where the program wants that, 0: nowhere */
	int64_t end; /* of one of which the host does not say it; 0: another */
	int at; /* the argument that is the time in milliseconds then */
};

static int64_t now(void)
{
	timespec_t at;

	host(__NR_clock_gettime, CLOCK_MONOTONIC, &at);
	return at.tv_sec * NS_PER_SEC + at.tv_nsec;
}

static bool ends_early(long nr)
{
	switch (nr) {
	case __NR_poll:
	case __NR_ppoll:
	case __NR_select:
	case __NR_pselect6:
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_nanosleep:
	case __NR_clock_nanosleep:
	case __NR_pause:
	case __NR_rt_sigsuspend:
	case __NR_semop:
	case __NR_msgsnd:
	case __NR_msgrcv:
		return true;
	}
	return false;
}

/* Arguments such that the host says what is left, or that it is known. */
static long begin(struct wait *wait, long nr, long args[6])
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
		if ((int)args[3] > 0)
			wait->end = now() + (int)args[3] * NS_PER_MS;
		break;
	}
	return nr;
}

static void shorten(struct wait *wait, long nr, long args[6])
{
	int64_t left;

	if (nr == __NR_nanosleep && args[1] == (long)&wait->rest)
		args[0] = (long)&wait->rest;
	if (nr == __NR_clock_nanosleep && args[3] == (long)&wait->rest)
		args[2] = (long)&wait->rest;
	if (!wait->end)
		return;
	left = wait->end - now();
	args[wait->at] = left > 0 ? (left + NS_PER_MS - 1) / NS_PER_MS : 0;
}

long call_waiting(struct thread *t, long nr, const long given[6])
{
	long args[6] = { given[0], given[1], given[2], given[3], given[4], given[5] }, result;
	struct wait wait = { .end = 0 };
	bool again = false;

	if (!kernel_present || !ends_early(nr))
		return call_host(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
	nr = begin(&wait, nr, args);
	for (;;) {
		t->shot = false;
		result = call_host(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
		if (result != -EINTR || !t->shot || (t->work & WORK_PENDING))
			break;
		shorten(&wait, nr, args);
		again = true;
	}
	/* One of the program's came between two parts of it: not a second time from the start. */
	if (again && result == RESTART)
		result = -EINTR;
	if (result == -EINTR && wait.rest_at &&
	    copy_out(wait.rest_at, &wait.rest, sizeof(wait.rest)))
		result = -EFAULT;
	return result;
}
