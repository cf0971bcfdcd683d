// SPDX-License-Identifier: GPL-2.0-only
/*
 * The housekeeper: a thread that runs a kernel whose callers are elsewhere, so
 * that its timers and its network go on.
 *
 * While callers come and go it only looks in every millisecond, for to hand it
 * the lead each time would cost more than most calls do. It then also sees to
 * the timers of a leader who sleeps: its one timer of the host's is cheaper than
 * one for each sleep. When callers stay away it leads, and then an idle kernel
 * costs nothing; when one of them leads and no call is made it rests.
 */
#include "core.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAP (NS_PER_SEC / 1000)
#define QUIET_NAPS 10
#define AGAIN (NS_PER_SEC / 10000)

static void wake(struct rumpel_housekeeper *housekeeper)
{
	__atomic_fetch_add(&housekeeper->word, 1, __ATOMIC_SEQ_CST);
	rumpel_futex_wake(&housekeeper->word, 1);
}

/* Token held: the first who needs it in the child of a fork makes one. */
static void come_back(struct rumpel_kernel *kernel)
{
	if (kernel->housekeeper.state != HOUSEKEEPER_ABSENT || kernel->halting ||
	    atomic_get(&kernel->state) != RUMPEL_RUNNING)
		return;
	/* No thread to be had: the next one tries again. */
	if (rumpel_housekeeper_start(kernel) < 0)
		atomic_set(&kernel->housekeeper.state, HOUSEKEEPER_ABSENT);
}

bool rumpel_housekeeper_rests(struct rumpel_kernel *kernel)
{
	come_back(kernel);
	return kernel->housekeeper.state == HOUSEKEEPER_RESTS;
}

void rumpel_housekeeper_call(struct rumpel_kernel *kernel)
{
	uint32_t state = atomic_get(&kernel->housekeeper.state);

	/* If it naps it will look soon enough: to wake it for each packet costs half of them. */
	if (state == HOUSEKEEPER_RESTS)
		wake(&kernel->housekeeper);
	/* Whoever has the token sees to it when he leaves. */
	if (unlikely(state == HOUSEKEEPER_ABSENT) && rumpel_token_try(kernel)) {
		come_back(kernel);
		rumpel_token_give(kernel);
	}
}

void rumpel_housekeeper_forked(struct rumpel_kernel *kernel)
{
	struct rumpel_housekeeper *housekeeper = &kernel->housekeeper;

	if (housekeeper->thread)
		housekeeper->state = HOUSEKEEPER_ABSENT;
	housekeeper->thread = 0;
	housekeeper->looks = 0;
}

/* Token held; free while it sleeps. */
static void doze(struct rumpel_kernel *kernel, enum housekeeper_state state, uint64_t until)
{
	struct rumpel_housekeeper *housekeeper = &kernel->housekeeper;
	uint32_t word = atomic_get(&housekeeper->word);
	uint64_t again = AGAIN;

	atomic_set(&housekeeper->state, state);
	housekeeper->looks = state == HOUSEKEEPER_NAPS ? until : 0;
	rumpel_leave(kernel, false);
	rumpel_futex_wait(&housekeeper->word, word, until);
	/*
	 * Callers who are in and out all the time look at timers themselves: do not disturb,
	 * and less and less. One that is in for long looks when it leaves.
	 */
	while (!rumpel_token_try(kernel)) {
		if (state != HOUSEKEEPER_NAPS || atomic_get(&housekeeper->word) != word) {
			rumpel_token_take(kernel);
			break;
		}
		relaxed_set(&housekeeper->overdue, true);
		rumpel_futex_wait(&housekeeper->word, word, rumpel_host_now() + again);
		if (again < NAP)
			again *= 2;
	}
	housekeeper->looks = 0;
	atomic_set(&housekeeper->state, HOUSEKEEPER_NAPS);
}

static void nap(struct rumpel_kernel *kernel)
{
	unsigned int quiet = 0;
	uint64_t calls, until, deadline;

	while (quiet < QUIET_NAPS && !kernel->housekeeper.stop) {
		calls = kernel->calls + 1; /* that of doze() */
		until = rumpel_host_now() + NAP;
		deadline = rumpel_next_deadline(kernel);
		doze(kernel, HOUSEKEEPER_NAPS, deadline < until ? deadline : until);
		quiet = calls == kernel->calls ? quiet + 1 : 0;
		if (!kernel->leader || atomic_get(&kernel->asleep))
			rumpel_vcpu_run(kernel, NULL);
	}
}

