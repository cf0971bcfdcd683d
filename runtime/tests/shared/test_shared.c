// SPDX-License-Identifier: GPL-2.0-only
/* Several processes have one kernel: descriptors, memory, signals, threads. */
#include "guest.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/un.h>

/* Runs `run` as an attached process of a new kernel. */
static void in_guest(void (*run)(void *argument))
{
	struct guest guest = guest_start(NULL);

	expect_status(spawn(run, NULL), 0);
	guest_end(&guest, 0);
}

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

/* ---- memory that is mapped twice: programs of socket filters lie in the vmalloc range ---- */

/* So long that addresses are soon used again. */
#define INSTRUCTIONS 4000

/* Lets packets pass that begin with `byte`. */
static void set_filter(long fd, unsigned char byte)
{
	static const struct sock_filter end[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), /* behind the UDP header */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	static struct sock_filter code[INSTRUCTIONS];
	struct sock_fprog program = { .len = INSTRUCTIONS, .filter = code };

	for (int i = 0; i < INSTRUCTIONS - 4; i++)
		code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, 0);
	memcpy(code + INSTRUCTIONS - 4, end, sizeof(end));
	code[INSTRUCTIONS - 3].k = byte;
	EQUAL(call(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, ptr(&program),
		   sizeof(program)),
	      0);
}

static void filters(void *argument)
{
	long fd = call(SYS_socket, AF_INET, SOCK_DGRAM, 0);
	int turn[2], back[2];
	pid_t child;
	char byte;

	(void)argument;
	EQUAL(call(SYS_bind, fd, ptr(&server), sizeof(server)), 0);
	EQUAL(call(SYS_pipe, ptr(turn)), 0);
	EQUAL(call(SYS_pipe, ptr(back)), 0);
	child = fork_attached();
	/* The two set it in turns, and both send: what passes is what was set last. */
	for (int i = 0; i < 1500; i++) {
		unsigned char wanted = (unsigned char)(i + 1), other = (unsigned char)i;
		bool mine = i % 2 == !child;

		if (mine)
			set_filter(fd, wanted);
		for (int side = 0; side < 2; side++) {
			if ((side == 0) != mine) {
				EQUAL(call(SYS_read, child ? back[0] : turn[0], ptr(&byte), 1), 1);
				continue;
			}
			EQUAL(call(SYS_sendto, fd, ptr(&other), 1, 0, ptr(&server), sizeof(server)),
			      1);
			EQUAL(call(SYS_sendto, fd, ptr(&wanted), 1, 0, ptr(&server),
				   sizeof(server)),
			      1);
			EQUAL(call(SYS_recvfrom, fd, ptr(&byte), 1, MSG_DONTWAIT, 0, 0), 1);
			EQUAL((unsigned char)byte, wanted);
			EQUAL(call(SYS_recvfrom, fd, ptr(&byte), 1, MSG_DONTWAIT, 0, 0), -EAGAIN);
			EQUAL(call(SYS_write, child ? turn[1] : back[1], ptr("x"), 1), 1);
		}
	}
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static void aliases(void)
{
	in_guest(filters);
}

/* ---- mmap ---- */

static void touch_mappings(void *argument)
{
	struct tpacket_req ring = {
		.tp_block_size = 4096, .tp_block_nr = 16, .tp_frame_size = 2048, .tp_frame_nr = 32
	};
	long fd = call(SYS_socket, AF_PACKET, SOCK_RAW, 0), at;
	volatile unsigned int *words;
	int turn[2], back[2];
	pid_t child;
	char byte;

	(void)argument;
	CHECK(fd >= 0);
	EQUAL(call(SYS_setsockopt, fd, SOL_PACKET, PACKET_RX_RING, ptr(&ring), sizeof(ring)), 0);
	at = call(SYS_mmap, 0, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(at > 0);
	words = (volatile unsigned int *)at;
	EQUAL(call(SYS_pipe, ptr(turn)), 0);
	EQUAL(call(SYS_pipe, ptr(back)), 0);
	for (int page = 0; page < 16; page++)
		words[page * 1024 + 100] = page;
	child = fork_attached();
	if (child) {
		for (int page = 0; page < 16; page++)
			words[page * 1024 + 200] = page + 50;
		EQUAL(call(SYS_write, turn[1], ptr("x"), 1), 1);
		EQUAL(call(SYS_read, back[0], ptr(&byte), 1), 1);
	} else {
		EQUAL(call(SYS_read, turn[0], ptr(&byte), 1), 1);
		for (int page = 0; page < 16; page++) {
			EQUAL(words[page * 1024 + 100], page);
			EQUAL(words[page * 1024 + 200], page + 50);
		}
		/* A page of the ring as a buffer. */
		EQUAL(call(SYS_write, back[1], at + 400, 1), 1);
		EQUAL(call(SYS_munmap, at, 16 * 4096), 0);
		leave(0);
	}
	expect_status(child, 0);
}

static void mappings(void)
{
	in_guest(touch_mappings);
}

/* ---- vfork ---- */

struct vforked {
	struct rumpel_local local;
	struct rumpel_process *child;
	int pipe[2];
	char stack[64 << 10];
};

static int vfork_child(void *argument)
{
	struct vforked *vforked = argument;

	set_gs(&vforked->local);
	rumpel_shared->fork_child(vforked->child);
	/* The descriptors are its own, the memory is its parent's. */
	call(SYS_close, vforked->pipe[0]);
	call(SYS_write, vforked->pipe[1], ptr(&vforked->pipe), 4);
	rumpel_shared->exit();
	syscall(SYS_exit, 7);
	return 0;
}

static void with_vfork(void *argument)
{
	static struct vforked vforked;
	int got;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(vforked.pipe)), 0);
	for (int i = 0; i < 50; i++) {
		pid_t pid;

		vforked.local = (struct rumpel_local){ .clock_gettime = local.clock_gettime };
		EQUAL(rumpel_shared->fork_begin(RUMPEL_SHARED_FORK_VM, &vforked.child), 0);
		pid = clone(vfork_child, vforked.stack + sizeof(vforked.stack),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, &vforked);
		CHECK(pid > 0);
		rumpel_shared->fork_parent(vforked.child, pid);
		expect_status(pid, 7 << 8);
		EQUAL(call(SYS_read, vforked.pipe[0], ptr(&got), sizeof(got)), 4);
		EQUAL(got, vforked.pipe[0]);
	}
}

