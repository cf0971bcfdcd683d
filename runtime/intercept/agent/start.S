/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ways into the agent and out of it. What a signal does that comes while a
 * thread is between two of these labels is in signal.c; each step here is such
 * that the program's registers can be told at any instruction.
 */
#include <asm/errno.h>
#include <asm/unistd.h>
#include "offsets.h"

#define LABEL(name) .globl name; .hidden name; name:

	.text

/* The kernel starts the agent here. */
	.globl _start
_start:
	xor %ebp, %ebp
	mov %rsp, %rdi
	lea boot_stack_top(%rip), %rsp
	call agent_main
	ud2

/*
 * A system call of the program: all registers are the program's, but rcx is
 * the address after the call, as the instruction leaves it. Trampolines jump
 * here, and what is trapped is sent here.
 */
LABEL(agent_entry)
	mov %rax, %gs:T_NR
	mov %rdi, %gs:T_RDI
	mov %rsi, %gs:T_RSI
	mov %rdx, %gs:T_RDX
	mov %r10, %gs:T_R10
	mov %r8, %gs:T_R8
	mov %r9, %gs:T_R9
	mov %rbx, %gs:T_RBX
	mov %rbp, %gs:T_RBP
	mov %r12, %gs:T_R12
	mov %r13, %gs:T_R13
	mov %r14, %gs:T_R14
	mov %r15, %gs:T_R15
	mov %rsp, %gs:T_RSP
	mov %rcx, %gs:T_RIP
	lahf
	seto %al
	mov %rax, %gs:T_FLAGS
LABEL(agent_entry_saved)
	cld
	mov %gs:T_STACK, %rsp
	mov %gs:T_SELF, %rdi
	call dispatch
	mov %rax, %gs:T_RAX
/* From here on the program's registers are those in struct thread. */
LABEL(agent_exit)
	cmpl $0, %gs:T_WORK
	jne 2f
1:	mov %gs:T_FLAGS, %rax
	add $0x7f, %al
	sahf
	mov %gs:T_RDI, %rdi
	mov %gs:T_RSI, %rsi
	mov %gs:T_RDX, %rdx
	mov %gs:T_R10, %r10
	mov %gs:T_R8, %r8
	mov %gs:T_R9, %r9
	mov %gs:T_RBX, %rbx
	mov %gs:T_RBP, %rbp
	mov %gs:T_R12, %r12
	mov %gs:T_R13, %r13
	mov %gs:T_R14, %r14
	mov %gs:T_R15, %r15
	mov %gs:T_RAX, %rax
	mov %gs:T_RIP, %rcx
	mov %gs:T_RSP, %rsp
	movl $0, %gs:T_LEAVING
	jmp *%rcx
2:	mov %gs:T_SELF, %rdi
	call agent_leave
	jmp 1b
LABEL(agent_exit_end)

/* agent_on_stack(thread, function): what a thread does on its own stack, for good. */
LABEL(agent_on_stack)
	mov T_STACK(%rdi), %rsp
	xor %ebp, %ebp
	call *%rsi
	ud2

/*
 * agent_resume(thread): the end of a thread's first way through the agent. Where a
 * program begins all registers are 0 but its stack's, as execve leaves them.
 */
LABEL(agent_resume)
	mov T_STACK(%rdi), %rsp
	xor %r11d, %r11d
	jmp agent_exit

/*
 * call_host(nr, a0, ..., a5). A signal that comes up to the instruction syscall,
 * or has the kernel go back to it, makes it return RESTART.
 */
LABEL(call_host)
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	mov %r8, %r10
	mov %r9, %r8
	mov 8(%rsp), %r9
LABEL(call_begin)
	cmpl $0, %gs:T_WORK
	jne call_restart
LABEL(call_syscall)
	syscall
	ret
LABEL(call_restart)
	mov $RESTART, %rax
	ret

/* The return from the agent's own handlers. */
LABEL(agent_restorer)
	mov $__NR_rt_sigreturn, %eax
	syscall
	ud2

/* agent_sigreturn(uc): the program's return from a handler. */
LABEL(agent_sigreturn)
	mov %rsp, %rdx
	mov %rdi, %rsp
LABEL(sigreturn_begin)
	cmpl $0, %gs:T_WORK
	jne sigreturn_abort
	mov $__NR_rt_sigreturn, %eax
LABEL(sigreturn_syscall)
	syscall
LABEL(sigreturn_abort)
	mov %rdx, %rsp
	mov $RESTART, %rax
	ret

/*
 * copy_bytes(to, from, n): 0. A fault in between goes on at copy_fault, if a handler of ours
 * sends it there.
 */
LABEL(copy_bytes)
	mov %rdx, %rcx
LABEL(copy_touches)
	rep movsb
LABEL(copy_touched)
	xor %eax, %eax
	ret
LABEL(copy_fault)
	mov $-EFAULT, %rax
	ret

/* agent_clone(nr, a0, ..., a4, child): the child is on a stack of its own. */
LABEL(agent_clone)
	push %r12
	mov 16(%rsp), %r12
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	mov %r8, %r10
	mov %r9, %r8
	syscall
	test %rax, %rax
	jz 1f
	pop %r12
	ret
1:	xor %ebp, %ebp
	mov %r12, %rdi
	call thread_begin
	ud2

/*
 * agent_exit_thread(thread, status): once it is marked as unused, another may
 * have the stack.
 */
LABEL(agent_exit_thread)
	mov %rdi, %rdx
	mov %rsi, %rdi
	mov $__NR_exit, %eax
	movl $0, T_USED(%rdx)
	syscall
	ud2

	.bss
	.balign 16
boot_stack:
	.skip 65536
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