/* Breakpoints of a debugger are in private pages of the text, which must stay. */
static bool is_traced(void)
{
	char status[4096], *line;
	ssize_t len;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	len = read(fd, status, sizeof(status) - 1);
	close(fd);
	status[len > 0 ? len : 0] = 0;
	line = strstr(status, "\nTracerPid:\t");
	return line && line[12] != '0';
}

/*
 * Booting has touched most of the kernel's text, and what an idle kernel needs of
 * it is little: what is needed comes back from the page cache, 64 KiB at a time.
 */
static void let_text_go(struct rumpel_kernel *kernel)
{
	uint64_t start = ((uint64_t)kernel->image->text_start + PAGE - 1) & ~(PAGE - 1);
	uint64_t end = (uint64_t)kernel->image->text_end & ~(PAGE - 1);

	rumpel_leave(kernel, false);
	if (!is_traced())
		madvise((void *)start, end - start, MADV_DONTNEED);
	rumpel_token_take(kernel);
}

/* Until callers come back. */
static void lead(struct rumpel_kernel *kernel)
{
	struct rumpel_waiter *self = &kernel->housekeeper.waiter;
	uint64_t calls = kernel->calls;

	atomic_set(&kernel->housekeeper.state, HOUSEKEEPER_LEADS);
	kernel->leader = self;
	do {
		rumpel_vcpu_run(kernel, NULL);
		if (atomic_get(&kernel->jobs.queued))
			rumpel_jobs_delegate(&kernel->jobs);
		rumpel_lead_sleep(kernel, self, NEVER);
	} while (kernel->leader == self && kernel->calls == calls && !kernel->housekeeper.stop &&
		 atomic_get(&kernel->state) == RUMPEL_RUNNING);
	if (kernel->leader == self)
		kernel->leader = NULL;
	atomic_set(&kernel->housekeeper.state, HOUSEKEEPER_NAPS);
	rumpel_vcpu_run(kernel, NULL);
}

/* The leader has had something to do for longer than it would take a thread that runs. */
static bool is_late(struct rumpel_kernel *kernel)
{
	uint64_t deadline = rumpel_next_deadline(kernel);

	if (kernel->watches)
		rumpel_watches_poll(kernel);
	return rumpel_vcpu_has_work(kernel) ||
	       (deadline != NEVER && deadline + 2 * NAP < rumpel_host_now());
}

/* While callers lead; unless their process does not run (rumpel_rest_limit). */
static void rest(struct rumpel_kernel *kernel)
{
	uint32_t word = atomic_get(&kernel->housekeeper.word);

	do {
		doze(kernel, HOUSEKEEPER_RESTS, rumpel_rest_limit());
		if (kernel->leader && rumpel_rest_limit() != NEVER && is_late(kernel))
			kernel->leader = NULL;
	} while (kernel->leader && atomic_get(&kernel->housekeeper.word) == word &&
		 !kernel->housekeeper.stop && atomic_get(&kernel->state) == RUMPEL_RUNNING);
}

static void *housekeeper_main(void *argument)
{
	struct rumpel_kernel *kernel = argument;
	bool first = true;

	rumpel_token_take(kernel);
	while (!kernel->housekeeper.stop && atomic_get(&kernel->state) == RUMPEL_RUNNING) {
		nap(kernel);
		if (kernel->housekeeper.stop)
			break;
		if (first)
			let_text_go(kernel);
		first = false;
		if (kernel->leader)
			rest(kernel);
		else
			lead(kernel);
	}
	atomic_set(&kernel->housekeeper.state, HOUSEKEEPER_NONE);
	rumpel_leave(kernel, false);
	return NULL;
}

int rumpel_housekeeper_start(struct rumpel_kernel *kernel)
{
	kernel->housekeeper.state = HOUSEKEEPER_NAPS;
	if (pthread_create(&kernel->housekeeper.thread, NULL, housekeeper_main, kernel) == 0)
		return 0;
	kernel->housekeeper.state = HOUSEKEEPER_NONE;
	kernel->housekeeper.thread = 0; /* it may have been written to */
	return -EAGAIN;
}

void rumpel_housekeeper_stop(struct rumpel_kernel *kernel)
{
	if (!kernel->housekeeper.thread)
		return;
	rumpel_token_take(kernel);
	kernel->housekeeper.stop = true;
	rumpel_token_give(kernel);
	rumpel_kick(kernel);
	wake(&kernel->housekeeper);
	pthread_join(kernel->housekeeper.thread, NULL);
	kernel->housekeeper.thread = 0;
}
