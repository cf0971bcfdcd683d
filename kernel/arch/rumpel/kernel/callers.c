// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bound tasks: host code is their user mode, struct rumpel_caller their
 * registers. The loop below is the way from user mode into the kernel and
 * back for each of them.
 */
#include <linux/resume_user_mode.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/seccomp.h>
#include <linux/signal.h>
#include <linux/syscalls.h>
#include <trace/syscall.h>
#include <asm/syscall.h>
#include <trace/events/syscalls.h>

static bool work(unsigned long mask)
{
	return unlikely(READ_ONCE(current_thread_info()->flags) & mask);
}

/* Wakes the tasks that the host wants something of, but not `self`. */
void rumpel_wake_requested(struct rumpel_caller *self)
{
	struct rumpel_caller *caller = rumpel_vcpu.request;
	struct rumpel_caller *interrupt = rumpel_vcpu.interrupt;

	rumpel_vcpu.request = NULL;
	if (caller && caller != self && caller->task)
		wake_up_process(caller->task);
	rumpel_vcpu.interrupt = NULL;
	if (interrupt && interrupt->task && interrupt->state == RUMPEL_CALLER_IN_CALL) {
		interrupt->interrupt = 1;
		set_notify_signal(interrupt->task);
	}
}

/* A new thread or process for the host, child of the calling task. */
static long clone_caller(unsigned long flags, struct rumpel_caller *new)
{
	struct kernel_clone_args args = {
		.flags = flags,
		.exit_signal = flags & CLONE_THREAD ? 0 : SIGCHLD,
		.stack = (unsigned long)new,
	};

	return kernel_clone(&args);
}

static long call(struct rumpel_caller *caller)
{
	unsigned long *args = caller->args;
	unsigned long nr = caller->nr;

	if (work(_TIF_ENTRY_WORK) || unlikely(READ_ONCE(current_thread_info()->syscall_work))) {
		caller->result = -ENOSYS;
		if (test_syscall_work(SECCOMP) && secure_computing())
			return caller->result;
		nr = caller->nr;
	}
	if (likely(nr < NR_syscalls))
		return sys_call_table[nr](args[0], args[1], args[2], args[3], args[4], args[5]);
	if (caller->nr == RUMPEL_CALL_CLONE)
		return clone_caller(args[0], (struct rumpel_caller *)args[1]);
	return -ENOSYS;
}

static long restarted(struct rumpel_caller *caller, long result)
{
	switch (result) {
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		return -EINTR;
	}
	return result;
}

/*
 * What a return to user mode owes. A fatal signal ends the task here. Signal
 * handlers are host code that the kernel cannot run; the call just ends.
 */
static void exit_work(void)
{
	struct ksignal ksig;

	while (work(_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL | _TIF_NOTIFY_RESUME)) {
		if (test_thread_flag(TIF_NOTIFY_SIGNAL))
			clear_notify_signal();
		if (test_thread_flag(TIF_SIGPENDING)) {
			get_signal(&ksig);
			restore_saved_sigmask();
		}
		if (test_and_clear_thread_flag(TIF_NOTIFY_RESUME))
			resume_user_mode_work(&current->thread.regs);
	}
}

/* Host code runs; the CPU is for others until it submits the next call. */
static void sleep_in_user_mode(struct rumpel_caller *caller)
{
	for (;;) {
		set_current_state(TASK_KILLABLE | TASK_NOLOAD);
		if (caller->state == RUMPEL_CALLER_SUBMITTED)
			break;
		if (fatal_signal_pending(current)) {
			__set_current_state(TASK_RUNNING);
			exit_work();
		}
		schedule();
	}
	__set_current_state(TASK_RUNNING);
}

void __noreturn rumpel_caller_loop(void)
{
	struct rumpel_caller *caller = current->thread.caller;
	/* pid 1 tells the host that the kernel is up; others begin asleep. */
	bool report = is_global_init(current);

	for (;;) {
		if (report) {
			caller->state = RUMPEL_CALLER_USER;
			rumpel_vcpu.done = caller;
			rumpel_vcpu.more = nr_running() > 1;
			rumpel_leave(RUMPEL_EXIT_DONE);
			rumpel_wake_requested(caller);
			if (unlikely(READ_ONCE(rumpel_vcpu.pending)))
				local_irq_enable();
		}
		if (caller->state != RUMPEL_CALLER_SUBMITTED)
			sleep_in_user_mode(caller);
		else if (unlikely(need_resched()))
			schedule(); /* preempted in user mode, so to say */
		caller->state = RUMPEL_CALLER_IN_CALL;
		caller->result = call(caller);
		if (unlikely(caller->result <= -ERESTARTSYS))
			caller->result = restarted(caller, caller->result);
		if (work(_TIF_EXIT_WORK))
			exit_work();
		caller->interrupt = 0;
		report = true;
	}
}

/* The task ends (exit, a fatal signal): the host hears of it once. */
void exit_thread(struct task_struct *tsk)
{
	struct rumpel_caller *caller = tsk->thread.caller;

	if (!caller || tsk != current)
		return;
	tsk->thread.caller = NULL;
	tsk->thread.regs.caller = NULL;
	caller->task = NULL;
	caller->state = RUMPEL_CALLER_EXITED;
	rumpel_vcpu.done = caller;
	rumpel_vcpu.more = 1;
	rumpel_leave(RUMPEL_EXIT_DONE);
	rumpel_wake_requested(NULL);
}
