// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets, which may be another kernel's, among files, pipes and timers of the host's: what
 * Linux promises of them together. Passes on the host as on a library kernel.
 */
#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

/* Two ends of a connection over the loopback interface. */
static void pair(int ends[2], int type)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | type, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(!bind(listener, (struct sockaddr *)&address, len));
	CHECK(!listen(listener, 1) && !getsockname(listener, (struct sockaddr *)&address, &len));
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(ends[0], (struct sockaddr *)&address, len));
	CHECK(!fcntl(ends[0], F_SETFL, type));
	ends[1] = accept4(listener, NULL, NULL, type);
	CHECK(ends[1] >= 0);
	close(listener);
}

static void unpair(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* ---- numbers ---- */

static void numbers(void)
{
	int a = socket(AF_INET, SOCK_DGRAM, 0), file = open("/dev/null", O_RDWR), b, c, flag = 1;

	b = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(file == a + 1 && b == a + 2);
	CHECK(fcntl(b, F_GETFD) == FD_CLOEXEC && fcntl(a, F_GETFD) == 0);
	CHECK(dup2(a, file) == file && send(file, "", 0, 0) == -1 && errno == EDESTADDRREQ);
	CHECK(dup2(0, file) == file && send(file, "", 0, 0) == -1 && errno == ENOTSOCK);
	close(a);
	CHECK(open("/dev/null", O_RDONLY) == a);
	c = fcntl(b, F_DUPFD_CLOEXEC, 100);
	CHECK(c >= 100 && fcntl(c, F_GETFD) == FD_CLOEXEC);
	CHECK(!ioctl(c, FIONCLEX) && fcntl(c, F_GETFD) == 0);
	CHECK(!ioctl(c, FIOCLEX) && fcntl(c, F_GETFD) == FD_CLOEXEC);
	CHECK(!ioctl(c, FIONBIO, &flag) && (fcntl(b, F_GETFL) & O_NONBLOCK));
	CHECK(!syscall(SYS_close_range, a, c, 0));
	CHECK(fcntl(c, F_GETFD) == -1 && errno == EBADF);
	CHECK(recv(b, &flag, 1, 0) == -1 && errno == EBADF);
}

/* ---- waiting ---- */

static void polls(void)
{
	struct timespec short_time = { 0, 20000000 };
	int ends[2], pipes[2], one = 1;
	struct pollfd p[4];
	double start;
	fd_set in, out;

	pair(ends, 0);
	CHECK(!pipe(pipes));
	p[0] = (struct pollfd){ ends[1], POLLIN, 0 };
	p[1] = (struct pollfd){ pipes[0], POLLIN, 0 };
	p[2] = (struct pollfd){ -1, POLLIN, 7 };
	p[3] = (struct pollfd){ ends[0], POLLOUT, 0 };
	CHECK(poll(p, 3, 0) == 0 && !p[0].revents && !p[1].revents && !p[2].revents);
	start = now();
	CHECK(poll(p, 2, 30) == 0 && now() - start >= 0.03);
	CHECK(ppoll(p, 2, &short_time, NULL) == 0);
	CHECK(poll(p, 4, 1000) == 1 && p[3].revents == POLLOUT);
	CHECK(write(pipes[1], "x", 1) == 1 && poll(p, 2, 1000) == 1 && p[1].revents == POLLIN);
	CHECK(write(ends[0], "x", 1) == 1 && poll(p, 2, 1000) == 2);
	CHECK(read(pipes[0], &one, 1) == 1 && poll(p, 2, 1000) == 1 && p[0].revents == POLLIN);

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(ends[1], &in);
	FD_SET(pipes[0], &in);
	FD_SET(ends[0], &out);
	CHECK(select(60, &in, &out, NULL, NULL) == 2);
	CHECK(FD_ISSET(ends[1], &in) && !FD_ISSET(pipes[0], &in) && FD_ISSET(ends[0], &out));
	CHECK(read(ends[1], &one, 1) == 1);
	FD_ZERO(&in);
	FD_SET(ends[1], &in);
	FD_SET(pipes[0], &in);
	struct timeval time = { 0, 20000 };
	CHECK(syscall(SYS_select, 60, &in, NULL, NULL, &time) == 0 && !FD_ISSET(ends[1], &in));
	CHECK(time.tv_sec == 0 && time.tv_usec == 0);

	close(ends[0]);
	CHECK(poll(p, 2, 1000) == 1 && (p[0].revents & POLLIN));
	close(ends[1]);
	CHECK(poll(p, 2, 1000) == 1 && p[0].revents == POLLNVAL);
	FD_ZERO(&in);
	FD_SET(ends[1], &in);
	CHECK(select(60, &in, NULL, NULL, NULL) == -1 && errno == EBADF);
	close(pipes[0]);
	close(pipes[1]);
}

static void *write_later(void *fd)
{
	struct timespec t = { 0, 30000000 };

	nanosleep(&t, NULL);
	CHECK(write(*(int *)fd, "12345678", 8) == 8);
	return NULL;
}

/* A waiting thread is woken by either. */
static void wakes(void)
{
	int ends[2], event = eventfd(0, 0), from[2], i;
	struct pollfd p[2];
	struct epoll_event got;
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char buffer[8];
	pthread_t thread;

	pair(ends, 0);
	from[0] = ends[0];
	from[1] = event;
	p[0] = (struct pollfd){ ends[1], POLLIN, 0 };
	p[1] = (struct pollfd){ event, POLLIN, 0 };
	for (i = 0; i < 2; i++) {
		got = (struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i };
		CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, p[i].fd, &got));
	}
	for (i = 0; i < 2; i++) {
		pthread_create(&thread, NULL, write_later, &from[i]);
		CHECK(poll(p, 2, 5000) == 1 && p[i].revents == POLLIN);
		CHECK(read(p[i].fd, buffer, 8) == 8);
		pthread_join(thread, NULL);
		pthread_create(&thread, NULL, write_later, &from[i]);
		CHECK(epoll_wait(ep, &got, 1, 5000) == 1 && (int)got.data.u32 == i);
		CHECK(read(p[i].fd, buffer, 8) == 8);
		pthread_join(thread, NULL);
	}
	unpair(ends);
	close(event);
	close(ep);
}

