/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The runtime without a C library: what it uses of one, as far as it uses it.
 *
 *	string.c   copies and texts
 *	format.c   snprintf
 *	system.c   system calls of the host
 *	socket.c   those about sockets
 *	heap.c     memory
 *	vdso.c     what the host offers without a system call
 *	thread.c   locks, and the keeper's threads
 */
#ifndef RUMPEL_RUNTIME_BARE_H
#define RUMPEL_RUNTIME_BARE_H

#include <rumpel/shared.h>

static inline struct rumpel_local *bare_local(void)
{
	struct rumpel_local *local;

	asm volatile("movq %%gs:0, %0" : "=r"(local));
	return local;
}

/* vdso.c: clock_gettime() of this process's vDSO, or NULL. */
int (*bare_vdso_clock(void))(int clock, struct timespec *now);

/* A thread is gone: what it had locked is free, and whoever locks it hears of that. */
void bare_owner_died(uint32_t tid);

/* The number from which descriptors are. */
int bare_fds(void);

static inline long bare_syscall6(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	register long r10 asm("r10") = a3;
	register long r8 asm("r8") = a4;
	register long r9 asm("r9") = a5;
	long result;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

/* With the arguments that are missing. The host's -errno. */
#define bare_syscall(...) bare_fill(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define bare_fill(nr, a, b, c, d, e, f, ...) \
	bare_syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
