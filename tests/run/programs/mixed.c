// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sockets, which may be another kernel's, among files, pipes and timers of the host's: what
 * Linux promises of them together. Passes on the host as on a library kernel.
 */
#include "pair.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

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

/* ---- data ---- */

static void no_fault(int sig)
{
	(void)sig;
	CHECK(!"a bad pointer in a call is no signal");
}

/* EFAULT, whatever the program does about signals; a good one is written to. */
static void bad_pointers(int kernels, int file)
{
	char *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigset_t faults;

	signal(SIGSEGV, no_fault);
	sigemptyset(&faults);
	sigaddset(&faults, SIGSEGV);
	for (int blocked = 0; blocked < 2; blocked++) {
		struct pollfd out = { kernels, POLLOUT, 0 };

		CHECK(syscall(SYS_poll, 8, 1, 0) == -1 && errno == EFAULT);
		CHECK(syscall(SYS_ppoll, &out, 1, 8, 0, 8) == -1 && errno == EFAULT);
		CHECK(syscall(SYS_poll, &out, 1, 0) == 1 && out.revents == POLLOUT);
		CHECK(sendfile(kernels, file, (void *)8, 1) == -1 && errno == EFAULT);
		CHECK(sendfile(kernels, file, (void *)read_only, 0) == -1 && errno == EFAULT);
		CHECK(syscall(SYS_openat, AT_FDCWD, 8, 0) == -1 && errno == EFAULT);
		sigprocmask(blocked ? SIG_UNBLOCK : SIG_BLOCK, &faults, NULL);
	}
	signal(SIGSEGV, SIG_DFL);
	munmap(read_only, 4096);
}

struct shrinking {
	int file;
	size_t size;
	volatile bool stop;
};

static void *shrink(void *argument)
{
	struct shrinking *s = argument;

	while (!s->stop)
		CHECK(!ftruncate(s->file, 0) && !ftruncate(s->file, (off_t)s->size));
	return NULL;
}

/* What is not there any more is not sent, and that is no error, whenever it goes. */
static void shrinks(int file, size_t size, const int ends[2], char *room)
{
	struct shrinking shrinking = { file, size, false };
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, shrink, &shrinking));
	for (int i = 0; i < 100; i++) {
		off_t at = 5;
		ssize_t sent = sendfile(ends[0], file, &at, size), got = 0, n = 1;

		CHECK((sent >= 0 && at == 5 + sent) || errno == EAGAIN);
		while (got < sent && n > 0) {
			n = recv(ends[1], room, size, 0);
			if (n < 0 && errno == EAGAIN)
				n = 1; /* on its way */
			else
				got += n;
		}
		CHECK(sent < 0 || got == sent);
	}
	shrinking.stop = true;
	pthread_join(thread, NULL);
}

/* What the other end has sent comes in a moment. */
static bool is_there(int fd, short events)
{
	struct pollfd polled = { fd, events, 0 };

	return poll(&polled, 1, 60000) == 1 && (polled.revents & events);
}

static void transfers(void)
{
	const size_t size = 1500001;
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
	for (int i = 0; i < 5000 && waiting != 100; i++) {
		usleep(1000);
		CHECK(!ioctl(ends[1], FIONREAD, &waiting));
	}
	CHECK(waiting == 100);
	struct iovec v[2] = { { to, 50 }, { to + 50, 50 } };
	CHECK(readv(ends[1], v, 2) == 100 && !memcmp(to, from + 1000, 100));
	CHECK(recv(ends[1], (void *)8, 10, 0) == -1 && errno == EAGAIN);
	CHECK(write(ends[0], "x", 1) == 1);
	CHECK(is_there(ends[1], POLLIN));
	CHECK(recv(ends[1], (void *)8, 10, 0) == -1 && errno == EFAULT);
	CHECK(connect(ends[1], (void *)8, 16) == -1 && errno == EFAULT);
	bad_pointers(ends[0], file);
	unpair(ends);
	pair(ends, SOCK_NONBLOCK);
	shrinks(file, size, ends, to);
	unpair(ends);
	close(file);
	free(from);
	free(to);
}

