// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bound tasks: host code is their user mode, struct rumpel_caller their
 * registers. The loop below is the way from user mode into the kernel and
 * back for each of them.
 */
#include <linux/fdtable.h>
#include <linux/resume_user_mode.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/seccomp.h>
#include <linux/syscalls.h>
#include <asm/host.h>
#include <asm/syscall.h>
#define CREATE_TRACE_POINTS
#include <trace/events/syscalls.h>

/* So often a caller that never sleeps gives way to others: time may stand still meanwhile. */
#define CALLS_BETWEEN_YIELDS 64

struct rumpel_caller rumpel_no_caller = { .nr = -1 };

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
	if (interrupt && interrupt->task && interrupt->state != RUMPEL_CALLER_USER) {
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
	long pid = kernel_clone(&args);

	if (pid < 0)
		new->task = NULL;
	return pid;
}

/* What the runtime alone asks for. */
static noinline long private_call(long nr, const unsigned long *args)
{
	switch (nr) {
	case RUMPEL_CALL_CLONE:
		return clone_caller(args[0], (struct rumpel_caller *)args[1]);
	case RUMPEL_CALL_PLUG:
		return rumpel_device_plug(args[0]);
	case RUMPEL_CALL_UNPLUG:
		return rumpel_device_unplug(args[0]);
	case RUMPEL_CALL_FAULT:
		return rumpel_fault_in(args[0], args[1]);
	case RUMPEL_CALL_EXEC:
		current->thread.process = current->thread.caller->process;
		do_close_on_exec(current->files);
		return 0;
	}
	return -ENOSYS;
}

static __always_inline long call(struct rumpel_caller *caller)
{
	unsigned long *args = caller->args;
	unsigned long nr = caller->nr;
	long result = -ENOSYS;

	if (work(_TIF_ENTRY_WORK) && (long)nr >= 0) {
		caller->result = -ENOSYS;
		if (test_syscall_work(SECCOMP) && secure_computing())
			return caller->result;
		nr = caller->nr;
		if (test_syscall_work(SYSCALL_TRACEPOINT))
			trace_sys_enter(current_pt_regs(), nr);
	}
	if (likely(nr < NR_syscalls))
		result = sys_call_table[nr](args[0], args[1], args[2], args[3], args[4], args[5]);
	else if ((long)nr < 0)
		result = private_call(nr, args);
	if (work(_TIF_SYSCALL_TRACEPOINT))
		trace_sys_exit(current_pt_regs(), result);
	return result;
}

/*
 * What a return to user mode owes. A fatal signal ends the task here. Says
 * whether a signal came that has a handler.
 */
static bool exit_work(void)
{
	struct ksignal ksig;
	bool handler = false;

	while (work(_TIF_EXIT_WORK)) {
		if (work(_TIF_SIGPENDING | _TIF_NOTIFY_SIGNAL)) {
			handler |= get_signal(&ksig);
			restore_saved_sigmask();
		}
		if (work(_TIF_NOTIFY_RESUME))
			resume_user_mode_work(current_pt_regs());
	}
	return handler;
}

static bool is_restart(long result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
	       result == -ERESTART_RESTARTBLOCK;
}

/*
 * A call that was cut short ends with EINTR if the host asked for it, or if a
 * signal has a handler: that is host code, which the kernel cannot run. If it
 * was for something else (work of io_uring, a stop), it goes on.
 */
static void run_call(struct rumpel_caller *caller)
{
	long result = call(caller);

	for (;;) {
		bool cut = work(_TIF_EXIT_WORK) && exit_work();

		if (likely(!is_restart(result)))
			break;
		if ((cut || caller->interrupt) && result != -ERESTARTNOINTR)
			result = -EINTR;
		else if (result == -ERESTART_RESTARTBLOCK)
			result = current->restart_block.fn(&current->restart_block);
		else
			result = call(caller);
	}
	caller->interrupt = 0;
	caller->result = result;
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
	bool report = current->pid == 1;
	unsigned int calls = 0;

	/*
	 * No memory: the call fails. Callers' memory is the host's, so to kill
	 * one would free nothing; this flag keeps the OOM killer from them.
	 */
	current->flags |= PF_DUMPCORE;
	for (;;) {
		if (report) {
			caller->state = RUMPEL_CALLER_USER;
			rumpel_vcpu.done = caller;
			rumpel_vcpu.more = nr_running() > 1;
			rumpel_leave_inline(RUMPEL_EXIT_DONE);
			if (likely(rumpel_vcpu.request == caller && !rumpel_vcpu.interrupt))
				rumpel_vcpu.request = NULL;
			else
				rumpel_wake_requested(caller);
			if (unlikely(READ_ONCE(rumpel_vcpu.pending)))
				local_irq_enable();
		}
		if (caller->state != RUMPEL_CALLER_SUBMITTED)
			sleep_in_user_mode(caller);
		if (need_resched() || ++calls % CALLS_BETWEEN_YIELDS == 0)
			yield();
		caller->state = RUMPEL_CALLER_IN_CALL;
		run_call(caller);
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
