// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals, threads and processes around sockets, which may be another kernel's: what Linux
 * promises of them. Passes on the host as on a library kernel.
 */
#include "pair.h"

#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static void *write_later(void *fd)
{
	struct timespec t = { 0, 30000000 };

	nanosleep(&t, NULL);
	CHECK(write(*(int *)fd, "12345678", 8) == 8);
	return NULL;
}

/* ---- signals ---- */

static volatile sig_atomic_t seen;

static void count(int sig)
{
	(void)sig;
	seen++;
}

static void on_signal(int sig, int flags)
{
	struct sigaction action = { .sa_handler = count, .sa_flags = flags };

	sigaction(sig, &action, NULL);
}

static volatile int stop;

/* Again and again: the first may come before the call. */
static void *kill_often(void *thread)
{
	struct timespec t = { 0, 20000000 };

	while (!stop) {
		nanosleep(&t, NULL);
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
	}
	return NULL;
}

static pthread_t killer_of(pthread_t *thread)
{
	pthread_t killer;

	seen = stop = 0;
	pthread_create(&killer, NULL, kill_often, thread);
	return killer;
}

static void end_killer(pthread_t killer)
{
	stop = 1;
	while (pthread_join(killer, NULL) == EINTR)
		;
	CHECK(seen > 0);
}

