// SPDX-License-Identifier: GPL-2.0-only
/* From a system call to its answer. */
#include "dispatch.h"

#include <asm/prctl.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>

#include "execute.h"
#include "explain.h"
#include "files.h"
#include "kernel.h"
#include "names.h"
#include "patch.h"
#include "policy.h"
#include "poll.h"

/* A call that this process has not: programs do without. */
static long call_absent(struct thread *t)
{
	(void)t;
	return -ENOSYS;
}

/*
 * io_submit of the host's cannot be given files of the library kernel's: where there may be such,
 * programs do with calls that wait.
 */
static long call_io_setup(struct thread *t)
{
	return policy_has_data ? -ENOSYS : call_through(t);
}

static long call_exit_group(struct thread *t)
{
	explain_end(t);
	if (!kernel_present)
		return call_through(t);
	block_signals(t);
	if (t->work & WORK_PENDING)
		return RESTART;
	kernel_exit(t);
	return host(__NR_exit_group, t->regs.rdi);
}

/* Is this process among those that get the signal? */
static bool kills_itself(const struct thread *t)
{
	int target = (int)t->regs.rdi, self = host_pid();

	if (t->regs.nr == __NR_tkill)
		return true; /* of a thread: it may be ours */
	return target == self || target == 0 || target == -1 ||
	       target == -(int)host(__NR_getpgid, 0);
}

/* What cannot be put off must not come in the middle of kernel code. */
static long call_kill(struct thread *t)
{
	int sig = (int)(t->regs.nr == __NR_tgkill ? t->regs.rdx : t->regs.rsi);

	if (!kernel_present || (sig != SIGKILL && sig != SIGSTOP))
		return call_through(t);
	if (!kills_itself(t))
		return kernel_kill(t);
	if (sig == SIGKILL && (int)t->regs.rdi == host_pid())
		kernel_exit(t);
	return call_through(t);
}

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static long call_prctl(struct thread *t)
{
	int option = (int)t->regs.rdi;

	/* A filter of the program's would be asked about the agent's calls. */
	if (option == PR_SET_SECCOMP || option == PR_SET_SYSCALL_USER_DISPATCH)
		return -EINVAL;
	return call_through(t);
}

static long call_arch_prctl(struct thread *t)
{
	int option = (int)t->regs.rdi;
	uint64_t zero = 0;

	if (option == ARCH_SET_GS)
		return -EPERM;
	if (option == ARCH_GET_GS)
		return copy_out(t->regs.rsi, &zero, sizeof(zero));
	return call_through(t);
}

#define HOST .decider = BY_NOTHING
#define FD(n) .decider = BY_FD, .at = (n)
#define PATH(n) .decider = BY_PATH, .at = (n), .dir = NO_DIR
#define PATH_AT(d, n) .decider = BY_PATH, .at = (n), .dir = (d)
#define FAMILY(n) .decider = BY_FAMILY, .at = (n)
#define NEW_FD .new_fd = true
#define BOTH .both = true
#define CALL(call_name, action, ...) \
	[__NR_##call_name] = { .name = #call_name, .act = (action), __VA_ARGS__ },

const struct call calls[CALLS] = {
#include "calls.h"
};

static const struct call unknown;

long argument(const struct thread *t, int n)
{
	/* The order of the system call's registers, which is that of struct regs. */
	return (&t->regs.rdi)[n];
}

long call_through(struct thread *t)
{
	const struct regs *r = &t->regs;

	return call_waiting(t, r->nr,
			    (const long[6]){ r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 });
}

long call_with(struct thread *t, int n, long value)
{
	long args[6];

	for (int i = 0; i < 6; i++)
		args[i] = i == n ? value : argument(t, i);
	return call_waiting(t, t->regs.nr, args);
}

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_FLAGS (O_CLOEXEC | O_NONBLOCK)
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262

/* A socket for TCP that shall be one for MPTCP? mptcp(7) has the protocol. */
static bool wants_mptcp(const struct thread *t)
{
	const struct regs *r = &t->regs;

	return (message.flags & FLAG_MPTCP) && r->nr == __NR_socket &&
	       (r->rdi == AF_INET || r->rdi == AF_INET6) &&
	       (r->rsi & ~(uint64_t)SOCK_FLAGS) == SOCK_STREAM &&
	       (r->rdx == 0 || r->rdx == IPPROTO_TCP);
}

static long make_mptcp(struct thread *t)
{
	const unsigned long args[6] = { t->regs.rdi, t->regs.rsi, IPPROTO_MPTCP };

	return kernel_call_with(t, __NR_socket, args);
}

static long to_kernel(struct thread *t, const struct call *call)
{
	long result;

	if (!call->new_fd)
		return kernel_call(t);
	result = wants_mptcp(t) ? make_mptcp(t) : direct_call(t);
	return result >= 0 ? files_place(t->files, result) : result;
}

/* For the program the agent's descriptors are not there. */
static bool uses_reserved(const struct thread *t, const struct call *call)
{
	if (call->decider == BY_FD)
		return is_reserved(t->files, argument(t, call->at));
	return call->decider == BY_PATH && call->dir != NO_DIR &&
	       is_reserved(t->files, argument(t, call->dir));
}

long dispatch(struct thread *t)
{
	uint32_t nr = (uint32_t)t->regs.nr;
	const struct call *call = nr < CALLS ? &calls[nr] : &unknown;
	bool ours = false;

	if (uses_reserved(t, call))
		return -EBADF;
	if (policy_active)
		ours = policy_decide(t, call);
	if (explaining)
		explain_call(t, call, ours);
	if (ours && !call->both)
		return to_kernel(t, call);
	return call->act ? call->act(t) : call_through(t);
}
