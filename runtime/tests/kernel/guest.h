/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernels with networks, as tests and measurements want them. */
#ifndef RUMPEL_TESTS_GUEST_H
#define RUMPEL_TESTS_GUEST_H

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rumpel/rumpel.h>

#include "../check.h"

#define guest_call(task, nr, ...) guest_call6(task, nr, (const unsigned long[6]){ __VA_ARGS__ })
#define ptr(p) ((unsigned long)(p))

static inline long guest_call6(struct rumpel_task *task, long nr, const unsigned long a[6])
{
	return rumpel_syscall(task, nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static inline struct rumpel_kernel *guest_boot_with(struct rumpel_config config)
{
	struct rumpel_kernel *kernel = NULL;
	const char *why = NULL;
	int error;

	config.image = getenv("RUMPEL_IMAGE");
	config.error = &why;
	error = rumpel_boot(&config, &kernel);
	if (error)
		fprintf(stderr, "boot: %s %s\n", strerror(-error), why ? why : "");
	EQUAL(error, 0);
	return kernel;
}

static inline struct rumpel_kernel *guest_boot(struct rumpel_clock *clock,
					       struct rumpel_device **devices, size_t count)
{
	return guest_boot_with((struct rumpel_config){
		.clock = clock, .devices = devices, .device_count = count });
}

static inline void guest_end(struct rumpel_kernel *kernel)
{
	EQUAL(rumpel_halt(kernel), 0);
	rumpel_kernel_free(kernel);
}

static inline struct sockaddr_in guest_address(const char *ip, unsigned int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	EQUAL(inet_pton(AF_INET, ip, &address.sin_addr), 1);
	return address;
}

/* An address of a /24 network for an interface, which is then up. */
static inline void guest_ifup(struct rumpel_kernel *kernel, const char *name, const char *ip)
{
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct sockaddr_in address = guest_address(ip, 0), mask = guest_address("255.255.255.0", 0);
	long fd = guest_call(init, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	struct ifreq request = { 0 };

	CHECK(fd >= 0);
	strcpy(request.ifr_name, name);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	EQUAL(guest_call(init, SYS_ioctl, fd, SIOCSIFADDR, ptr(&request)), 0);
	memcpy(&request.ifr_addr, &mask, sizeof(mask));
	EQUAL(guest_call(init, SYS_ioctl, fd, SIOCSIFNETMASK, ptr(&request)), 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	EQUAL(guest_call(init, SYS_ioctl, fd, SIOCSIFFLAGS, ptr(&request)), 0);
	guest_call(init, SYS_close, fd);
}

static inline long guest_listen(struct rumpel_task *task, const char *ip, unsigned int port)
{
	struct sockaddr_in address = guest_address(ip, port);
	long fd = guest_call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);

	EQUAL(guest_call(task, SYS_bind, fd, ptr(&address), sizeof(address)), 0);
	EQUAL(guest_call(task, SYS_listen, fd, 8), 0);
	return fd;
}

static inline long guest_connect(struct rumpel_task *task, const char *ip, unsigned int port)
{
	struct sockaddr_in address = guest_address(ip, port);
	long fd = guest_call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);

	EQUAL(guest_call(task, SYS_connect, fd, ptr(&address), sizeof(address)), 0);
	return fd;
}

static inline uint64_t host_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

#endif