static void vfork_children(void)
{
	in_guest(with_vfork);
}

/* ---- a process that does not run ---- */

static void with_stopped(void *argument)
{
	int pipe[2], others[2], status;
	static char text[64 << 10];
	pid_t child;
	char byte;

	(void)argument;
	EQUAL(call(SYS_pipe, ptr(pipe)), 0);
	EQUAL(call(SYS_pipe, ptr(others)), 0);
	child = fork_attached();
	if (!child) {
		EQUAL(call(SYS_read, pipe[0], ptr(&byte), 1), 1);
		EQUAL(byte, 'w');
		leave(0);
	}
	usleep(20000);
	kill(child, SIGSTOP);
	EQUAL(waitpid(child, &status, WUNTRACED), child);
	CHECK(WIFSTOPPED(status));
	for (int i = 0; i < 1000; i++) {
		/* Longer than the keeper looks in for callers that come and go. */
		const struct timespec moment = { .tv_nsec = i % 500 ? 1000 : 300000000 };

		EQUAL(call(SYS_write, others[1], ptr(text), 100), 100);
		EQUAL(call(SYS_read, others[0], ptr(text), 100), 100);
		if (i % 100 == 0)
			EQUAL(call(SYS_nanosleep, ptr(&moment), 0), 0);
		/* From here on its call would go on, but not here. */
		if (i == 500)
			EQUAL(call(SYS_write, pipe[1], ptr("w"), 1), 1);
	}
	kill(child, SIGCONT);
	expect_status(child, 0);
}

static void stopped(void)
{
	in_guest(with_stopped);
}

/* ---- a TAP device, which whoever holds the token reads and writes ---- */

#define ECHOES 100

/* Both the host's ioctl and the kernel's. */
static void set_address(long (*run)(long nr, const unsigned long args[6]), const char *name,
			const char *address)
{
	long fd = run(SYS_socket, (const unsigned long[6]){ AF_INET, SOCK_DGRAM });
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct ifreq request = { 0 };

	CHECK(fd >= 0);
	strcpy(request.ifr_name, name);
	inet_pton(AF_INET, address, &in.sin_addr);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	EQUAL(run(SYS_ioctl, (const unsigned long[6]){ fd, SIOCSIFADDR, ptr(&request) }), 0);
	in.sin_addr.s_addr = htonl(0xffffff00);
	memcpy(&request.ifr_netmask, &in, sizeof(in));
	EQUAL(run(SYS_ioctl, (const unsigned long[6]){ fd, SIOCSIFNETMASK, ptr(&request) }), 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	EQUAL(run(SYS_ioctl, (const unsigned long[6]){ fd, SIOCSIFFLAGS, ptr(&request) }), 0);
	EQUAL(run(SYS_close, (const unsigned long[6]){ fd }), 0);
}

static long host_call(long nr, const unsigned long args[6])
{
	return syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

static void echo(int port, int ready)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(port) };
	long fd = call(SYS_socket, AF_INET, SOCK_DGRAM, 0);
	char text[1000];

	EQUAL(call(SYS_bind, fd, ptr(&from), sizeof(from)), 0);
	EQUAL(write(ready, "r", 1), 1);
	for (int i = 0; i < ECHOES; i++) {
		socklen_t size = sizeof(from);
		long len =
			call(SYS_recvfrom, fd, ptr(text), sizeof(text), 0, ptr(&from), ptr(&size));

		CHECK(len > 0);
		EQUAL(call(SYS_sendto, fd, ptr(text), len, 0, ptr(&from), size), len);
	}
}

