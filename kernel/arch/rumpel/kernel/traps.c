// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that the host's MMU found while kernel code ran.
 */
#include <linux/extable.h>
#include <linux/kallsyms.h>
#include <linux/sched/debug.h>
#include <linux/sched/task_stack.h>
#include <asm/host.h>
#include <asm/sections.h>

static struct rumpel_fault last_fault;

static void __noreturn oops(void)
{
	console_verbose();
	pr_alert("BUG: signal %d at address %px, ip %pS\n", last_fault.signal,
		 (void *)last_fault.address, (void *)last_fault.ip);
	dump_stack();
	panic("Fatal fault in the kernel");
}

/* On the host's signal stack: only say where to go on. */
int rumpel_fault(struct rumpel_fault *fault)
{
	const struct exception_table_entry *entry = search_exception_tables(fault->ip);

	if (entry) {
		fault->ip = (unsigned long)&entry->fixup + entry->fixup;
		return 0;
	}
	if (rumpel_vcpu.dying)
		return -1;
	rumpel_vcpu.dying = 1;
	last_fault = *fault;
	/* On the same stack, below the frame, aligned as after a call. */
	fault->sp = ((fault->sp - 256) & ~15UL) - 8;
	fault->ip = (unsigned long)oops;
	return 0;
}

static bool is_text(unsigned long address)
{
	return address >= (unsigned long)_stext && address < (unsigned long)_einittext;
}

/*
 * Without frame pointers every word of the stack that points into the text
 * is shown: more than the truth, never less.
 */
void show_stack(struct task_struct *task, unsigned long *sp, const char *loglvl)
{
	unsigned long *end;
	int lines = 0;

	task = task ?: current;
	if (!sp)
		sp = task == current ? __builtin_frame_address(0) : task->thread.context.sp;
	end = task_stack_page(task) + THREAD_SIZE;
	printk("%sCall Trace:\n", loglvl);
	for (; sp >= (unsigned long *)task_stack_page(task) && sp < end && lines < 48; sp++) {
		if (!is_text(*sp))
			continue;
		printk("%s ? %pS\n", loglvl, (void *)*sp);
		lines++;
	}
}

void show_regs(struct pt_regs *regs)
{
	show_regs_print_info(KERN_DEFAULT);
}
