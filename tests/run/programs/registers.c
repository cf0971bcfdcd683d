// SPDX-License-Identifier: GPL-2.0-only
/* A system call changes rax, rcx and r11 and nothing else, each time it is made. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

struct state {
	uint64_t regs[13]; /* rbx rbp rdi rsi rdx r8 r9 r10 r12 r13 r14 r15, flags */
	uint64_t red[16];
	uint8_t xmm[16][16];
};

/* Loads all of before, makes the call nr and stores what is then there in after. */
uint64_t probe(struct state *before, struct state *after, long nr);
asm(".text\n.globl probe\nprobe:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "push %rsi\n" /* after */
    "mov %rdx, %rax\nmov %rdi, %r11\n"
    ".set i, 0\n.rept 16\nmov 104+8*i(%r11), %rcx\nmov %rcx, -128+8*i(%rsp)\n.set i, i+1\n.endr\n"
    "movdqu 232(%r11), %xmm0\nmovdqu 248(%r11), %xmm1\nmovdqu 264(%r11), %xmm2\n"
    "movdqu 456(%r11), %xmm14\nmovdqu 472(%r11), %xmm15\n"
    "mov 96(%r11), %rcx\nadd $0x7f, %cl\n" /* sets or clears overflow and sign */
    "mov 0(%r11), %rbx\nmov 8(%r11), %rbp\nmov 16(%r11), %rdi\nmov 24(%r11), %rsi\n"
    "mov 32(%r11), %rdx\nmov 40(%r11), %r8\nmov 48(%r11), %r9\nmov 56(%r11), %r10\n"
    "mov 64(%r11), %r12\nmov 72(%r11), %r13\nmov 80(%r11), %r14\nmov 88(%r11), %r15\n"
    "syscall\n"
    "mov (%rsp), %rcx\n"
    "mov %rbx, 0(%rcx)\nmov %rbp, 8(%rcx)\nmov %rdi, 16(%rcx)\nmov %rsi, 24(%rcx)\n"
    "mov %rdx, 32(%rcx)\nmov %r8, 40(%rcx)\nmov %r9, 48(%rcx)\nmov %r10, 56(%rcx)\n"
    "mov %r12, 64(%rcx)\nmov %r13, 72(%rcx)\nmov %r14, 80(%rcx)\nmov %r15, 88(%rcx)\n"
    ".set i, 0\n.rept 16\nmov -128+8*i(%rsp), %rdx\nmov %rdx, 104+8*i(%rcx)\n.set i, i+1\n.endr\n"
    "movdqu %xmm0, 232(%rcx)\nmovdqu %xmm1, 248(%rcx)\nmovdqu %xmm2, 264(%rcx)\n"
    "movdqu %xmm14, 456(%rcx)\nmovdqu %xmm15, 472(%rcx)\n"
    "pushf\npopq 96(%rcx)\n"
    "pop %rsi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
    ".p2align 4\nnopw 0x0(%rax,%rax,1)\n.p2align 4\n"
    /* Room for an island, which compilers leave by themselves. */
    ".byte 0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n");

int main(void)
{
	static struct state before, after;
	int wrong = 0;

	for (int round = 0; round < 20; round++) {
		uint64_t flags = 0;

		for (unsigned i = 0; i < sizeof(before); i++)
			((uint8_t *)&before)[i] = i * 7 + round * 13 + 1;
		before.regs[12] = round % 2; /* carry, overflow */
		memset(&after, 0, sizeof(after));
		probe(&before, &after, round % 3 ? SYS_getppid : SYS_sched_yield);
		flags = after.regs[12];
		after.regs[12] = before.regs[12];
		if (((flags >> 11) & 1) != before.regs[12] || ((flags >> 7) & 1) != before.regs[12])
			wrong |= 1;
		if (memcmp(before.regs, after.regs, sizeof(before.regs)))
			wrong |= 2;
		if (memcmp(before.red, after.red, sizeof(before.red)))
			wrong |= 4;
		if (memcmp(before.xmm[0], after.xmm[0], 48) ||
		    memcmp(before.xmm[14], after.xmm[14], 32))
			wrong |= 8;
	}
	printf("wrong: %d\n", wrong);
	return wrong;
}
