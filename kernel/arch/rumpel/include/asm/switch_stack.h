/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

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

/*
 * The way to the host, on any kernel stack, until it enters again. Inline where
 * it is hot, so that the host's call of enter() returns where the CPU expects
 * it to; elsewhere rumpel_leave() will do.
 */
static __always_inline void rumpel_leave_inline(unsigned int why)
{
	rumpel_vcpu.exit = why;
	switch_stack(&rumpel_vcpu.kernel, &rumpel_vcpu.host);
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
