/* SPDX-License-Identifier: GPL-2.0-only */
/* Programs that check what Linux promises, and say in which line it does not. */
#ifndef PROGRAMS_CHECK_H
#define PROGRAMS_CHECK_H

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                                         \
	do {                                                                                     \
		if (!(condition)) {                                                              \
			failures++;                                                              \
			printf("%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
		}                                                                                \
	} while (0)

static inline int done(void)
{
	printf("failures: %d\n", failures);
	return failures != 0;
}

/* An instruction of the program's own. */
static inline long raw(long nr, long a0, long a1, long a2, long a3)
{
	register long r10 __asm__("r10") = a3;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}

static inline void handle(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	CHECK(!sigaction(sig, &action, NULL));
}

#endif
