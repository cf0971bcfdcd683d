// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that the host's MMU found while kernel code ran.
 */
#include <linux/extable.h>
#include <linux/kernel.h>
#include <linux/printk.h>
#include <linux/sched/debug.h>
#include <asm/extable.h>
#include <asm/host.h>

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
