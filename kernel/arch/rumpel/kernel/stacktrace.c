// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stack traces for those who keep them (lockdep, tracing, slab debugging).
 */
#include <linux/stacktrace.h>
#include <linux/sched/task_stack.h>
#include <asm/sections.h>
#include <asm/processor.h>

void arch_stack_walk(stack_trace_consume_fn consume, void *cookie, struct task_struct *task,
		     struct pt_regs *regs)
{
	unsigned long *sp =
		task == current || !task ? __builtin_frame_address(0) : task->thread.context.sp;
	unsigned long *low = task_stack_page(task ?: current);

	for (; sp >= low && sp < low + THREAD_SIZE / sizeof(*sp); sp++)
		if (*sp >= (unsigned long)_stext && *sp < (unsigned long)_etext &&
		    !consume(cookie, *sp))
			return;
}
