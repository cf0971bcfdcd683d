// SPDX-License-Identifier: GPL-2.0-only
/*
 * O_DIRECT of the library kernel's files, which is left out. Direct I/O takes pages of that
 * kernel's memory, and a program's buffers are none (EFAULT): what it reads and writes goes
 * through the page cache, as on file systems without direct I/O of their own. Whether it is on
 * the disk never was up to this flag, but to fsync and O_DSYNC.
 */
#include <linux/fcntl.h>
#include <linux/openat2.h>

#include "files.h"
#include "kernel.h"

/* openat2, with a copy of what the program says; what is no such structure is the kernel's to refuse. */
static long open_how(struct thread *t, unsigned long args[6])
{
	struct open_how how;

	if (args[3] != sizeof(how) || copy_in(&how, args[2], sizeof(how)))
		return kernel_call(t);
	how.flags &= ~(uint64_t)O_DIRECT;
	args[2] = (unsigned long)&how;
	return kernel_call_with(t, t->regs.nr, args);
}

long direct_call(struct thread *t)
{
	const struct regs *r = &t->regs;
	unsigned long args[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };

	switch (r->nr) {
	case __NR_open:
		args[1] &= ~(unsigned long)O_DIRECT;
		break;
	case __NR_openat:
	case __NR_fcntl: /* with F_SETFL: owner.c */
		args[2] &= ~(unsigned long)O_DIRECT;
		break;
	case __NR_openat2:
		return open_how(t, args);
	}
	return kernel_call_with(t, r->nr, args);
}
