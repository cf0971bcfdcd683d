/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies and fills, with the CPU's string instructions where they are long: by words, since
 * AMD's CPUs copy bytes at a twentieth of the speed where the target is up to 31 bytes ahead of
 * the source, modulo a page. The user variants report what is left if an address is bad.
 */
#include <linux/linkage.h>
#include <asm/extable.h>

	.text

SYM_FUNC_START(memcpy)
	movq %rdi, %rax
	movq %rdx, %rcx
	cmpq $8, %rdx
	jb 4f
	/* by 8, then the last 8 again, overlapping */
	movq -8(%rsi,%rdx), %r8
	leaq -8(%rdi,%rdx), %r9
	cmpq $256, %rdx
	jae 3f
1:	movq (%rsi), %r10
	movq %r10, (%rdi)
	addq $8, %rsi
	addq $8, %rdi
	subq $8, %rcx
	cmpq $8, %rcx
	ja 1b
2:	movq %r8, (%r9)
	ret
3:	shrq $3, %rcx
	rep movsq
	jmp 2b
4:	rep movsb
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
	leaq -8(%rdx), %r8
	cmpq $248, %r8
	jae 3f
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
	cmpq $256, %rdx
	ja 5f
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
12:	movsl
	subq $4, %rcx
3:	testq %rcx, %rcx
	jz 4f
13:	rep movsb
4:	movq %rcx, %rax
	ret
5:	shrq $3, %rcx
14:	rep movsq
	/* what is left, maybe of words, by bytes */
6:	andl $7, %edx
	leaq (%rdx,%rcx,8), %rcx
	jmp 3b
	RUMPEL_EXTABLE(10b, 3b)
	RUMPEL_EXTABLE(11b, 3b)
	RUMPEL_EXTABLE(12b, 3b)
	RUMPEL_EXTABLE(13b, 4b)
	RUMPEL_EXTABLE(14b, 6b)
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
