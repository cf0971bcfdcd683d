// SPDX-License-Identifier: GPL-2.0-only
/* Several processes have one kernel: calls, descriptors, memory, signals, threads. */
#include "guest.h"

#include <netinet/in.h>
#include <pthread.h>

static void nothing(void *argument)
{
	(void)argument;
	CHECK(call(SYS_getpid) > 1);
}

static void attach_and_leave(void)
{
	struct guest guest = guest_start(NULL);

	for (int i = 0; i < 3; i++)
		expect_status(spawn(nothing, NULL), 0);
	guest_end(&guest, 0);
}

static void broken_pipe(void *argument)
{
	int pipe[2];

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(pipe)), 0);
	EQUAL(call(SYS_close, pipe[0]), 0);
	EQUAL(call(SYS_write, pipe[1], ptr("x"), 1), -EPIPE);
	EQUAL(call(SYS_write, pipe[1], ptr("x"), 1), -EPIPE);
}

static void broken_pipes(void)
{
	in_guest(broken_pipe);
}

/* Bytes back and forth through pipes that the child has from its parent. */
static void ping_pong(void *argument)
{
	int to[2], from[2];
	char byte = 0;
	pid_t child;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(to)), 0);
	EQUAL(call(SYS_pipe, ptr(from)), 0);
	child = fork_attached();
	for (int i = 0; i < 2000; i++) {
		char sent = (char)i, got = 0;

		if (child) {
			EQUAL(call(SYS_write, to[1], ptr(&sent), 1), 1);
			EQUAL(call(SYS_read, from[0], ptr(&got), 1), 1);
			EQUAL(got, (char)(i + 1));
		} else {
			EQUAL(call(SYS_read, to[0], ptr(&byte), 1), 1);
			byte++;
			EQUAL(call(SYS_write, from[1], ptr(&byte), 1), 1);
		}
	}
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void pipes(void)
{
	in_guest(ping_pong);
}

static void receive_all(int fd, char *buffer, size_t size)
{
	size_t got = 0;

	while (got < size) {
		long more = call(SYS_recvfrom, fd, ptr(buffer + got), size - got, 0, 0, 0);

		CHECK(more > 0);
		got += more;
	}
}

static void send_all(int fd, const char *buffer, size_t size)
{
	size_t sent = 0;

	while (sent < size) {
		long more = call(SYS_sendto, fd, ptr(buffer + sent), size - sent, 0, 0, 0);

		CHECK(more > 0);
		sent += more;
	}
}

static const struct sockaddr_in server = { .sin_family = AF_INET,
					   .sin_port = 0x5000, /* 80 */
					   .sin_addr.s_addr = 0x0100007f };

