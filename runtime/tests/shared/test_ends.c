// SPDX-License-Identifier: GPL-2.0-only
/* Processes die anywhere, and nobody hangs. */
#include "guest.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#define ROUNDS 500

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Whatever keeps the kernel busy, until it is lost. */
static void hammer(void *argument)
{
	uint64_t end = now_us() + (uintptr_t)argument;
	int pipe[2], sockets[2];
	char text[512];
	long result = 0;

	memset(text, 'x', sizeof(text));
	while (now_us() < end && result != -ENOTRECOVERABLE) {
		result = call(SYS_pipe2, ptr(pipe), O_CLOEXEC);
		if (result < 0)
			continue;
		result = call(SYS_write, pipe[1], ptr(text), sizeof(text));
		result = call(SYS_read, pipe[0], ptr(text), sizeof(text));
		result = call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(sockets));
		result = call(SYS_sendto, sockets[0], ptr(text), sizeof(text), 0, 0, 0);
		result = call(SYS_recvfrom, sockets[1], ptr(text), sizeof(text), 0, 0, 0);
		for (int i = 0; i < 2; i++) {
			call(SYS_close, pipe[i]);
			result = call(SYS_close, sockets[i]);
		}
	}
	if (result == -ENOTRECOVERABLE)
		_exit(3);
}

/* Sleeps in the kernel, and wakes others that do. */
static void chat(void *argument)
{
	int pipe[2];
	char byte = 0;
	pid_t child;

	(void)argument;
	if (call(SYS_pipe2, ptr(pipe), 0) < 0)
		_exit(3);
	child = fork_attached();
	for (;;)
		if ((child ? call(SYS_write, pipe[1], ptr(&byte), 1)
			   : call(SYS_read, pipe[0], ptr(&byte), 1)) < 0)
			_exit(3);
}

/* 20 processes, five seconds. */
static void many(void)
{
	struct guest guest = guest_start(NULL);
	pid_t pids[20];

	for (int i = 0; i < 20; i++)
		pids[i] = spawn(hammer, (void *)5000000ul);
	for (int i = 0; i < 20; i++)
		expect_status(pids[i], 0);
	guest_end(&guest, 0);
}

/* In a new process: can the kernel be used? */
static bool is_alive(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		alarm(30);
		if (attach() || call(SYS_getpid) < 0)
			_exit(3);
		leave(0);
	}
	EQUAL(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	return status == 0;
}

static void end_keeper(struct guest *guest)
{
	close(guest->control);
	EQUAL(waitpid(guest->keeper, NULL, 0), guest->keeper);
	for (int fd = FDS; fd < FDS + RUMPEL_SHARED_FDS; fd++)
		close(fd);
}

/*
 * Each is killed at a random moment. The others go on, or are told that the kernel is
 * lost; then there is a new one.
 */
static void kills(void)
{
	struct guest guest = guest_start(NULL);
	unsigned int lost = 0, seed = 1, survived = 0;
	pid_t other = spawn(hammer, (void *)60000000ul), pid;
	int status;

	for (int i = 0; i < ROUNDS; i++) {
		pid = fork();
		if (!pid) {
			setpgid(0, 0);
			alarm(60);
			if (attach())
				_exit(3);
			if (i % 2)
				chat(NULL);
			hammer((void *)60000000ul);
			_exit(0);
		}
		setpgid(pid, pid);
		usleep(rand_r(&seed) % 3000);
		kill(-pid, SIGKILL);
		EQUAL(waitpid(pid, &status, 0), pid);
		if (is_alive()) {
			survived++;
			continue;
		}
		/* Lost: the other one has been told, and does not hang. */
		expect_status(other, 3 << 8);
		end_keeper(&guest);
		lost++;
		guest = guest_start(NULL);
		other = spawn(hammer, (void *)60000000ul);
	}
	kill(other, SIGKILL);
	EQUAL(waitpid(other, &status, 0), other);
	end_keeper(&guest);
	printf("    %u kills, %u kernels lost\n", ROUNDS, lost);
	CHECK(survived > 0);
}

static void is_busy(void *argument)
{
	*(volatile int *)argument = 1;
	hammer((void *)60000000ul);
}

static void sleeper(void *argument)
{
	int pipe[2];
	char byte;

	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	*(volatile int *)argument = 1;
	EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), -ENOTRECOVERABLE);
	_exit(3);
}

/* Both one that leads and one that follows hear of it. */
static void keeper_dies(void)
{
	struct guest guest = guest_start(NULL);
	volatile int *begun = share_page();
	pid_t pids[3];

	for (int i = 0; i < 3; i++)
		pids[i] = spawn(i ? sleeper : is_busy, (void *)&begun[i]);
	for (int i = 0; i < 3; i++)
		wait_until(&begun[i]);
	usleep(200000);
	kill(guest.keeper, SIGKILL);
	EQUAL(waitpid(guest.keeper, NULL, 0), guest.keeper);
	for (int i = 0; i < 3; i++)
		expect_status(pids[i], 3 << 8);
	close(guest.control);
	for (int fd = FDS; fd < FDS + RUMPEL_SHARED_FDS; fd++)
		close(fd);
}

