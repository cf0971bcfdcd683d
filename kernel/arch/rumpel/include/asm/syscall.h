/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/sched.h>
#include <uapi/linux/audit.h>
#include <asm/host.h>

typedef long (*sys_call_ptr_t)(unsigned long, unsigned long, unsigned long, unsigned long,
			       unsigned long, unsigned long);
extern const sys_call_ptr_t sys_call_table[];

/* Kernel threads make none; the shared one says -1. Nobody writes to it. */
extern struct rumpel_caller rumpel_no_caller;
#define rumpel_caller_of(regs) ((regs)->caller ?: &rumpel_no_caller)

static inline int syscall_get_nr(struct task_struct *task, struct pt_regs *regs)
{
	return rumpel_caller_of(regs)->nr;
}

static inline void syscall_rollback(struct task_struct *task, struct pt_regs *regs)
{
}

static inline long syscall_get_return_value(struct task_struct *task, struct pt_regs *regs)
{
	return rumpel_caller_of(regs)->result;
}

static inline void syscall_set_return_value(struct task_struct *task, struct pt_regs *regs,
					    int error, long value)
{
	rumpel_caller_of(regs)->result = error ?: value;
}

static inline void syscall_get_arguments(struct task_struct *task, struct pt_regs *regs,
					 unsigned long *args)
{
	memcpy(args, rumpel_caller_of(regs)->args, sizeof(rumpel_no_caller.args));
}

static inline int syscall_get_arch(struct task_struct *task)
{
	return RUMPEL_AUDIT_ARCH;
}