static int listen_on_loopback(void)
{
	long fd = call(SYS_socket, AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	EQUAL(call(SYS_bind, fd, ptr(&server), sizeof(server)), 0);
	EQUAL(call(SYS_listen, fd, 128), 0);
	return (int)fd;
}

static int connect_to_loopback(void)
{
	long fd = call(SYS_socket, AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	EQUAL(call(SYS_connect, fd, ptr(&server), sizeof(server)), 0);
	return (int)fd;
}

/*
 * Each of two processes has its own content where the other has poison: a copy made in
 * the wrong one would show, or spoil, that.
 */
#define SIZE (256 << 10)
static char buffer[SIZE];

static void own_memory(void *argument)
{
	int listener = listen_on_loopback(), fd;
	pid_t child = fork_attached();
	char mine = child ? 'p' : 'c', other = child ? 'c' : 'p';

	(void)argument;
	if (child) {
		fd = connect_to_loopback();
	} else {
		fd = (int)call(SYS_accept, listener, 0, 0);
		CHECK(fd >= 0);
	}
	for (int i = 0; i < 20; i++) {
		/* Both send and receive at the same address, in turn. */
		for (int turn = 0; turn < 2; turn++) {
			bool sends = turn == !child;

			memset(buffer, sends ? mine : '#', SIZE);
			if (sends)
				send_all(fd, buffer, SIZE);
			else
				receive_all(fd, buffer, SIZE);
			for (int at = 0; at < SIZE; at++)
				EQUAL(buffer[at], sends ? mine : other);
		}
	}
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void memory(void)
{
	in_guest(own_memory);
}

/* Children that accept on the socket of their parent. */
#define CHILDREN 4
#define CONNECTIONS 100

static void serve(int listener)
{
	for (;;) {
		int fd = (int)call(SYS_accept, listener, 0, 0);
		char text[16];
		pid_t self = getpid();

		CHECK(fd >= 0);
		receive_all(fd, text, sizeof(text));
		if (!memcmp(text, "end", 3))
			leave(0);
		send_all(fd, text, sizeof(text));
		send_all(fd, (char *)&self, sizeof(self));
		EQUAL(call(SYS_close, fd), 0);
	}
}

static void prefork(void *argument)
{
	int listener = listen_on_loopback();
	pid_t children[CHILDREN];
	char text[16], answer[16];
	pid_t served_by;

	(void)argument;
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork_attached();
		if (!children[i])
			serve(listener);
	}
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = connect_to_loopback(), known = 0;

		memset(text, i, sizeof(text));
		send_all(fd, text, sizeof(text));
		receive_all(fd, answer, sizeof(answer));
		receive_all(fd, (char *)&served_by, sizeof(served_by));
		CHECK(!memcmp(text, answer, sizeof(text)));
		for (int c = 0; c < CHILDREN; c++)
			known += children[c] == served_by;
		EQUAL(known, 1);
		EQUAL(call(SYS_close, fd), 0);
	}
	for (int i = 0; i < CHILDREN; i++)
		send_all(connect_to_loopback(), "end             ", 16);
	for (int i = 0; i < CHILDREN; i++)
		expect_status(children[i], 0);
}

static void prefork_server(void)
{
	in_guest(prefork);
}

/* ---- signals ---- */

static void on_alarm(int number)
{
	(void)number;
	rumpel_shared->interrupt(&local);
}

static void alarm_in(long us)
{
	const struct itimerspec when = { .it_value.tv_nsec = us * 1000 };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	static timer_t timer;

	if (!timer)
		EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	EQUAL(timer_settime(timer, 0, &when, NULL), 0);
}

/* Also when it comes just as the call begins to wait. */
static void interrupts(void *argument)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };
	int pipe[2], ended = 0;
	char byte;

	(void)argument;
	EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
	EQUAL(call(SYS_pipe, ptr(pipe)), 0);
	for (int i = 1; i < 300; i++) {
		alarm_in(i % 50 * 4 + 1);
		EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), -EINTR);
		ended++;
	}
	EQUAL(ended, 299);
	EQUAL(call(SYS_write, pipe[1], ptr("x"), 1), 1);
	EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), 1);
}

static void signals(void)
{
	in_guest(interrupts);
}

/* The same in two processes: one of them follows. */
static void two_interrupts(void *argument)
{
	pid_t child = fork_attached();

	interrupts(argument);
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void signals_of_two(void)
{
	in_guest(two_interrupts);
}

/* A signal that comes while the runtime makes a call for itself is for the next one. */
static void interrupt_fork(void *argument)
{
	int pipe[2];
	char byte;
	pid_t child;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(pipe)), 0);
	rumpel_shared->interrupt(&local);
	child = fork_attached();
	if (!child)
		leave(0);
	EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), -EINTR);
	expect_status(child, 0);
}

static void signal_in_fork(void)
{
	in_guest(interrupt_fork);
}

/* ---- the host's descriptors ---- */

static void wait_for_both(void *argument)
{
	int mine[2], hosts[2], ready, status;
	struct pollfd also, polled;
	pid_t child;

	(void)argument;
	EQUAL(pipe(hosts), 0);
	EQUAL(call(SYS_pipe, ptr(mine)), 0);
	child = fork_attached();
	if (!child) {
		for (int i = 0; i < 100; i++) {
			usleep(100);
			if (i % 2)
				EQUAL(write(hosts[1], "h", 1), 1);
			else
				EQUAL(call(SYS_write, mine[1], ptr("k"), 1), 1);
		}
		leave(0);
	}
	for (int i = 0; i < 100; i++) {
		char byte = 0;
		long result;

		also = (struct pollfd){ hosts[0], POLLIN, 0 };
		polled = (struct pollfd){ mine[0], POLLIN, 0 };
		result = rumpel_shared->poll(SYS_poll,
					     (const unsigned long[6]){ ptr(&polled), 1, -1 }, &also,
					     1, &ready);
		CHECK(result == 1 || (result == -EINTR && ready == 1));
		if (result == 1)
			EQUAL(call(SYS_read, mine[0], ptr(&byte), 1), 1);
		else
			EQUAL(read(hosts[0], &byte, 1), 1);
	}
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
}

