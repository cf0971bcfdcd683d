// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system call table, numbered as this CPU's programs expect.
 */
#include <linux/linkage.h>
#include <linux/syscalls.h>
#include <asm/syscall.h>

SYSCALL_DEFINE6(mmap, unsigned long, addr, unsigned long, len, unsigned long, prot, unsigned long,
		flags, unsigned long, fd, unsigned long, off)
{
	if (offset_in_page(off))
		return -EINVAL;
	return ksys_mmap_pgoff(addr, len, prot, flags, fd, off >> PAGE_SHIFT);
}

/* What only host code can do, or what x86 has for its own registers. */
#define sys_rt_sigreturn sys_ni_syscall
#define sys_modify_ldt sys_ni_syscall
#define sys_arch_prctl sys_ni_syscall
#define sys_iopl sys_ni_syscall
#define sys_ioperm sys_ni_syscall
/* A child of these would have no host code: see RUMPEL_CALL_CLONE. */
#define sys_clone sys_ni_syscall
#define sys_clone3 sys_ni_syscall
#define sys_fork sys_ni_syscall
#define sys_vfork sys_ni_syscall

#define __SYSCALL(nr, call) [nr] = (sys_call_ptr_t)(void *)call,
#define __SYSCALL_WITH_COMPAT(nr, call, compat) __SYSCALL(nr, call)
#define __SYSCALL_NORETURN(nr, call) __SYSCALL(nr, call)

const sys_call_ptr_t sys_call_table[NR_syscalls] = {
	[0 ... NR_syscalls - 1] = (sys_call_ptr_t)(void *)sys_ni_syscall,
#include <asm/syscall_table_64.h>
};
