/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections, which may be another kernel's. */
#ifndef PROGRAMS_PAIR_H
#define PROGRAMS_PAIR_H

#include "check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two ends of a connection over the loopback interface. */
static inline void pair(int ends[2], int type)
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

static inline void unpair(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

#endif
