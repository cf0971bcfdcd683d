/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_SYSCALL_H
#define _ASM_RUMPEL_SYSCALL_H

#include <linux/sched.h>
#include <uapi/linux/audit.h>
#include <asm/host.h>

typedef long (*sys_call_ptr_t)(unsigned long, unsigned long, unsigned long, unsigned long,
			       unsigned long, unsigned long);
extern const sys_call_ptr_t sys_call_table[];

static inline int syscall_get_nr(struct task_struct *task, struct pt_regs *regs)
{
	return regs->caller ? regs->caller->nr : -1;
}

static inline void syscall_set_nr(struct task_struct *task, struct pt_regs *regs, int nr)
{
	if (regs->caller)
		regs->caller->nr = nr;
}

static inline void syscall_rollback(struct task_struct *task, struct pt_regs *regs)
{
}

static inline long syscall_get_return_value(struct task_struct *task, struct pt_regs *regs)
{
	return regs->caller ? regs->caller->result : 0;
}

static inline long syscall_get_error(struct task_struct *task, struct pt_regs *regs)
{
	long result = syscall_get_return_value(task, regs);

	return IS_ERR_VALUE(result) ? result : 0;
}

static inline void syscall_set_return_value(struct task_struct *task, struct pt_regs *regs,
					    int error, long value)
{
	if (regs->caller)
		regs->caller->result = error ?: value;
}

static inline void syscall_get_arguments(struct task_struct *task, struct pt_regs *regs,
					 unsigned long *args)
{
	if (regs->caller)
		memcpy(args, regs->caller->args, sizeof(regs->caller->args));
	else
		memset(args, 0, sizeof(regs->caller->args));
}

static inline void syscall_set_arguments(struct task_struct *task, struct pt_regs *regs,
					 const unsigned long *args)
{
	if (regs->caller)
		memcpy(regs->caller->args, args, sizeof(regs->caller->args));
}

static inline int syscall_get_arch(struct task_struct *task)
{
	return AUDIT_ARCH_X86_64; /* numbers and structures are x86-64's */
}

#endif
