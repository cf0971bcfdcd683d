// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of the kernel's are taken away from this process, again and again, by what others unmap.
 * That is nothing a program hears of: no call ends early, no child dies.
 */
#include "check.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
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
	const struct itimerval alarm = { .it_value = { 0, WAIT_MS * 1000 } };
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
	close(timer);
	close(epoll);
	close(pipes[0]);
	close(pipes[1]);
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
	pid_t others[OTHERS];

	for (int i = 0; i < OTHERS; i++) {
		others[i] = fork();
		if (others[i])
			continue;
		while (!*stop && !failures) {
			volatile char *own = ring();

			own[0] = 1;
			munmap((void *)own, SIZE);
		}
		_exit(done());
	}
	waits(page);
	children(page);
	*stop = 1;
	for (int i = 0; i < OTHERS; i++) {
		int status = -1;

		CHECK(waitpid(others[i], &status, 0) == others[i] && !status);
	}
	return done();
}
