/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/page.h>

#define THREAD_SIZE_ORDER (IS_ENABLED(CONFIG_PROVE_LOCKING) ? 3 : 2)
#define THREAD_SIZE (PAGE_SIZE << THREAD_SIZE_ORDER)

#ifndef __ASSEMBLY__
struct thread_info {
	unsigned long flags; /* TIF_ */
	int preempt_count;
	unsigned int cpu; /* always 0 */
};

#define INIT_THREAD_INFO(tsk)                       \
	{                                           \
		.preempt_count = INIT_PREEMPT_COUNT \
	}
#endif

#define TIF_SIGPENDING 0
#define TIF_NOTIFY_SIGNAL 1
#define TIF_NOTIFY_RESUME 2
#define TIF_NEED_RESCHED 3
#define TIF_SYSCALL_TRACEPOINT 4
#define TIF_SYSCALL_TRACE 5
#define TIF_SYSCALL_AUDIT 6
#define TIF_SECCOMP 7
#define TIF_RESTORE_SIGMASK 8
#define TIF_MEMDIE 9

#define _TIF_SIGPENDING (1 << TIF_SIGPENDING)
#define _TIF_NOTIFY_SIGNAL (1 << TIF_NOTIFY_SIGNAL)
#define _TIF_NOTIFY_RESUME (1 << TIF_NOTIFY_RESUME)
#define _TIF_NEED_RESCHED (1 << TIF_NEED_RESCHED)
#define _TIF_SYSCALL_TRACEPOINT (1 << TIF_SYSCALL_TRACEPOINT)
#define _TIF_SECCOMP (1 << TIF_SECCOMP)

/* Looked at before and after each call of a bound task. */
#define _TIF_ENTRY_WORK (_TIF_SECCOMP | _TIF_SYSCALL_TRACEPOINT)
#define _TIF_EXIT_WORK (_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME)
