/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fault of kernel code at a caller's mapping, as an exception of the CPU: with
 * the address and the ip above the stack pointer (traps.c), all registers kept.
 */
#include <linux/linkage.h>

	.text

SYM_FUNC_START(rumpel_fault_entry)
	pushfq
	.irp register, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11, rbp
	pushq %\register
	.endr
	movq %rsp, %rbp
	movq 88(%rbp), %rdi
	movq 96(%rbp), %rsi
	andq $-16, %rsp
	call rumpel_fault_serve
	movq %rax, 96(%rbp)
	movq %rbp, %rsp
	.irp register, rbp, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
	popq %\register
	.endr
	popfq
	leaq 8(%rsp), %rsp
	ret
SYM_FUNC_END(rumpel_fault_entry)
