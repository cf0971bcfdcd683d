/* SPDX-License-Identifier: GPL-2.0-only */
/* A shared kernel for a test, and what an agent does for its program. */
#ifndef RUMPEL_TESTS_SHARED_GUEST_H
#define RUMPEL_TESTS_SHARED_GUEST_H

#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rumpel/shared.h>

#include "../check.h"

#define FDS 900
#define ptr(p) ((unsigned long)(p))
/* A system call of the kernel, by this thread. */
#define call(nr, ...) rumpel_shared->call(nr, (const unsigned long[6]){ __VA_ARGS__ })

/* The tests' agent: one for each thread, by a pointer that fork copies. */
static __thread struct rumpel_local local;

struct guest {
	pid_t keeper;
	int control;
};

/* Zeroed memory that a fork shares. */
static inline void *share_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	return page;
}

/* Another process gets there; for 50 s, or the test fails. */
static inline void wait_until(volatile int *is)
{
	for (int i = 0; i < 50000 && !*is; i++)
		usleep(1000);
	CHECK(*is);
}

static volatile int faults; /* so far, in this process */

static inline void on_fault(int number, siginfo_t *info, void *context)
{
	faults++;
	if (rumpel_shared->fault(number, info, context))
		return;
	signal(number, SIG_DFL);
}

static inline void set_gs(struct rumpel_local *self)
{
	self->self = self;
	EQUAL(syscall(SYS_arch_prctl, ARCH_SET_GS, self), 0);
}

static inline void signal_stack(void)
{
	const size_t size = 64 << 10;
	stack_t stack = { .ss_sp = malloc(size), .ss_size = size };

	EQUAL(sigaltstack(&stack, NULL), 0);
}

/* Joins the kernel behind the descriptors. 0 or why not. */
static inline int attach(void)
{
	const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	void *text =
		mmap((void *)RUMPEL_SHARED_TEXT, RUMPEL_SHARED_TEXT_SIZE, PROT_READ | PROT_EXEC,
		     MAP_PRIVATE | MAP_FIXED_NOREPLACE, FDS + RUMPEL_SHARED_FD_TEXT, 0);

	EQUAL(text, RUMPEL_SHARED_TEXT);
	EQUAL(rumpel_shared->magic, RUMPEL_SHARED_MAGIC);
	signal_stack();
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		EQUAL(sigaction(numbers[i], &action, NULL), 0);
	memset(&local, 0, sizeof(local));
	set_gs(&local);
	return rumpel_shared->attach(FDS);
}

/* Those that the keeper sends, to their numbers. */
static inline void receive(int control)
{
	int numbers[RUMPEL_SHARED_FDS] = { 0 };
	char space[CMSG_SPACE(sizeof(numbers))];
	struct iovec data = { numbers, sizeof(numbers) };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = space,
				  .msg_controllen = sizeof(space) };
	ssize_t len = recvmsg(control, &message, 0);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	size_t count;

	CHECK(len > 0);
	if (!header) {
		fprintf(stderr, "keeper: %.*s\n", (int)len, (char *)numbers);
		abort();
	}
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	EQUAL(count, len / sizeof(int));
	for (size_t i = 0; i < count; i++) {
		int fd = ((int *)CMSG_DATA(header))[i];

		EQUAL(dup2(fd, numbers[i]), numbers[i]);
		close(fd);
	}
}

/* A keeper, and its descriptors in this process, which does not attach. */
static inline struct guest guest_start(const char *option)
{
	struct rlimit limit = { 4096, 4096 };
	struct guest guest;
	char control[32], image[4096];
	int sockets[2];

	setrlimit(RLIMIT_NOFILE, &limit);
	EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
	CHECK(getenv("RUMPEL_IMAGE") && getenv("RUMPEL_SHARED"));
	snprintf(image, sizeof(image), "image=%s", getenv("RUMPEL_IMAGE"));
	snprintf(control, sizeof(control), "control=%d", sockets[1]);
	guest.keeper = fork();
	CHECK(guest.keeper >= 0);
	if (!guest.keeper) {
		close(sockets[0]);
		execl(getenv("RUMPEL_SHARED"), "rumpel-shared", control, image, option, NULL);
		_exit(127);
	}
	close(sockets[1]);
	fcntl(sockets[0], F_SETFD, FD_CLOEXEC);
	guest.control = sockets[0];
	receive(guest.control);
	return guest;
}

static inline void guest_end(struct guest *guest, int expected)
{
	int status;

	close(guest->control);
	EQUAL(waitpid(guest->keeper, &status, 0), guest->keeper);
	EQUAL(status, expected);
	for (int fd = FDS; fd < FDS + RUMPEL_SHARED_FDS; fd++)
		close(fd);
}

/* fork() of an attached process, as an agent has it. */
static inline pid_t fork_attached(void)
{
	uint64_t child;
	pid_t pid;

	EQUAL(rumpel_shared->fork_begin(0, &child), 0);
	pid = fork();
	if (pid == 0) {
		EQUAL(rumpel_shared->fork_child(child), 0);
		return 0;
	}
	rumpel_shared->fork_parent(child, pid);
	return pid;
}

/* The end of an attached process. */
static inline void leave(int status)
{
	rumpel_shared->exit();
	_exit(status);
}

/* As one of them signals another: not while that runs kernel code, however busy the host is. */
static inline void signal_one(pid_t pid, int number)
{
	const unsigned long args[6] = { (unsigned long)pid, (unsigned long)number };

	EQUAL(rumpel_shared->kill(SYS_kill, args), 0);
}

static inline void expect_status(pid_t pid, int expected)
{
	int status = -1;

	EQUAL(waitpid(pid, &status, 0), pid);
	EQUAL(status, expected);
}

/* Runs `run` in a process of its own, attached. */
static inline pid_t spawn(void (*run)(void *argument), void *argument)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	alarm(60);
	if (attach())
		_exit(3);
	run(argument);
	leave(0);
	return 0;
}

/* Runs `run` as an attached process of a new kernel. */
static inline void in_guest(void (*run)(void *argument))
{
	struct guest guest = guest_start(NULL);

	expect_status(spawn(run, NULL), 0);
	guest_end(&guest, 0);
}

#endif