static void host_descriptors(void)
{
	in_guest(wait_for_both);
}

/* More than the runtime polls itself, and one of them twice, with other events each time. */
#define MANY 40

static void wait_for_many(void *argument)
{
	struct pollfd also[MANY], polled = { 0 };
	int mine[2], quiet[2], host[2], ready;

	(void)argument;
	EQUAL(pipe(quiet), 0);
	EQUAL(pipe(host), 0);
	EQUAL(call(SYS_pipe, ptr(mine)), 0);
	for (int i = 0; i < MANY; i++)
		also[i] = (struct pollfd){ i < MANY - 1 ? quiet[0] : host[0], POLLIN, 0 };
	also[0] = (struct pollfd){ host[0], POLLPRI, 0 };
	polled = (struct pollfd){ mine[0], POLLIN, 0 };
	if (!fork()) {
		usleep(50000);
		_exit(write(host[1], "h", 1) != 1);
	}
	EQUAL(rumpel_shared->poll(SYS_poll, (const unsigned long[6]){ ptr(&polled), 1, 10000 },
				  also, MANY, &ready),
	      -EINTR);
	EQUAL(ready, 1);
	EQUAL(also[MANY - 1].revents, POLLIN);
}

static void many_descriptors(void)
{
	in_guest(wait_for_many);
}

/* ---- threads ---- */

struct thread {
	struct rumpel_local local;
	int in, out;
};

static void *thread_main(void *argument)
{
	struct thread *thread = argument;
	char byte;

	signal_stack();
	set_gs(&thread->local);
	for (int i = 0; i < 500; i++) {
		EQUAL(call(SYS_read, thread->in, ptr(&byte), 1), 1);
		EQUAL(call(SYS_write, thread->out, ptr(&byte), 1), 1);
	}
	rumpel_shared->thread_end(&thread->local);
	return NULL;
}

static void with_threads(void *argument)
{
	struct thread threads[4];
	pthread_t ids[4];
	int pipes[5][2];
	char byte;

	(void)argument;
	for (int i = 0; i < 5; i++)
		EQUAL(call(SYS_pipe, ptr(pipes[i])), 0);
	for (int i = 0; i < 4; i++) {
		threads[i] = (struct thread){ .in = pipes[i][0], .out = pipes[i + 1][1] };
		EQUAL(rumpel_shared->thread_begin(&threads[i].local), 0);
		EQUAL(pthread_create(&ids[i], NULL, thread_main, &threads[i]), 0);
	}
	for (int i = 0; i < 500; i++) {
		byte = (char)i;
		EQUAL(call(SYS_write, pipes[0][1], ptr(&byte), 1), 1);
		EQUAL(call(SYS_read, pipes[4][0], ptr(&byte), 1), 1);
		EQUAL(byte, (char)i);
	}
	for (int i = 0; i < 4; i++)
		EQUAL(pthread_join(ids[i], NULL), 0);
}

static void threads(void)
{
	in_guest(with_threads);
}

static const struct test tests[] = {
	{ attach_and_leave, "processes come and go" },
	{ pipes, "a child has its parent's descriptors: ping-pong" },
	{ broken_pipes, "a broken pipe ends nobody" },
	{ memory, "calls use the memory of their own process" },
	{ prefork_server, "four processes accept on one socket" },
	{ signals, "a signal interrupts a call" },
	{ signals_of_two, "also of a process that follows" },
	{ host_descriptors, "a wait for the kernel's and the host's descriptors" },
	{ many_descriptors, "one descriptor of the host's may be named twice" },
	{ signal_in_fork, "a signal during a fork ends the next call" },
	{ threads, "threads of a process" },
};

TEST_MAIN(tests)