static void echoes(void *argument)
{
	pid_t child;

	set_address(rumpel_shared->call, "eth0", "10.77.0.2");
	child = fork_attached();
	echo(child ? 7001 : 7002, *(int *)argument);
	if (!child)
		leave(0);
	expect_status(child, 0);
}

static int open_tap(void)
{
	struct ifreq request = { .ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	CHECK(fd >= 0);
	EQUAL(ioctl(fd, TUNSETIFF, &request), 0);
	set_address(host_call, "tap0", "10.77.0.1");
	return fd;
}

/* In a network namespace of its own. */
static void tap_in_namespace(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timeval patience = { .tv_sec = 20 };
	char option[32], sent[1000], got[1000];
	int tap = open_tap(), ready[2], fd;
	struct guest guest;
	pid_t pid;

	snprintf(option, sizeof(option), "tap=%d", tap);
	guest = guest_start(option);
	EQUAL(pipe(ready), 0);
	pid = spawn(echoes, &ready[1]);
	for (int i = 0; i < 2; i++)
		EQUAL(read(ready[0], got, 1), 1);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	inet_pton(AF_INET, "10.77.0.2", &to.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < 2 * ECHOES; i++) {
		to.sin_port = htons(7001 + i % 2);
		memset(sent, i, sizeof(sent));
		EQUAL(sendto(fd, sent, sizeof(sent), 0, (void *)&to, sizeof(to)), sizeof(sent));
		EQUAL(recv(fd, got, sizeof(got), 0), sizeof(got));
		CHECK(!memcmp(sent, got, sizeof(got)));
	}
	expect_status(pid, 0);
	guest_end(&guest, 0);
}

static void tap(void)
{
	pid_t pid = fork();

	if (!pid) {
		alarm(60);
		EQUAL(unshare(CLONE_NEWNET), 0);
		tap_in_namespace();
		_exit(0);
	}
	expect_status(pid, 0);
}

/* ---- exec ---- */

static void exec_parent(void *argument)
{
	int pipe[2], kept[2];
	char text[2][16];

	(void)argument;
	EQUAL(call(SYS_pipe2, ptr(pipe), O_CLOEXEC), 0);
	EQUAL(call(SYS_pipe2, ptr(kept), 0), 0);
	EQUAL(call(SYS_write, kept[1], ptr("before"), 6), 6);
	snprintf(text[0], sizeof(text[0]), "%d", pipe[0]);
	snprintf(text[1], sizeof(text[1]), "%d", kept[0]);
	EQUAL(rumpel_shared->exec_begin(), 0);
	EQUAL(execl("/nonexistent", "x", NULL), -1);
	rumpel_shared->exec_failed();
	EQUAL(call(SYS_fcntl, pipe[0], F_GETFD), FD_CLOEXEC);
	EQUAL(rumpel_shared->exec_begin(), 0);
	execl("/proc/self/exe", "test_shared", "--exec", text[0], text[1], NULL);
	abort();
}

static int exec_child(char **argv)
{
	char got[8] = "";

	alarm(30);
	EQUAL(attach(), 0);
	EQUAL(call(SYS_fcntl, atoi(argv[2]), F_GETFD), -EBADF);
	EQUAL(call(SYS_read, atoi(argv[3]), ptr(got), sizeof(got)), 6);
	EQUAL(strcmp(got, "before"), 0);
	leave(0);
	return 0;
}

static void exec(void)
{
	in_guest(exec_parent);
}

/* A thread that waits in the kernel when another one execs. */
static void *blocked_thread(void *argument)
{
	struct thread *thread = argument;
	char byte;

	signal_stack();
	set_gs(&thread->local);
	call(SYS_read, thread->in, ptr(&byte), 1);
	return NULL;
}

static void exec_threads(void *argument)
{
	struct thread thread = { 0 };
	int pipe[2];
	pthread_t id;

	EQUAL(call(SYS_pipe2, ptr(pipe), 0), 0);
	thread.in = pipe[0];
	EQUAL(rumpel_shared->thread_begin(&thread.local), 0);
	EQUAL(pthread_create(&id, NULL, blocked_thread, &thread), 0);
	usleep(20000);
	exec_parent(argument);
}

static void exec_with_threads(void)
{
	in_guest(exec_threads);
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
	{ threads, "threads of a process" },
	{ aliases, "memory that is mapped twice is so in all processes" },
	{ mappings, "mappings are the same in all processes" },
	{ vfork_children, "a child of vfork has descriptors of its own" },
	{ stopped, "a process that is stopped holds nobody up" },
	{ tap, "two processes on one TAP device" },
	{ exec, "a program that execs keeps what it may" },
	{ exec_with_threads, "an exec while another thread is in a call" },
};

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--exec"))
		return exec_child(argv);
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
