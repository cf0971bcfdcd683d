/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#pragma once
#include <linux/types.h>

/* What a tracer sees of a caller: its system call. */
struct user_regs_struct {
	__u64 nr;
	__u64 args[6];
	__u64 result;
};