static void epolls(void)
{
	int ends[2], event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0), copy, outer;
	struct epoll_event e = { .events = EPOLLIN }, got[4];
	struct itimerspec soon = { .it_value = { 0, 10000000 } };
	int ep = epoll_create1(0), all = 0, found;
	uint64_t number = 1;
	double start;

	pair(ends, SOCK_NONBLOCK);
	CHECK(epoll_wait(ep, got, 4, 0) == 0 && epoll_wait(ep, got, 0, 0) == -1 && errno == EINVAL);
	e.data.u32 = 1;
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, ends[1], &e));
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, ends[1], &e) == -1 && errno == EEXIST);
	e.data.u32 = 2;
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, event, &e));
	e.data.u32 = 4;
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, timer, &e));
	start = now();
	CHECK(epoll_wait(ep, got, 4, 30) == 0 && now() - start >= 0.03);
	CHECK(write(ends[0], "x", 1) == 1 && epoll_wait(ep, got, 4, 1000) == 1);
	CHECK(got[0].data.u32 == 1 && got[0].events == EPOLLIN);
	CHECK(write(event, &number, 8) == 8 && !timerfd_settime(timer, 0, &soon, NULL));
	while (all != 7) {
		found = epoll_wait(ep, got, 4, 1000);
		CHECK(found > 0);
		for (int i = 0; i < found; i++)
			all |= (int)got[i].data.u32;
	}
	/* A number for it more, and one epoll inside another. */
	copy = dup(ep);
	outer = epoll_create1(0);
	CHECK(!epoll_ctl(outer, EPOLL_CTL_ADD, copy, &e) && epoll_wait(outer, got, 4, 1000) == 1);
	struct pollfd p = { copy, POLLIN, 0 };
	CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_DEL, event, NULL) &&
	      !epoll_ctl(ep, EPOLL_CTL_DEL, timer, NULL));
	close(ep);
	e = (struct epoll_event){ .events = EPOLLIN | EPOLLET | EPOLLONESHOT, .data.u32 = 8 };
	CHECK(!epoll_ctl(copy, EPOLL_CTL_MOD, ends[1], &e));
	CHECK(epoll_wait(copy, got, 4, 1000) == 1 && got[0].data.u32 == 8);
	CHECK(epoll_wait(copy, got, 4, 0) == 0);
	CHECK(epoll_ctl(copy, EPOLL_CTL_ADD, open("/etc/passwd", O_RDONLY), &e) == -1 &&
	      errno == EPERM);
	CHECK(epoll_ctl(copy, EPOLL_CTL_ADD, 9999, &e) == -1 && errno == EBADF);
	unpair(ends);
	close(copy);
	close(outer);
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

/* ---- data ---- */

static void transfers(void)
{
	const size_t size = 300000;
	char *from = malloc(size), *to = malloc(size), name[] = "/tmp/mixedXXXXXX";
	int ends[2], file = mkstemp(name), waiting = 0;
	size_t sent = 0, got = 0;
	off_t at = 1000;
	ssize_t n;

	unlink(name);
	for (size_t i = 0; i < size; i++)
		from[i] = (char)(i * 31 >> 3);
	CHECK(write(file, from, size) == (ssize_t)size && lseek(file, 0, SEEK_SET) == 0);
	pair(ends, SOCK_NONBLOCK);
	while (got < size) {
		n = sendfile(ends[0], file, NULL, size - sent);
		CHECK(n >= 0 || errno == EAGAIN);
		sent += n > 0 ? (size_t)n : 0;
		n = read(ends[1], to + got, size - got);
		CHECK(n > 0 || (n < 0 && errno == EAGAIN));
		got += n > 0 ? (size_t)n : 0;
	}
	CHECK(!memcmp(from, to, size) && lseek(file, 0, SEEK_CUR) == (off_t)size);
	CHECK(sendfile(ends[0], file, &at, 100) == 100 && at == 1100);
	usleep(1000);
	CHECK(!ioctl(ends[1], FIONREAD, &waiting) && waiting == 100);
	struct iovec v[2] = { { to, 50 }, { to + 50, 50 } };
	CHECK(readv(ends[1], v, 2) == 100 && !memcmp(to, from + 1000, 100));
	CHECK(recv(ends[1], (void *)8, 10, 0) == -1 && errno == EAGAIN);
	CHECK(write(ends[0], "x", 1) == 1);
	usleep(1000);
	CHECK(recv(ends[1], (void *)8, 10, 0) == -1 && errno == EFAULT);
	CHECK(connect(ends[1], (void *)8, 16) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_poll, 8, 1, 0) == -1 && errno == EFAULT);
	unpair(ends);
	close(file);
	free(from);
	free(to);
}

int main(void)
{
	pthread_t thread;

	alarm(100);
	numbers();
	polls();
	wakes();
	epolls();
	interrupts();
	broken_pipes();
	pthread_create(&thread, NULL, all_blocked, NULL);
	pthread_join(thread, NULL);
	processes();
	rights();
	transfers();
	return done();
}
