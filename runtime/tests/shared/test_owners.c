// SPDX-License-Identifier: GPL-2.0-only
/* Signals of descriptors: each comes, to whom it is meant for, and no file is kept open. */
#include "guest.h"

#include <pthread.h>

#define ROUNDS 100
#define OWNERS 64 /* that a kernel knows: docs/limits.md */

static volatile sig_atomic_t got, got_fd = -1;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	got_fd = info->si_fd;
	got++;
}

static void handle(int number)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	EQUAL(sigaction(number, &action, NULL), 0);
}

static void own(int fd, int number)
{
	const struct rumpel_owner owner = {
		.type = F_OWNER_PID, .id = getpid(), .async = true, .signal = number
	};

	EQUAL(rumpel_shared->set_owner(fd, &owner), 0);
}

static void wait_for_signal(void)
{
	for (int i = 0; i < 10000 && !got; i++)
		usleep(1000);
	CHECK(got);
}

/* What comes just after one has said that it wants to know: on one CPU, with luck, at once. */
static void right_after(void *argument)
{
	cpu_set_t cpus;
	int ends[2];

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	EQUAL(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
	EQUAL(sched_setaffinity(*(pid_t *)argument, sizeof(cpus), &cpus), 0);
	handle(SIGIO);
	for (int i = 0; i < ROUNDS; i++) {
		EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(ends)), 0);
		got = 0;
		own(ends[0], 0);
		EQUAL(call(SYS_write, ends[1], ptr("x"), 1), 1);
		wait_for_signal();
		call(SYS_close, ends[0]);
		call(SYS_close, ends[1]);
	}
}

static void none_lost(void)
{
	struct guest guest = guest_start(NULL);

	expect_status(spawn(right_after, &guest.keeper), 0);
	guest_end(&guest, 0);
}

/* The first one's place is another one's by then. */
static void too_many(void *argument)
{
	int ends[OWNERS + 1][2];

	(void)argument;
	handle(SIGRTMIN);
	for (int i = 0; i <= OWNERS; i++) {
		EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(ends[i])), 0);
		own(ends[i][0], SIGRTMIN);
	}
	usleep(20000);
	got = 0;
	EQUAL(call(SYS_write, ends[0][1], ptr("x"), 1), 1);
	EQUAL(call(SYS_write, ends[1][1], ptr("x"), 1), 1);
	wait_for_signal();
	EQUAL(got, 1);
	EQUAL(got_fd, ends[1][0]);
}

static void forgotten(void)
{
	in_guest(too_many);
}

struct setter {
	struct rumpel_local local;
	pthread_t id;
	int fd;
};

static void *set_often(void *argument)
{
	struct setter *setter = argument;

	signal_stack();
	set_gs(&setter->local);
	for (int i = 0; i < ROUNDS; i++)
		own(setter->fd, 0);
	rumpel_shared->thread_end(&setter->local);
	return NULL;
}

/* Two threads say it of one file, which is closed all the same. */
static void two_at_once(void *argument)
{
	static struct setter setters[2];
	int ends[2];
	char byte;

	(void)argument;
	signal(SIGIO, SIG_IGN);
	EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(ends)), 0);
	for (int i = 0; i < 2; i++) {
		setters[i].fd = ends[0];
		EQUAL(rumpel_shared->thread_begin(&setters[i].local), 0);
		EQUAL(pthread_create(&setters[i].id, NULL, set_often, &setters[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		EQUAL(pthread_join(setters[i].id, NULL), 0);
	EQUAL(call(SYS_close, ends[0]), 0);
	EQUAL(call(SYS_read, ends[1], ptr(&byte), 1), 0);
}

static void closed(void)
{
	in_guest(two_at_once);
}

struct vain {
	pid_t keeper;
	int pipe[2];
};

static void ask_in_vain(void *argument)
{
	const struct rumpel_owner owner = { .type = F_OWNER_PID, .id = getpid() };
	const struct vain *vain = argument;
	int ends[2];

	EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(ends)), 0);
	kill(vain->keeper, SIGSTOP);
	EQUAL(write(vain->pipe[1], "s", 1), 1);
	CHECK(rumpel_shared->set_owner(ends[0], &owner) < 0);
	_exit(0);
}

/* The keeper, which would see to it, is stopped, and then killed. */
static void keeper_dies(void)
{
	struct guest guest = guest_start(NULL);
	struct vain vain = { .keeper = guest.keeper };
	char byte;
	pid_t pid;

	EQUAL(pipe(vain.pipe), 0);
	pid = spawn(ask_in_vain, &vain);
	EQUAL(read(vain.pipe[0], &byte, 1), 1);
	usleep(100000);
	kill(guest.keeper, SIGKILL);
	expect_status(pid, 0);
	guest_end(&guest, SIGKILL);
}

static const struct test tests[] = {
	{ none_lost, "what comes right after it is asked for is told" },
	{ forgotten, "an owner that is forgotten is not taken for another one" },
	{ closed, "a file that two threads ask for is closed when they close it" },
	{ keeper_dies, "the keeper dies before it has heard: an error" },
};

TEST_MAIN(tests)
