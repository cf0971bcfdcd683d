/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the benchmarks in C share. Each piece of work is one piece of code that
 * runs on the host kernel (task is NULL) or on a library kernel, so that the
 * two differ in nothing but the call itself.
 */
#ifndef RUMPEL_BENCH_SIDE_H
#define RUMPEL_BENCH_SIDE_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include <rumpel/rumpel.h>

/* Compiled once for each side: whose call it is is then known in the loop. */
#define WORK static inline __attribute__((always_inline))

struct bench {
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
};

static inline __attribute__((always_inline)) long host_call(long nr, unsigned long a0,
							    unsigned long a1, unsigned long a2,
							    unsigned long a3, unsigned long a4,
							    unsigned long a5)
{
	register unsigned long r10 asm("r10") = a3;
	register unsigned long r8 asm("r8") = a4;
	register unsigned long r9 asm("r9") = a5;
	long result;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

static inline __attribute__((always_inline)) long call6(struct rumpel_task *task, long nr,
							unsigned long a0, unsigned long a1,
							unsigned long a2, unsigned long a3,
							unsigned long a4, unsigned long a5)
{
	if (task)
		return rumpel_syscall(task, nr, a0, a1, a2, a3, a4, a5);
	return host_call(nr, a0, a1, a2, a3, a4, a5);
}

#define ARG6(a0, a1, a2, a3, a4, a5, ...)                                                   \
	(unsigned long)(a0), (unsigned long)(a1), (unsigned long)(a2), (unsigned long)(a3), \
		(unsigned long)(a4), (unsigned long)(a5)
/* call(task, SYS_x, up to six arguments) */
#define call(task, nr, ...) call6(task, nr, ARG6(__VA_ARGS__ __VA_OPT__(, ) 0, 0, 0, 0, 0, 0))

static inline int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* What a call that should have returned something else means. */
static inline int64_t failed(long result)
{
	return result < 0 ? result : -EIO;
}

/* Two connected TCP sockets over loopback. 0 or a negative errno. */
int tcp_pair(struct rumpel_task *task, int fds[2]);

/*
 * The benchmarks: time in ns for n rounds, or a negative errno. ours: on the
 * library kernel. size: bytes a round, where that means something.
 */
typedef int64_t bench_function(const struct bench *bench, bool ours, long n, long size);
RUMPEL_API bench_function bench_getpid, bench_pipe, bench_tcp, bench_round_trip;
RUMPEL_API bench_function bench_tasks, bench_threads, bench_tcp_threads;
RUMPEL_API bench_function bench_udp, bench_udp_lost, bench_clone;

/* Boots. 0 or a negative errno and *why (may be NULL). */
/* snapshot: as in struct rumpel_config */
RUMPEL_API int bench_open(const char *image, const char *snapshot, struct bench **bench,
			  const char **why);
RUMPEL_API void bench_close(struct bench *bench);

#endif
