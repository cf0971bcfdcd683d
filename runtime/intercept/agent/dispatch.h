/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_DISPATCH_H
#define AGENT_DISPATCH_H

#include "agent.h"

#define CALLS 512

enum decider { BY_NOTHING, BY_FD, BY_PATH, BY_FAMILY };

/* What is known of a call; calls.h. */
struct call {
	const char *name; /* NULL: there is no such call */
	long (*act)(struct thread *t);
	uint8_t decider, at, dir; /* dir: argument with a directory, or NO_DIR */
	bool new_fd;
	bool both; /* act deals with both kernels */
};

#define NO_DIR 0xff

extern const struct call calls[CALLS];
long argument(const struct thread *t, int n);
/* A call with another argument n, on the host. */
long call_with(struct thread *t, int n, long value);

#endif
