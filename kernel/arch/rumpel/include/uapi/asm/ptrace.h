/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_ASM_RUMPEL_PTRACE_H
#define _UAPI_ASM_RUMPEL_PTRACE_H

#include <linux/types.h>

/* What a tracer sees of a caller: its system call. */
struct user_regs_struct {
	__u64 nr;
	__u64 args[6];
	__u64 result;
};

#endif