/* As a proxy does it: from one connection through a pipe to another. */
static void splices(void)
{
	const size_t size = 500000;
	char *from = malloc(size), *to = malloc(size), byte;
	size_t sent = 0, taken = 0, given = 0, got = 0;
	int in[2], out[2], pipes[2];
	off_t at = 0;
	ssize_t n;

	for (size_t i = 0; i < size; i++)
		from[i] = (char)(i * 29 >> 3);
	pair(in, SOCK_NONBLOCK);
	pair(out, SOCK_NONBLOCK);
	CHECK(!pipe2(pipes, O_NONBLOCK));
	CHECK(splice(in[1], NULL, pipes[1], NULL, 1, 0) == -1 && errno == EAGAIN);
	CHECK(splice(pipes[0], NULL, out[0], NULL, 1, 0) == -1 && errno == EAGAIN);
	while (got < size) {
		n = sent < size ? write(in[0], from + sent, size - sent) : 0;
		sent += n > 0 ? (size_t)n : 0;
		n = splice(in[1], NULL, pipes[1], NULL, size, SPLICE_F_NONBLOCK);
		CHECK(n > 0 || errno == EAGAIN);
		taken += n > 0 ? (size_t)n : 0;
		n = splice(pipes[0], NULL, out[0], NULL, size, SPLICE_F_NONBLOCK);
		CHECK(n > 0 || errno == EAGAIN);
		given += n > 0 ? (size_t)n : 0;
		n = read(out[1], to + got, size - got);
		CHECK(n > 0 || errno == EAGAIN);
		got += n > 0 ? (size_t)n : 0;
	}
	CHECK(taken == size && given == size && !memcmp(from, to, size));

	/* What the socket does not take stays in the pipe; it may take more when it was answered. */
	do {
		while (write(out[0], from, size) > 0)
			;
		usleep(10000);
	} while (write(out[0], from, 1) > 0);
	CHECK(write(pipes[1], "rest", 4) == 4);
	CHECK(splice(pipes[0], NULL, out[0], NULL, 4, 0) == -1 && errno == EAGAIN);
	CHECK(read(pipes[0], to, 10) == 4 && !memcmp(to, "rest", 4));
	/* What the pipe does not take stays in the socket. */
	while (write(pipes[1], from, 4096) > 0)
		;
	CHECK(write(in[0], "x", 1) == 1);
	CHECK(is_there(in[1], POLLIN));
	CHECK(splice(in[1], NULL, pipes[1], NULL, 1, 0) == -1 && errno == EAGAIN);
	CHECK(read(in[1], &byte, 1) == 1 && byte == 'x');

	CHECK(splice(pipes[0], &at, out[0], NULL, 1, 0) == -1 && errno == ESPIPE);
	CHECK(splice(in[1], NULL, pipes[1], &at, 1, 0) == -1 && errno == ESPIPE);
	CHECK(splice(in[1], NULL, out[0], NULL, 1, 0) == -1 && errno == EINVAL);
	while (read(pipes[0], to, size) > 0)
		;
	close(in[0]);
	CHECK(is_there(in[1], POLLRDHUP));
	CHECK(splice(in[1], NULL, pipes[1], NULL, 1, 0) == 0);
	close(in[1]);
	unpair(out);
	close(pipes[0]);
	close(pipes[1]);
	free(from);
	free(to);
}

/* ---- signals ---- */

static volatile sig_atomic_t inputs, urgent, real_time;
static volatile int of_fd;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (sig == SIGIO)
		inputs++;
	else if (sig == SIGURG)
		urgent++;
	else
		real_time++;
	if (sig == SIGRTMIN)
		of_fd = info->si_fd;
}

static bool comes(volatile sig_atomic_t *count)
{
	for (int i = 0; i < 5000 && !*count; i++)
		usleep(1000);
	return *count;
}

/* Until no more come of what was. */
static void settle(void)
{
	int before;

	do {
		before = inputs + real_time;
		usleep(30000);
	} while (before != inputs + real_time);
}

static void signals(void)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | SA_RESTART };
	struct f_owner_ex owner = { F_OWNER_PGRP, 0 };
	int ends[2], on = 1, who = 0;
	char byte;

	sigaction(SIGIO, &action, NULL);
	sigaction(SIGURG, &action, NULL);
	sigaction(SIGRTMIN, &action, NULL);
	pair(ends, SOCK_NONBLOCK);
	CHECK(fcntl(ends[1], F_GETOWN) == 0 && fcntl(ends[1], F_GETSIG) == 0);
	CHECK(!fcntl(ends[1], F_SETOWN, getpid()) && fcntl(ends[1], F_GETOWN) == getpid());
	CHECK(fcntl(ends[1], F_SETOWN, 4000000) == -1 && errno == ESRCH);
	CHECK(send(ends[0], "u", 1, MSG_OOB) == 1 && comes(&urgent) && !inputs);
	CHECK(recv(ends[1], &byte, 1, MSG_OOB) == 1 && byte == 'u');
	CHECK(!fcntl(ends[1], F_SETFL, O_NONBLOCK | O_ASYNC));
	CHECK(fcntl(ends[1], F_GETFL) == (O_RDWR | O_NONBLOCK | O_ASYNC));
	settle();
	inputs = 0;
	CHECK(write(ends[0], "x", 1) == 1 && comes(&inputs));
	CHECK(read(ends[1], &byte, 1) == 1 && byte == 'x');
	CHECK(!fcntl(ends[1], F_SETSIG, SIGRTMIN) && fcntl(ends[1], F_GETSIG) == SIGRTMIN);
	settle();
	real_time = 0;
	CHECK(write(ends[0], "y", 1) == 1 && comes(&real_time) && of_fd == ends[1]);
	CHECK(!fcntl(ends[1], F_SETSIG, 0) && !fcntl(ends[1], F_SETFL, O_NONBLOCK));
	settle();
	inputs = real_time = 0;
	CHECK(write(ends[0], "z", 1) == 1);
	usleep(30000);
	CHECK(!inputs && !real_time);

	CHECK(!ioctl(ends[0], FIOASYNC, &on) && (fcntl(ends[0], F_GETFL) & O_ASYNC));
	on = 0;
	CHECK(!ioctl(ends[0], FIOASYNC, &on) && !(fcntl(ends[0], F_GETFL) & O_ASYNC));
	/* Others of this group do not expect to be told. */
	who = -getpgrp();
	CHECK(!ioctl(ends[0], FIOSETOWN, &who) && !ioctl(ends[0], FIOGETOWN, &on) && on == who);
	CHECK(!fcntl(ends[0], F_GETOWN_EX, &owner) && owner.type == F_OWNER_PGRP &&
	      owner.pid == getpgrp());
	who = 0;
	CHECK(!ioctl(ends[0], FIOSETOWN, &who) && fcntl(ends[0], F_GETOWN) == 0);
	unpair(ends);
	signal(SIGIO, SIG_IGN);
}

int main(void)
{
	alarm(100);
	numbers();
	polls();
	wakes();
	epolls();
	transfers();
	splices();
	signals();
	return done();
}
