// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a stack says about how one came here. With frame pointers it is exact;
 * without, every word that points into the text is taken: more than the
 * truth, never less.
 */
#include <linux/kallsyms.h>
#include <linux/sched/debug.h>
#include <linux/sched/task_stack.h>
#include <linux/stacktrace.h>
#include <asm/processor.h>
#include <asm/sections.h>

#define LINES 48

void arch_stack_walk(stack_trace_consume_fn consume, void *cookie, struct task_struct *task,
		     struct pt_regs *regs)
{
	const bool frames = IS_ENABLED(CONFIG_FRAME_POINTER);
	unsigned long *sp = __builtin_frame_address(0);
	unsigned long *low, *high;
	int lines = 0;

	task = task ?: current;
	low = task_stack_page(task);
	high = low + THREAD_SIZE / sizeof(*low);
	if (task != current) /* where switch_stack() has pushed the frame pointer */
		sp = frames ? *(unsigned long **)task->thread.context.sp : task->thread.context.sp;
	while (sp >= low && sp + 1 < high) {
		unsigned long address = frames ? sp[1] : *sp;
		bool is_text =
			address >= (unsigned long)_stext && address < (unsigned long)_einittext;

		if (is_text && (!consume(cookie, address) || ++lines == LINES))
			return;
		/* Frames lie ever higher. */
		low = sp + 1;
		sp = frames ? (unsigned long *)*sp : low;
	}
}

static bool print(void *loglvl, unsigned long address)
{
	printk("%s %pS\n", (const char *)loglvl, (void *)address);
	return true;
}

void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)
{
	printk("%sCall Trace:\n", loglvl);
	arch_stack_walk(print, (void *)loglvl, task, NULL);
}

void show_regs(struct pt_regs *regs)
{
	show_regs_print_info(KERN_DEFAULT);
}
