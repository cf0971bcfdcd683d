/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>
#include <asm/page.h>
#include <asm/ptrace.h>

/* Any address of the host may be a caller's: faults tell the bad ones. */
#define TASK_SIZE (1UL << 47)
#define TASK_SIZE_MAX TASK_SIZE
/* Those that the kernel gives out are its own range of them: mm/tlb.c. */
#define TASK_UNMAPPED_BASE (rumpel_params.mappings)
#define arch_get_mmap_end(addr, len, flags) (TASK_UNMAPPED_BASE + rumpel_params.mappings_size)
#define HAVE_ARCH_UNMAPPED_AREA
#define STACK_TOP arch_get_mmap_end(0, 0, 0)
#define STACK_TOP_MAX STACK_TOP

struct thread_struct {
	struct rumpel_context context; /* where it left off in __switch_to */
	struct rumpel_caller *caller; /* the host code whose task it is, or NULL */
	unsigned int process; /* of the caller */
	int (*fn)(void *arg); /* of a kernel thread */
	void *arg;
	struct pt_regs regs;
};

#define INIT_THREAD \
	{           \
	}

/* Of a task that does not run: the frame __switch_to left it in. */
#define KSTK_EIP(tsk) ((unsigned long)(tsk)->thread.context.ip)
#define KSTK_ESP(tsk) ((unsigned long)(tsk)->thread.context.sp)
#define task_pt_regs(tsk) (&(tsk)->thread.regs)

static inline void start_thread(struct pt_regs *regs, unsigned long ip, unsigned long sp)
{
}
unsigned long __get_wchan(struct task_struct *tsk);

/* A loop waits for somebody: lets the clock and the devices go on. */
void cpu_relax(void);
