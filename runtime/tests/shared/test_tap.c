// SPDX-License-Identifier: GPL-2.0-only
/* A TAP device, which whoever holds the token reads and writes. */
#include "guest.h"

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

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
static const struct test tests[] = {
	{ tap, "two processes on one TAP device" },
};

TEST_MAIN(tests)
