/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The plug for a library kernel: whoever links this is asked for the calls that
 * policy.c says are not the host's. Descriptors have the number in the kernel
 * that they have for the program (files.c).
 */
#ifndef AGENT_KERNEL_H
#define AGENT_KERNEL_H

#include "agent.h"

/* Is there one? Without, all calls are the host's. */
extern const bool kernel_present;

/* The call in t->regs: its result or a negative errno; RESTART if nothing was done for a signal's sake. */
long kernel_call(struct thread *t);

/* Calls of the kernel for the agent's own sake. */
long kernel_dup2(int from, int to);
long kernel_close(int fd);
long kernel_fcntl(int fd, int command, long argument);

#endif
