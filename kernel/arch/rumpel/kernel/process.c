// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tasks are stackful coroutines on one virtual CPU.
 */
#include <linux/cpu.h>
#include <linux/ptrace.h>
#include <linux/sched/debug.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <asm/host.h>
#include <asm/switch_to.h>

struct task_struct *rumpel_current = &init_task;

/* Whom the running task was switched to from. */
static struct task_struct *switched_from;

struct task_struct *__switch_to(struct task_struct *prev, struct task_struct *next)
{
	switched_from = prev;
	rumpel_current = next;
	switch_stack(&prev->thread.context, &next->thread.context);
	return switched_from;
}

/* Where every new task starts. */
static void __noreturn task_entry(void)
{
	struct thread_struct *thread = &current->thread;

	schedule_tail(switched_from);
	if (thread->fn)
		thread->fn(thread->arg);
	/* A bound task, or a kernel thread that became one through exec. */
	rumpel_caller_loop();
}

int copy_thread(struct task_struct *p, const struct kernel_clone_args *args)
{
	p->thread = (struct thread_struct){ .fn = args->fn, .arg = args->fn_arg };
	if (!args->fn) {
		p->thread.caller = (struct rumpel_caller *)args->stack;
		p->thread.regs.caller = p->thread.caller;
		p->thread.caller->task = p;
		p->thread.process = p->thread.caller->process;
	}
	context_init(&p->thread.context, task_stack_page(p) + THREAD_SIZE - 64, task_entry);
	return 0;
}

void flush_thread(void)
{
}

/* Nothing can run: go back to the host, with interrupts as they are (off). */
void arch_cpu_idle(void)
{
	rumpel_leave_inline(RUMPEL_EXIT_IDLE);
	/* What follows is an interrupt, as far as lockdep is concerned. */
	trace_hardirqs_off();
	rumpel_wake_requested(NULL);
	trace_hardirqs_on();
}

void cpu_relax(void)
{
	if (READ_ONCE(rumpel_vcpu.notified))
		rumpel_leave(RUMPEL_EXIT_RELAX);
	host_call(delay, 0);
	if (!irqs_disabled())
		arch_local_irq_restore(ARCH_IRQ_ENABLED);
}

unsigned long __get_wchan(struct task_struct *p)
{
	return 0;
}

/* A tracer sees stops and system calls; there are no registers to show. */
long arch_ptrace(struct task_struct *child, long request, unsigned long addr, unsigned long data)
{
	return ptrace_request(child, request, addr, data);
}

void ptrace_disable(struct task_struct *child)
{
}
