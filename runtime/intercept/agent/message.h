/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an agent is told when it is executed: by rumpel run, or by the agent that
 * was in the process before. It lies in a memory file; the agent knows its own
 * descriptor (the kernel says /dev/fd/N), and the others are those after it.
 * The environment and the arguments are the program's alone.
 */
#ifndef AGENT_MESSAGE_H
#define AGENT_MESSAGE_H

#include "agent.h"

/* Descriptors, relative to the agent's own. */
#define FD_AGENT 0
#define FD_MESSAGE 1
#define FD_EXPLAIN 2
#define FD_PROGRAM 3
#define FDS_RESERVED 4

#define MESSAGE_MAGIC 0x706d7572 /* rump */
#define MESSAGE_VERSION 2
#define RULES_MAX 4096

/* Bits of message.flags; src/rumpel/run/agent.py has them too. */
#define FLAG_SECCOMP 1 /* trap calls by a filter, even where the host has something better */
#define FLAG_FILTERED 2 /* the filter is there already */
#define FLAG_COUNTS 4 /* explain: counts at the end */
#define FLAG_TRACE 8 /* explain: each call */
#define FLAG_MPTCP 32 /* sockets of the kernel's for TCP are for MPTCP */
#define FLAG_INSIDE 64 /* the current directory is the kernel's */
#define FLAG_PYTHON 16 /* started by Python, which ignores SIGPIPE and SIGXFSZ for itself */

struct message {
	uint32_t magic, version;
	uint32_t flags;
	uint32_t owned_count; /* descriptors of the kernel that stay open */
	int32_t kernel_fds; /* the first of the kernel's own, or -1 */
	uint32_t unused;
	char path[PATH_MAX]; /* the program's, as it was called */
	char rules[RULES_MAX]; /* policy.c, a line for each */
};

/* After it: owned_count numbers (int32_t), with DUAL_BIT if the host has a file there, too. */
#define DUAL_BIT (1 << 30)

/* Of this process, as it was received. */
extern struct message message;

#endif
