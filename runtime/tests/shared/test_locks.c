// SPDX-License-Identifier: GPL-2.0-only
/* Locks of the runtime whose owners are killed, and what they were in the middle of. */
#define RUMPEL_SHARED
#include "../../shared/instance.h"

#include "guest.h"

#include <netinet/in.h>

static void die_with(pthread_mutex_t *lock)
{
	uint32_t *word = (uint32_t *)lock, seen;

	/* As pthread_mutex_lock() of bare/thread.c does, also after an owner who died. */
	do {
		while ((seen = atomic_get(word)) && seen < MOST_THREADS)
			;
	} while (!__atomic_compare_exchange_n(word, &seen, local.tid, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	kill(getpid(), SIGKILL);
}

static void die_with_heap(void *argument)
{
	(void)argument;
	die_with(&instance->heap_lock);
}

static void die_with_jobs(void *argument)
{
	(void)argument;
	die_with(&instance->kernel->jobs.lock);
}

static void die_with_agent(void *argument)
{
	(void)argument;
	die_with(&instance->kernel->agent_lock);
}

static void fork_once(void *argument)
{
	pid_t child = fork_attached();

	(void)argument;
	if (!child)
		leave(0);
	expect_status(child, 0);
}

/* Others take what the dead had, soon; the kernel ends in order. */
static void owners_die(void)
{
	static void (*const deaths[])(void *argument) = { die_with_heap, die_with_jobs,
							  die_with_agent };
	struct guest guest = guest_start(NULL);

	for (int i = 0; i < 30; i++) {
		expect_status(spawn(deaths[i % 3], NULL), SIGKILL);
		expect_status(spawn(fork_once, NULL), 0);
	}
	expect_status(spawn(die_with_agent, NULL), SIGKILL);
	guest_end(&guest, 0);
}

/* ---- the agent: pid 1's task, which makes calls for all ---- */

static const struct sockaddr_in server = { .sin_family = AF_INET,
					   .sin_port = 0x5000, /* 80 */
					   .sin_addr.s_addr = 0x0100007f };

/* Two ends of a connection. */
static void connect_ends(long ends[2])
{
	long listener = call(SYS_socket, AF_INET, SOCK_STREAM, 0);

	EQUAL(call(SYS_bind, listener, ptr(&server), sizeof(server)), 0);
	EQUAL(call(SYS_listen, listener, 1), 0);
	ends[0] = call(SYS_socket, AF_INET, SOCK_STREAM, 0);
	EQUAL(call(SYS_connect, ends[0], ptr(&server), sizeof(server)), 0);
	ends[1] = call(SYS_accept, listener, 0, 0);
	CHECK(ends[1] >= 0);
	EQUAL(call(SYS_close, listener), 0);
}

/* One descriptor may be opened, and no more. */
static void limit_descriptors(long fd)
{
	struct rlimit limit;
	long next = call(SYS_dup, fd);

	CHECK(next >= 0);
	limit.rlim_cur = limit.rlim_max = next + 1;
	EQUAL(call(SYS_close, next), 0);
	EQUAL(call(SYS_prlimit64, 0, RLIMIT_NOFILE, ptr(&limit), 0), 0);
}

/*
 * The agent closes the last descriptor of a connection that lingers, since this process can
 * take it no more: that takes longer than the test may.
 */
static void wait_for_agent(long fd)
{
	const struct linger linger = { 1, 200 };
	static char text[64 << 10];
	int pipe[2];
	long number;

	while (call(SYS_sendto, fd, ptr(text), sizeof(text), MSG_DONTWAIT, 0, 0) > 0)
		;
	EQUAL(call(SYS_setsockopt, fd, SOL_SOCKET, SO_LINGER, ptr(&linger), sizeof(linger)), 0);
	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	number = rumpel_shared->give((int)fd);
	CHECK(number >= 0);
	EQUAL(call(SYS_dup2, pipe[0], fd), fd);
	limit_descriptors(fd);
	rumpel_shared->take(number);
	abort();
}

static void agent_is_left(void *argument)
{
	long ends[2];
	int begin[2];
	pid_t child;
	char byte;

	EQUAL(pipe(begin), 0);
	connect_ends(ends);
	child = fork_attached();
	if (!child) {
		/* Its descriptor of that end must be the last. */
		EQUAL(read(begin[0], &byte, 1), 1);
		call(SYS_close, ends[1]);
		wait_for_agent(ends[0]);
	}
	EQUAL(call(SYS_close, ends[0]), 0);
	EQUAL(write(begin[1], "b", 1), 1);
	usleep(200000);
	EQUAL(waitpid(child, NULL, WNOHANG), 0);
	signal_one(child, SIGKILL);
	expect_status(child, SIGKILL);
	fork_once(argument);
}

static void agents_user_dies(void)
{
	in_guest(agent_is_left);
}

static const struct test tests[] = {
	{ owners_die, "what the dead had locked is free" },
	{ agents_user_dies, "one that is killed while the agent works for it" },
};

TEST_MAIN(tests)
