/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies and fills. Long and tiny ones use the CPU's string instructions. The user
 * variants report what is left when an address turns out to be bad.
 */
#include <linux/linkage.h>
#include <asm/extable.h>
#include <generated/asm-offsets.h>

/* A user address is one of the task's process: if another one runs the kernel, see callers.c. */
.macro go_home left
	movq rumpel_current(%rip), %rax
	movl TASK_PROCESS(%rax), %eax
	cmpl %eax, VCPU_PROCESS+rumpel_vcpu(%rip)
	je 9f
	pushq %rdi
	pushq %rsi
	pushq %rdx
	call rumpel_go_home
	popq %rdx
	popq %rsi
	popq %rdi
	testl %eax, %eax
	movq \left, %rax
	jnz 8f
9:
.endm

	.text

SYM_FUNC_START(memcpy)
	movq %rdi, %rax
	movq %rdx, %rcx
	cmpq $256, %rdx
	jae 2f
	cmpq $8, %rdx
	jb 2f
	/* by 8, then the last 8 again, overlapping */
	movq -8(%rsi,%rdx), %r8
	leaq -8(%rdi,%rdx), %r9
1:	movq (%rsi), %r10
	movq %r10, (%rdi)
	addq $8, %rsi
	addq $8, %rdi
	subq $8, %rcx
	cmpq $8, %rcx
	ja 1b
	movq %r8, (%r9)
	ret
2:	rep movsb
	ret
SYM_FUNC_END(memcpy)

SYM_FUNC_START(memmove)
	movq %rdi, %rax
	movq %rdi, %r8
	subq %rsi, %r8
	cmpq %rdx, %r8
	jae memcpy
	/* the target begins inside the source: from the end, by 8 */
	movq %rdx, %rcx
	leaq (%rsi,%rdx), %rsi
	leaq (%rdi,%rdx), %rdi
2:	cmpq $8, %rcx
	jb 3f
	movq -8(%rsi), %r10
	movq %r10, -8(%rdi)
	subq $8, %rsi
	subq $8, %rdi
	subq $8, %rcx
	jmp 2b
3:	testq %rcx, %rcx
	jz 4f
	decq %rsi
	decq %rdi
	movb (%rsi), %r10b
	movb %r10b, (%rdi)
	decq %rcx
	jmp 3b
4:	ret
SYM_FUNC_END(memmove)

SYM_FUNC_START(memset)
	movq %rdi, %r9
	movzbl %sil, %eax
	movq $0x0101010101010101, %rcx
	imulq %rcx, %rax
	movq %rdx, %rcx
	cmpq $256, %rdx
	jae 3f
	cmpq $8, %rdx
	jb 3f
	movq %rax, -8(%rdi,%rdx)
1:	movq %rax, (%rdi)
	addq $8, %rdi
	subq $8, %rcx
	cmpq $8, %rcx
	ja 1b
2:	movq %r9, %rax
	ret
3:	rep stosb
	jmp 2b
SYM_FUNC_END(memset)

/* unsigned long rumpel_copy_user(void *to, const void *from, unsigned long n) */
SYM_FUNC_START(rumpel_copy_user)
	go_home %rdx
	movq %rdx, %rcx
	cmpq $64, %rdx
	ja 3f
1:	cmpq $8, %rcx
	jb 2f
10:	movq (%rsi), %rax
11:	movq %rax, (%rdi)
	addq $8, %rsi
	addq $8, %rdi
	subq $8, %rcx
	jmp 1b
2:	cmpq $4, %rcx
	jb 3f
12:	movl (%rsi), %eax
13:	movl %eax, (%rdi)
	addq $4, %rsi
	addq $4, %rdi
	subq $4, %rcx
3:	testq %rcx, %rcx
	jz 4f
14:	rep movsb
4:	movq %rcx, %rax
8:	ret
	RUMPEL_EXTABLE(10b, 3b)
	RUMPEL_EXTABLE(11b, 3b)
	RUMPEL_EXTABLE(12b, 3b)
	RUMPEL_EXTABLE(13b, 3b)
	RUMPEL_EXTABLE(14b, 4b)
SYM_FUNC_END(rumpel_copy_user)

/* unsigned long rumpel_clear_user(void *to, unsigned long n) */
SYM_FUNC_START(rumpel_clear_user)
	go_home %rsi
	movq %rsi, %rcx
	xorl %eax, %eax
1:	rep stosb
2:	movq %rcx, %rax
8:	ret
	RUMPEL_EXTABLE(1b, 2b)
SYM_FUNC_END(rumpel_clear_user)
