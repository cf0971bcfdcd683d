/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <rumpel/host_ops.h>

/* Callers are programs of this CPU. */
#define ELF_ARCH EM_X86_64
#define RUMPEL_AUDIT_ARCH AUDIT_ARCH_X86_64

#define cpu_cycles() __builtin_ia32_rdtsc()

/*
 * The one primitive under everything: leave this stack at `save`, go on at
 * `to`. A jump and not a return, so that the CPU's return predictor stays in
 * step. Inline, so that the compiler saves only what lives here.
 */
static __always_inline void switch_stack(struct rumpel_context *save, struct rumpel_context *to)
{
	asm volatile("pushq %%rbp\n\t"
		     "leaq 1f(%%rip), %%rax\n\t"
		     "movq %%rsp, (%0)\n\t"
		     "movq %%rax, 8(%0)\n\t"
		     "movq (%1), %%rsp\n\t"
		     "jmpq *8(%1)\n"
		     "1:\tpopq %%rbp\n\t"
		     : "+D"(save), "+S"(to)
		     :
		     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
		       "r15", "memory", "cc");
}

/* A context that starts with a call of fn on an empty stack. */
static inline void context_init(struct rumpel_context *context, void *stack_top, void *fn)
{
	/* As after a call: 8 bytes off a multiple of 16, a null return address. */
	unsigned long *sp = (unsigned long *)stack_top - 1;

	*sp = 0;
	context->sp = sp;
	context->ip = fn;
}
