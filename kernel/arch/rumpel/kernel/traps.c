// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that the host's MMU found, in kernel code or in a caller's mapping.
 */
#include <linux/extable.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/sched/debug.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
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

/* Has the touched page of a caller's mapping at hand. The errors of RUMPEL_CALL_FAULT. */
long rumpel_fault_in(unsigned long address, int write)
{
	const vm_flags_t needed = write ? VM_WRITE : VM_READ;
	struct mm_struct *mm = current->mm;
	struct vm_area_struct *vma;
	bool unlocked = false;
	int error = rumpel_tlb_load(address, write);

	if (error != -EFAULT)
		return error;
	mmap_read_lock(mm);
	error = fixup_user_fault(mm, address, write ? FAULT_FLAG_WRITE : 0, &unlocked);
	vma = error == -EFAULT ? vma_lookup(mm, address) : NULL;
	if (vma && (vma->vm_flags & needed))
		error = -ENXIO;
	mmap_read_unlock(mm);
	return error;
}

static unsigned long fixup_of(unsigned long ip)
{
	const struct exception_table_entry *entry = search_exception_tables(ip);

	return entry ? (unsigned long)&entry->fixup + entry->fixup : 0;
}

/* Called by rumpel_fault_entry, as the task that touched it: where to go on. */
unsigned long rumpel_fault_serve(unsigned long address, unsigned long ip)
{
	return rumpel_fault_in(address & PAGE_MASK, address & 1) ? fixup_of(ip) : ip;
}

/* On the host's signal stack: only say where to go on. */
int rumpel_fault(struct rumpel_fault *fault)
{
	unsigned long fixup = fixup_of(fault->ip), *sp = (unsigned long *)fault->sp;
	int error = -EINVAL;

	if (fixup && fault->signal == SIGSEGV)
		error = rumpel_tlb_load(fault->address, fault->write);
	if (error == -EFAULT && !faulthandler_disabled() && !irqs_disabled()) {
		/* As an exception on the task's own stack, where it may sleep. */
		*--sp = fault->ip;
		*--sp = (fault->address & PAGE_MASK) | fault->write;
		fault->sp = (unsigned long)sp;
		fixup = (unsigned long)rumpel_fault_entry;
	}
	if (fixup) {
		fault->ip = error ? fixup : fault->ip;
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
