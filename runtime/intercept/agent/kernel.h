/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A library kernel that shares a program with the host: it is asked for the calls
 * that policy.c says are not the host's. Descriptors have the number in the kernel
 * that they have for the program (files.c). kernel_shared.c is the one there is; tests
 * link another.
 */
#ifndef AGENT_KERNEL_H
#define AGENT_KERNEL_H

#include "agent.h"

struct pollfd;

/* Is there one? Without, all calls are the host's. */
extern bool kernel_present;
/* This process is one of its: also a child that shares memory, before it is told its name there. */
extern bool kernel_ready;
/* The first of its descriptors, of which there are KERNEL_FDS. */
extern int kernel_fds;
#define KERNEL_FDS RUMPEL_SHARED_FDS

/* There is one, behind these descriptors, or none (-1); signals may be installed then. */
void kernel_begin(int fds);
/* By the first thread: 0 or a negative errno. */
int kernel_attach(struct thread *t);
/* Once calls are caught. */
void kernel_attached(struct thread *t);

/* The call in t->regs: its result or a negative errno; RESTART if nothing was done for a signal's sake. */
long kernel_call(struct thread *t);
/* The same with other arguments, or as another call. */
long kernel_call_with(struct thread *t, long nr, const unsigned long args[6]);
/*
 * A call that waits, and for descriptors of the host's at the same time. -EINTR with
 * *ready > 0: only those have something.
 */
long kernel_poll(struct thread *t, long nr, const unsigned long args[6], struct pollfd *also,
		 unsigned int count, int *ready);
/* Calls for the agent's own sake, that do not wait. */
long kernel6(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
#define KERNEL6(nr, a0, a1, a2, a3, a4, a5, ...) \
	kernel6(nr, (long)(a0), (long)(a1), (long)(a2), (long)(a3), (long)(a4), (long)(a5))
#define kernel(nr, ...) KERNEL6(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* A file on its way to another process: see rumpel/shared.h. */
long kernel_give(int fd);
long kernel_take(long number);

/* Who gets the signals of a descriptor. */
long kernel_get_owner(int fd, struct rumpel_owner *owner);
long kernel_set_owner(int fd, const struct rumpel_owner *owner);

/* A call that kills or stops others, made while nobody is inside. */
long kernel_kill(struct thread *t);

/* For on_signal(). A fault that was the kernel's, and is dealt with? */
bool kernel_fault(int sig, siginfo_t *info, struct ucontext *uc);
bool kernel_inside(const struct thread *t, uint64_t rip, uint64_t rsp);
/* The call in progress, or about to begin, is to end. */
void kernel_interrupt(struct thread *t);

/* thread.c: a new thread, from before it is made; the end of one. */
int kernel_thread_begin(struct thread *child);
void kernel_thread_end(struct thread *t);
/* A new process with these flags of clone; pid: or what has come of it. */
int kernel_fork_begin(struct thread *t, uint64_t flags, uint64_t *child);
void kernel_fork_child(uint64_t child);
void kernel_fork_parent(uint64_t child, long pid);
/* Other threads are not to be in the middle of it. */
void kernel_exec_begin(struct thread *t);
void kernel_exec_failed(void);
/* The process is about to end. */
void kernel_exit(struct thread *t);

#endif
