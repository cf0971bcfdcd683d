// SPDX-License-Identifier: GPL-2.0-only
/*
 * A caller's memory is that of its process. If the host shares the kernel among
 * several and another one runs it, the task waits until a thread of its own does.
 */
#include <linux/pgtable.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <asm/sections.h>
#include <asm/host.h>

/* What lies in the image, in guest memory and in vmalloc is every process's. */
static bool is_kernel(const void __user *address)
{
	return (unsigned long)address - (unsigned long)_stext < VMALLOC_END - (unsigned long)_stext;
}

/* False where the task may not sleep: the copy fails like one of a page that is not there. */
static noinline bool go_home(const void __user *address)
{
	struct rumpel_caller *caller = current->thread.caller;

	if (is_kernel(address))
		return true;
	while (current->thread.process != rumpel_vcpu.process) {
		if (!caller || irqs_disabled() || faulthandler_disabled() ||
		    fatal_signal_pending(current))
			return false;
		set_current_state(TASK_KILLABLE);
		caller->state = RUMPEL_CALLER_AWAY;
		rumpel_vcpu.done = caller;
		rumpel_vcpu.more = 1;
		rumpel_leave(RUMPEL_EXIT_DONE);
		rumpel_wake_requested(NULL);
		schedule();
		caller->state = RUMPEL_CALLER_IN_CALL;
	}
	return true;
}

static __always_inline bool can_reach(const void __user *address)
{
	return likely(current->thread.process == rumpel_vcpu.process) || go_home(address);
}

unsigned long raw_copy_from_user(void *to, const void __user *from, unsigned long n)
{
	return can_reach(from) ? rumpel_copy_user(to, (__force const void *)from, n) : n;
}

unsigned long raw_copy_to_user(void __user *to, const void *from, unsigned long n)
{
	return can_reach(to) ? rumpel_copy_user((__force void *)to, from, n) : n;
}

unsigned long __clear_user(void __user *to, unsigned long n)
{
	return can_reach(to) ? rumpel_clear_user((__force void *)to, n) : n;
}
