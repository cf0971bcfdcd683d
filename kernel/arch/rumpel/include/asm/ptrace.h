/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <rumpel/host_ops.h>

/* Host code is user mode; its registers are the host's affair. */
struct pt_regs {
	struct rumpel_caller *caller; /* whose call it is; NULL: in the kernel */
	unsigned long ip, sp, bp;
};

#define user_mode(regs) ((regs)->caller != NULL)
#define profile_pc(regs) instruction_pointer(regs)
#define instruction_pointer(regs) ((regs)->ip)
#define user_stack_pointer(regs) ((regs)->sp)
#define regs_return_value(regs) ((regs)->caller ? (regs)->caller->result : 0)
#define is_syscall_success(regs) ((unsigned long)regs_return_value(regs) < -4095UL)