/* What a process had is closed when it dies: the other end of its connection reads that. */
static void dies_with_socket(void *argument)
{
	int sockets[2];
	char byte;
	pid_t child;

	(void)argument;
	EQUAL(call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(sockets)), 0);
	child = fork_attached();
	if (!child) {
		call(SYS_close, sockets[0]);
		call(SYS_recvfrom, sockets[1], ptr(&byte), 1, 0, 0, 0);
		abort();
	}
	EQUAL(call(SYS_close, sockets[1]), 0);
	usleep(10000);
	signal_one(child, SIGKILL);
	EQUAL(call(SYS_recvfrom, sockets[0], ptr(&byte), 1, 0, 0, 0), 0);
	expect_status(child, SIGKILL);
}

static void death_closes(void)
{
	struct guest guest = guest_start(NULL);

	expect_status(spawn(dies_with_socket, NULL), 0);
	guest_end(&guest, 0);
}

/* ---- the token's holder is killed ---- */

/* A call of the host's for which the runtime has the token: it kills whoever makes it. */
static void kill_itself(void *argument)
{
	(void)argument;
	rumpel_shared->kill(SYS_kill, (const unsigned long[6]){ (unsigned long)getpid(), SIGKILL });
}

/* Outside kernel code: all others go on, those that wait too. */
static void killed_with_token(void)
{
	struct guest guest = guest_start(NULL);
	pid_t other = spawn(hammer, (void *)1000000ul);

	for (int i = 0; i < 50; i++) {
		expect_status(spawn(kill_itself, NULL), SIGKILL);
		CHECK(is_alive());
	}
	expect_status(other, 0);
	guest_end(&guest, 0);
}

/* A page that is not there before somebody fetches it, which nobody does. */
static char *missing_page(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	CHECK(fd >= 0 && page != MAP_FAILED);
	EQUAL(ioctl(fd, UFFDIO_API, &api), 0);
	range.range.start = ptr(page);
	range.range.len = 4096;
	EQUAL(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	return page;
}

/* Kernel code copies from the page: there it stays. */
static void stay_inside(void *argument)
{
	int pipe[2];

	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	EQUAL(write(*(int *)argument, "i", 1), 1);
	call(SYS_write, pipe[1], ptr(missing_page()), 10);
}

static void is_told(void *argument)
{
	char expected[64];
	int pipe[2];
	char byte;

	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	EQUAL(write(((int *)argument)[1], "s", 1), 1);
	EQUAL(read(((int *)argument)[2], &argument, sizeof(argument)), sizeof(argument));
	EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), -ENOTRECOVERABLE);
	snprintf(expected, sizeof(expected), "process %d was killed in the middle of it",
		 (int)(uintptr_t)argument);
	CHECK(!strcmp(rumpel_shared->reason(), expected));
	_exit(0);
}

/* Inside: the kernel is lost, and all hear why. */
static void killed_inside(void)
{
	struct guest guest = guest_start(NULL);
	int inside[2], told[2], pids[2];
	int ends[3];
	void *pid;
	pid_t victim, others[2];
	char byte;

	EQUAL(pipe(inside), 0);
	EQUAL(pipe(told), 0);
	EQUAL(pipe(pids), 0);
	ends[1] = told[1];
	ends[2] = pids[0];
	for (int i = 0; i < 2; i++) {
		others[i] = spawn(is_told, ends);
		EQUAL(read(told[0], &byte, 1), 1);
	}
	victim = spawn(stay_inside, &inside[1]);
	pid = (void *)(uintptr_t)victim;
	EQUAL(read(inside[0], &byte, 1), 1);
	usleep(50000);
	for (int i = 0; i < 2; i++)
		EQUAL(write(pids[1], &pid, sizeof(pid)), sizeof(pid));
	usleep(50000);
	kill(victim, SIGKILL);
	expect_status(victim, SIGKILL);
	for (int i = 0; i < 2; i++)
		expect_status(others[i], 0);
	end_keeper(&guest);
}

static const struct test tests[] = {
	{ death_closes, "what a process had is closed when it dies" },
	{ many, "20 processes for five seconds" },
	{ keeper_dies, "the keeper dies: an error, no hang" },
	{ killed_with_token,
	  "one that is killed with the token, outside kernel code, takes nobody along" },
	{ killed_inside, "one that is killed in kernel code: all are told who" },
	{ kills, "processes are killed at random moments: no hang" },
};

TEST_MAIN(tests)
