// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of the kernel's are taken away from this process, again and again, by what others unmap.
 * That is nothing a program hears of: no call ends early, no child dies.
 */
#include "check.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#define SIZE (4 * 4096)
#define OTHERS 2
#define CHILDREN 150
#define WAIT_MS 60
#define LONG 100

static volatile char *ring(void)
{
	struct tpacket_req request = {
		.tp_block_size = 4096, .tp_block_nr = 4, .tp_frame_size = 2048, .tp_frame_nr = 8
	};
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	char *at;

	CHECK(fd >= 0);
	CHECK(!setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)));
	at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at != MAP_FAILED);
	close(fd);
	return at;
}

static void on_alarm(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

/* Each after a touch, without which nobody would have to be told. */
static void waits(volatile char *page)
{
	const struct timespec time = { 0, WAIT_MS * 1000000l }, more = { LONG, 0 };
	const struct itimerspec once = { .it_value = time };
	/* Again and again: the first may come before the wait that it is to end. */
	const struct itimerval alarm = { { 0, WAIT_MS * 1000 }, { 0, WAIT_MS * 1000 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct timeval interval = { 0, WAIT_MS * 1000 };
	struct timespec left = time;
	struct epoll_event event;
	int timer = timerfd_create(CLOCK_MONOTONIC, 0), epoll = epoll_create1(0), pipes[2];
	struct pollfd polled = { .events = POLLIN };
	uint64_t count;

	CHECK(!pipe(pipes));
	polled.fd = pipes[0];
	page[0]++;
	CHECK(!nanosleep(&time, &left));
	page[0]++;
	CHECK(!clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL));
	page[0]++;
	CHECK(!poll(&polled, 1, WAIT_MS));
	page[0]++;
	CHECK(!ppoll(&polled, 1, &time, NULL));
	page[0]++;
	CHECK(!select(0, NULL, NULL, NULL, &interval));
	page[0]++;
	CHECK(!pselect(0, NULL, NULL, NULL, &time, NULL));
	page[0]++;
	CHECK(!epoll_wait(epoll, &event, 1, WAIT_MS));
	CHECK(!timerfd_settime(timer, 0, &once, NULL));
	page[0]++;
	CHECK(read(timer, &count, sizeof(count)) == sizeof(count));
	/* Its own signal ends a wait, and the rest is what is left. */
	handle(SIGALRM, on_alarm, SA_RESTART);
	CHECK(!setitimer(ITIMER_REAL, &alarm, NULL));
	page[0]++;
	CHECK(nanosleep(&more, &left) == -1 && errno == EINTR);
	CHECK(left.tv_sec > 0 && left.tv_sec < LONG);
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	close(timer);
	close(epoll);
	close(pipes[0]);
	close(pipes[1]);
}

/* Their times are from now, and nobody says what is left of them. */
static void timed(volatile char *page)
{
	const struct timespec time = { 0, WAIT_MS * 1000000l };
	struct sembuf take = { .sem_op = -1 };
	int sem = semget(IPC_PRIVATE, 1, 0600), epoll = epoll_create1(0), word = 0;
	struct epoll_event event;
	struct io_event done;
	aio_context_t io = 0;
	sigset_t usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK(sem >= 0 && !syscall(SYS_io_setup, 1, &io));
	page[0]++;
	CHECK(semtimedop(sem, &take, 1, &time) == -1 && errno == EAGAIN);
	page[0]++;
	CHECK(sigtimedwait(&usr1, NULL, &time) == -1 && errno == EAGAIN);
	page[0]++;
	CHECK(!syscall(SYS_epoll_pwait2, epoll, &event, 1, &time, NULL, 8));
	page[0]++;
	CHECK(!syscall(SYS_io_getevents, io, 1, 1, &done, &time));
	page[0]++;
	CHECK(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &time) == -1 && errno == ETIMEDOUT);
	CHECK(!semctl(sem, 0, IPC_RMID) && !syscall(SYS_io_destroy, io));
	close(epoll);
}

/* Sockets of the host's have times of their own, which also end where nothing comes. */
static void sockets(volatile char *page)
{
	const struct timeval time = { 0, WAIT_MS * 1000 };
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
	char block[4096] = "";

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK(!setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	CHECK(!setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)));
	CHECK(!setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	CHECK(!bind(listener, (struct sockaddr *)&name, sizeof(name.sun_family)));
	CHECK(!listen(listener, 1));
	page[0]++;
	CHECK(recv(pair[0], block, 1, 0) == -1 && errno == EAGAIN);
	page[0]++;
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
	while (send(pair[0], block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	page[0]++;
	CHECK(write(pair[0], block, sizeof(block)) == -1 && errno == EAGAIN);
	close(pair[0]);
	close(pair[1]);
	close(listener);
}

/* A program that takes all signals by itself gets none of the kernel's. */
static void awaited(volatile char *page)
{
	const struct timespec time = { 0, WAIT_MS * 1000000l };
	sigset_t all, before, pending;
	struct pollfd polled = { .events = POLLIN };

	sigfillset(&all);
	CHECK(!sigprocmask(SIG_SETMASK, &all, &before));
	polled.fd = signalfd(-1, &all, 0);
	page[0]++;
	CHECK(sigtimedwait(&all, NULL, &time) == -1 && errno == EAGAIN);
	page[0]++;
	CHECK(!poll(&polled, 1, WAIT_MS));
	page[0]++;
	CHECK(!nanosleep(&time, NULL));
	CHECK(!sigpending(&pending) && !sigismember(&pending, SIGBUS));
	CHECK(!sigprocmask(SIG_SETMASK, &before, NULL));
	close(polled.fd);
}

/* One of somebody's is pending, however often that is asked, until it is taken. */
static void pending_signal(void)
{
	sigset_t sigbus, pending;

	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	handle(SIGBUS, on_alarm, 0);
	CHECK(!sigprocmask(SIG_BLOCK, &sigbus, NULL));
	CHECK(!kill(getpid(), SIGBUS));
	CHECK(!sigpending(&pending) && sigismember(&pending, SIGBUS) == 1);
	CHECK(!sigpending(&pending) && sigismember(&pending, SIGBUS) == 1);
	CHECK(!sigprocmask(SIG_UNBLOCK, &sigbus, NULL));
	CHECK(!sigpending(&pending) && !sigismember(&pending, SIGBUS));
}

static void children(volatile char *page)
{
	for (int i = 0; i < CHILDREN; i++) {
		int status = -1;
		pid_t pid;

		page[0]++;
		pid = vfork();
		if (!pid)
			_exit(0);
		CHECK(waitpid(pid, &status, 0) == pid && !status);
	}
}

int main(void)
{
	volatile int *stop =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile char *page = ring();
	pid_t others[OTHERS], parent = getpid();

	pending_signal();
	for (int i = 0; i < OTHERS; i++) {
		others[i] = fork();
		if (others[i])
			continue;
		while (!*stop && !failures && getppid() == parent) {
			volatile char *own = ring();

			own[0] = 1;
			munmap((void *)own, SIZE);
		}
		_exit(done());
	}
	waits(page);
	timed(page);
	sockets(page);
	awaited(page);
	children(page);
	*stop = 1;
	for (int i = 0; i < OTHERS; i++) {
		int status = -1;

		CHECK(waitpid(others[i], &status, 0) == others[i] && !status);
	}
	return done();
}
