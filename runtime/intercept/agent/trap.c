// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a system call that nobody has rewritten comes here: the host raises SIGSYS
 * for each that is not made by the agent's own text. By syscall user dispatch,
 * which a thread has for itself and loses when it executes a program; or by a
 * seccomp filter, which is inherited and cannot be taken back.
 */
#include "agent.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#include "patch.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

#define TRAP_SECCOMP 1 /* SYS_SECCOMP */
#define TRAP_DISPATCH 2 /* SYS_USER_DISPATCH */

/* Whose calls go to the host: the runtime's of a shared kernel, and the agent's behind it. */
#define CALLS_BEGIN RUMPEL_SHARED_TEXT

bool seccomp_traps, vdso_traps;

static long dispatch_on(void)
{
	return host(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, CALLS_BEGIN,
		    (uint64_t)agent_end - CALLS_BEGIN, 0);
}

#define IP offsetof(struct seccomp_data, instruction_pointer)
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define JUMP(test, value, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, (value), (yes), (no))

static long filter_on(void)
{
	uint64_t begin = CALLS_BEGIN, end = (uint64_t)agent_end;
	struct sock_filter code[] = {
		LOAD(IP + 4),
		JUMP(BPF_JGE, (uint32_t)(begin >> 32), 0, 5),
		JUMP(BPF_JGT, (uint32_t)(end >> 32), 4, 0),
		JUMP(BPF_JEQ, (uint32_t)(end >> 32), 0, 2),
		LOAD(IP),
		JUMP(BPF_JGT, (uint32_t)end, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
	long error = host(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);

	if (error == -EACCES) {
		host(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		error = host(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
	}
	return error;
}

long trap_calls(bool first)
{
	long error;

	if (seccomp_traps)
		return first ? filter_on() : 0;
	error = dispatch_on();
	if (error && first) {
		seccomp_traps = true;
		error = filter_on();
	}
	return error;
}

bool is_trap(const siginfo_t *info)
{
	return info->si_code == TRAP_DISPATCH || (seccomp_traps && info->si_code == TRAP_SECCOMP);
}

/* The instruction was undone but for its way with rip, rcx and r11: go on as a trampoline does. */
void trapped(const siginfo_t *info, struct ucontext *uc)
{
	struct sigcontext *c = &uc->uc_mcontext;

	/* The vDSO, called by the runtime of a kernel, asks the host. */
	if (on_agent_stack(this_thread(), c->rsp)) {
		c->rax = host6(c->rax, c->rdi, c->rsi, c->rdx, c->r10, c->r8, c->r9);
		vdso_traps = true;
		return;
	}

	/* int $0x80 has other numbers. */
	if (info->si_arch != AUDIT_ARCH_X86_64) {
		c->rax = -ENOSYS;
		return;
	}
	/* Debuggers and unwinders know the return from a handler by its bytes. */
	if (c->rax != __NR_rt_sigreturn)
		patch_maybe(c->rip - 2);
	c->rcx = c->rip;
	c->rip = (uint64_t)agent_entry;
}