static void interrupts(void)
{
	struct timeval limit = { 0, 100000 };
	struct epoll_event e = { .events = EPOLLIN };
	int ends[2], ep = epoll_create1(0), pipes[2];
	pthread_t self = pthread_self(), killer, writer;
	struct pollfd p[2];
	sigset_t usr1, none;
	char buffer[8];

	pair(ends, 0);
	CHECK(!pipe(pipes) && !epoll_ctl(ep, EPOLL_CTL_ADD, ends[1], &e));
	p[0] = (struct pollfd){ ends[1], POLLIN, 0 };
	p[1] = (struct pollfd){ pipes[0], POLLIN, 0 };
	on_signal(SIGUSR1, 0);
	killer = killer_of(&self);
	CHECK(recv(ends[1], buffer, 8, 0) == -1 && errno == EINTR);
	end_killer(killer);
	/* Restarted, and not known to the caller. */
	on_signal(SIGUSR1, SA_RESTART);
	killer = killer_of(&self);
	while (!seen)
		usleep(1000);
	pthread_create(&writer, NULL, write_later, &ends[0]);
	CHECK(recv(ends[1], buffer, 8, 0) == 8);
	end_killer(killer);
	pthread_join(writer, NULL);
	/* Those that never are. */
	for (int i = 0; i < 3; i++) {
		killer = killer_of(&self);
		CHECK((i == 0	? poll(p, 1, 20000)
		       : i == 1 ? poll(p, 2, 20000)
				: epoll_wait(ep, &e, 1, 20000)) == -1 &&
		      errno == EINTR);
		end_killer(killer);
	}
	CHECK(!setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	CHECK(recv(ends[1], buffer, 8, 0) == -1 && errno == EAGAIN);
	limit.tv_sec = 20;
	CHECK(!setsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	killer = killer_of(&self);
	CHECK(recv(ends[1], buffer, 8, 0) == -1 && errno == EINTR);
	end_killer(killer);
	seen = 6;
	/* One that is blocked, but for the wait. */
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	for (int i = 0; i < 2; i++) {
		raise(SIGUSR1);
		CHECK(seen == 6 + i);
		CHECK((i ? ppoll(p, 2, NULL, &none) : epoll_pwait(ep, &e, 1, -1, &none)) == -1 &&
		      errno == EINTR && seen == 7 + i);
	}
	raise(SIGUSR1);
	CHECK(write(ends[0], "x", 1) == 1 && ppoll(p, 2, NULL, &usr1) == 1 && seen == 8);
	pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
	CHECK(seen == 9);
	unpair(ends);
	close(pipes[0]);
	close(pipes[1]);
	close(ep);
}

static void broken_pipes(void)
{
	int ends[2], status;

	signal(SIGPIPE, SIG_DFL);
	for (int i = 0; i < 3; i++) {
		pair(ends, 0);
		close(ends[1]);
		CHECK(write(ends[0], "x", 1) == 1);
		/* The other side has refused it. */
		while (poll(&(struct pollfd){ ends[0], 0, 0 }, 1, 20000) != 1)
			;
		if (i == 0) {
			CHECK(send(ends[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
		} else if (i == 1) {
			seen = 0;
			on_signal(SIGPIPE, 0);
			CHECK(write(ends[0], "x", 1) == -1 && errno == EPIPE && seen == 1);
			signal(SIGPIPE, SIG_DFL);
		} else {
			pid_t pid = fork();

			if (!pid) {
				(void)!write(ends[0], "x", 1);
				_exit(0);
			}
			CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
			      WTERMSIG(status) == SIGPIPE);
		}
		close(ends[0]);
	}
}

/* A thread with all signals blocked, as libraries have them. */
static void *all_blocked(void *unused)
{
	char *block = malloc(1 << 20);
	sigset_t all;
	int ends[2];

	(void)unused;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	memset(block, 1, 1 << 20);
	for (int i = 0; i < 20; i++) {
		pair(ends, 0);
		CHECK(write(ends[0], block, 100000) == 100000);
		CHECK(recv(ends[1], block, 100000, MSG_WAITALL) == 100000);
		unpair(ends);
	}
	free(block);
	return NULL;
}

/* ---- processes ---- */

static void processes(void)
{
	char *cat[] = { "cat", NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], status;
	char buffer[100];
	pid_t pid;

	pair(ends, 0);
	pid = fork();
	if (!pid) {
		CHECK(write(ends[0], "child", 5) == 5);
		_exit(0);
	}
	CHECK(recv(ends[1], buffer, 5, MSG_WAITALL) == 5 && !memcmp(buffer, "child", 5));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);

	/* A program with a socket for input and output, once by vfork. */
	for (int i = 0; i < 2; i++) {
		if (i) {
			posix_spawn_file_actions_init(&actions);
			posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
			posix_spawn_file_actions_adddup2(&actions, ends[0], 1);
			posix_spawn_file_actions_addclose(&actions, ends[0]);
			posix_spawn_file_actions_addclose(&actions, ends[1]);
			CHECK(!posix_spawnp(&pid, "cat", &actions, NULL, cat, environ));
			posix_spawn_file_actions_destroy(&actions);
		} else {
			pid = fork();
			if (!pid) {
				dup2(ends[0], 0);
				dup2(ends[0], 1);
				syscall(SYS_close_range, 3, ~0u, 0);
				execvp("cat", cat);
				_exit(127);
			}
		}
		close(ends[0]);
		CHECK(write(ends[1], "meow", 4) == 4 && !shutdown(ends[1], SHUT_WR));
		CHECK(recv(ends[1], buffer, 100, MSG_WAITALL) == 4 && !memcmp(buffer, "meow", 4));
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
		close(ends[1]);
		pair(ends, 0);
	}
	/* One that dies of a signal in a call: its end is closed. */
	pid = fork();
	if (!pid) {
		close(ends[1]);
		(void)!read(ends[0], buffer, 1);
		_exit(0);
	}
	close(ends[0]);
	usleep(50000);
	kill(pid, SIGTERM);
	CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	      WTERMSIG(status) == SIGTERM);
	CHECK(read(ends[1], buffer, 1) == 0);
	close(ends[1]);
}

/* A socket goes to another process over a unix socket, and its sender closes it. */
static void rights(void)
{
	char space[CMSG_SPACE(2 * sizeof(int))], byte = 'x', buffer[8];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = space,
				  .msg_controllen = sizeof(space) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int ends[2], unix_ends[2], fds[2], status, file, before = failures;
	pid_t pid;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, unix_ends));
	pid = fork();
	if (!pid) {
		CHECK(recvmsg(unix_ends[1], &message, MSG_CMSG_CLOEXEC) == 1);
		memcpy(fds, CMSG_DATA(header), sizeof(fds));
		CHECK(header->cmsg_len == CMSG_LEN(sizeof(fds)));
		CHECK(fcntl(fds[0], F_GETFD) == FD_CLOEXEC && write(fds[0], "here", 4) == 4);
		CHECK(read(fds[1], buffer, 4) == 4);
		_exit(failures - before);
	}
	pair(ends, 0);
	file = open("/etc/passwd", O_RDONLY);
	fds[0] = ends[0];
	fds[1] = file;
	*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
				    .cmsg_type = SCM_RIGHTS,
				    .cmsg_len = CMSG_LEN(sizeof(fds)) };
	memcpy(CMSG_DATA(header), fds, sizeof(fds));
	CHECK(sendmsg(unix_ends[0], &message, 0) == 1);
	close(ends[0]);
	close(file);
	CHECK(recv(ends[1], buffer, 8, MSG_WAITALL) == 4 && !memcmp(buffer, "here", 4));
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(ends[1]);
	unpair(unix_ends);
}

int main(void)
{
	pthread_t thread;

	alarm(100);
	interrupts();
	broken_pipes();
	pthread_create(&thread, NULL, all_blocked, NULL);
	pthread_join(thread, NULL);
	processes();
	rights();
	return done();
}
