/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of the host, made by the agent for itself. They are never interrupted
 * for a signal of the program: one that comes meanwhile is deferred (signal.c).
 */
#ifndef AGENT_HOST_H
#define AGENT_HOST_H

#include <asm/unistd.h>
#include <linux/errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline __attribute__((always_inline)) long host6(long nr, long a0, long a1, long a2, long a3,
							long a4, long a5)
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

#define HOST6(nr, a0, a1, a2, a3, a4, a5, ...) \
	host6(nr, (long)(a0), (long)(a1), (long)(a2), (long)(a3), (long)(a4), (long)(a5))
/* host(__NR_x, up to six arguments): the result, or a negative errno. */
#define host(nr, ...) HOST6(nr, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

static inline long host_pid(void)
{
	return host(__NR_getpid);
}

static inline long host_tid(void)
{
	return host(__NR_gettid);
}

static inline bool is_error(long result)
{
	return (unsigned long)result > -4096ul;
}

#endif
