/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernels in a line, each joined to the next by a cable; those in the middle are routers. */
#ifndef RUMPEL_TESTS_LINE_H
#define RUMPEL_TESTS_LINE_H

#include <fcntl.h>
#include <net/route.h>
#include <stdio.h>

#include "guest.h"

#define LINE_MOST 16

struct line {
	unsigned int count;
	struct rumpel_kernel *kernels[LINE_MOST];
	struct rumpel_device *devices[LINE_MOST][2]; /* to the left, to the right; NULL: an end */
};

/* Cable i is the network 10.0.i.0/24, .1 its left end and .2 its right one. */
static inline const char *line_address(unsigned int cable, unsigned int end, char *text)
{
	sprintf(text, "10.0.%u.%u", cable, end);
	return text;
}

static inline void line_route(struct rumpel_kernel *kernel, unsigned int cable, const char *via)
{
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in address;
	char text[32];
	long fd = guest_call(init, SYS_socket, AF_INET, SOCK_DGRAM, 0);

	address = guest_address(line_address(cable, 0, text), 0);
	memcpy(&route.rt_dst, &address, sizeof(address));
	address = guest_address(via, 0);
	memcpy(&route.rt_gateway, &address, sizeof(address));
	address = guest_address("255.255.255.0", 0);
	memcpy(&route.rt_genmask, &address, sizeof(address));
	EQUAL(guest_call(init, SYS_ioctl, fd, SIOCADDRT, ptr(&route)), 0);
	guest_call(init, SYS_close, fd);
}

static inline void line_configure(struct line *line, unsigned int n)
{
	struct rumpel_kernel *kernel = line->kernels[n];
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	char text[32];
	long fd;

	if (n)
		guest_ifup(kernel, "eth0", line_address(n - 1, 2, text));
	if (n + 1 < line->count)
		guest_ifup(kernel, n ? "eth1" : "eth0", line_address(n, 1, text));
	fd = guest_call(init, SYS_open, ptr("/proc/sys/net/ipv4/ip_forward"), O_WRONLY, 0);
	EQUAL(guest_call(init, SYS_write, fd, ptr("1"), 1), 1);
	guest_call(init, SYS_close, fd);
	for (unsigned int cable = 0; cable + 1 < n; cable++)
		line_route(kernel, cable, line_address(n - 1, 1, text));
	for (unsigned int cable = n + 1; cable + 1 < line->count; cable++)
		line_route(kernel, cable, line_address(n, 2, text));
}

/* `flags` of those in the middle, `end_flags` of the two at the ends. */
static inline void line_boot(struct line *line, unsigned int count, unsigned int flags,
			     unsigned int end_flags, unsigned int mtu)
{
	struct rumpel_device *cable[2];

	CHECK(count >= 2 && count <= LINE_MOST);
	*line = (struct line){ .count = count };
	for (unsigned int i = 0; i + 1 < count; i++) {
		EQUAL(rumpel_net_link(0, mtu, NULL, NULL, cable), 0);
		line->devices[i][1] = cable[0];
		line->devices[i + 1][0] = cable[1];
	}
	for (unsigned int i = 0; i < count; i++) {
		bool is_end = !i || i + 1 == count;

		/* As the stages of a chain: what cannot go out is not let in. */
		if (!is_end)
			EQUAL(rumpel_net_join(line->devices[i][0], line->devices[i][1]), 0);
		line->kernels[i] = guest_boot_with((struct rumpel_config){
			.devices = line->devices[i] + !i,
			.device_count = is_end ? 1 : 2,
			.flags = is_end ? end_flags : flags,
			.memory = 128 << 20,
		});
	}
	for (unsigned int i = 0; i < count; i++)
		line_configure(line, i);
}

static inline void line_end(struct line *line)
{
	for (unsigned int i = 0; i < line->count; i++)
		if (line->kernels[i])
			guest_end(line->kernels[i]);
}

#endif
