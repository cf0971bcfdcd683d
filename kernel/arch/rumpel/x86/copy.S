/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies and fills. Long and tiny ones use the CPU's string instructions. The user
 * variants report what is left when an address turns out to be bad.
 */
#include <linux/linkage.h>
#include <asm/extable.h>

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
	/* the target begins inside the source: from the end, by 8, then the first 8 */
	cmpq $8, %rdx
	jb 2f
	movq (%rsi), %r8
1:	movq -8(%rsi,%rdx), %r10
	movq %r10, -8(%rdi,%rdx)
	subq $8, %rdx
	cmpq $8, %rdx
	ja 1b
	movq %r8, (%rdi)
	ret
2:	movb -1(%rsi,%rdx), %r10b
	movb %r10b, -1(%rdi,%rdx)
	decq %rdx
	jnz 2b
	ret
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
	ret
	RUMPEL_EXTABLE(10b, 3b)
	RUMPEL_EXTABLE(11b, 3b)
	RUMPEL_EXTABLE(12b, 3b)
	RUMPEL_EXTABLE(13b, 3b)
	RUMPEL_EXTABLE(14b, 4b)
SYM_FUNC_END(rumpel_copy_user)

/* unsigned long rumpel_clear_user(void *to, unsigned long n) */
SYM_FUNC_START(rumpel_clear_user)
	movq %rsi, %rcx
	xorl %eax, %eax
1:	rep stosb
2:	movq %rcx, %rax
	ret
	RUMPEL_EXTABLE(1b, 2b)
SYM_FUNC_END(rumpel_clear_user)
