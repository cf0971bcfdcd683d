// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel that processes share (rumpel/shared.h). Its code runs in the program's
 * threads, on stacks of its own: a fault of it must not be blocked meanwhile, and
 * signals are put off as in the agent.
 */
#include "kernel.h"

#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/time_types.h>

#include "dispatch.h"
#include "say.h"

#define EXIT_LOST 125
#define MSG_NOSIGNAL 0x4000
#define SO_RCVTIMEO 66 /* with 64 bits of seconds (asm-generic/socket.h) */
#define SO_SNDTIMEO 67
#define SOL_SOCKET 1

bool kernel_present, kernel_ready;
int kernel_fds = -1;

void kernel_begin(int fds)
{
	kernel_fds = fds;
	kernel_present = fds >= 0;
}

/* ---- the mask of signals around it ---- */

static const mask_t faults = FAULT_SIGNALS;

/* Faults come, though the program does not want them. */
static void open_faults(struct thread *t)
{
	if (t->held & FAULT_SIGNALS & ~signals_open())
		host(__NR_rt_sigprocmask, SIG_UNBLOCK, &faults, 0, sizeof(mask_t));
}

static void close_faults(struct thread *t)
{
	mask_t held = t->held & FAULT_SIGNALS & ~signals_open();

	if (!held)
		return;
	host(__NR_rt_sigprocmask, SIG_BLOCK, &held, 0, sizeof(mask_t));
	/* A signal was deferred meanwhile, with the mask as it was. */
	if (t->work & WORK_MASKED) {
		t->mask |= held;
		t->handler_mask |= held;
	}
}

/* ---- calls ---- */

static _Noreturn void lost(void)
{
	struct line line = { .used = 0 };

	say_text(&line, "it is lost: ");
	say_text(&line, rumpel_shared->reason());
	line.text[line.used] = 0;
	complain("the library kernel", 0, line.text);
	host(__NR_exit_group, EXIT_LOST);
	__builtin_unreachable();
}

long kernel6(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	const unsigned long args[6] = { a0, a1, a2, a3, a4, a5 };
	struct thread *t = this_thread();
	long result;

	open_faults(t);
	result = rumpel_shared->call(nr, args);
	close_faults(t);
	if (result == -ENOTRECOVERABLE)
		lost();
	return result;
}

static bool has_timeout(int fd)
{
	for (int option = SO_RCVTIMEO; option <= SO_SNDTIMEO; option++) {
		struct __kernel_timespec value = { 0, 0 };
		int size = sizeof(value);

		if (!kernel(__NR_getsockopt, fd, SOL_SOCKET, option, &value, &size) &&
		    (value.tv_sec || value.tv_nsec))
			return true;
	}
	return false;
}

/* Does a call go on after a handler of the signal that has ended it? signal(7). */
static bool goes_on(const struct thread *t, long nr, int fd)
{
	const struct action *action = &t->signals->actions[t->info.si_signo];

	if (action->handler != (uint64_t)SIG_DFL && !(action->flags & SA_RESTART))
		return false;
	switch (nr) {
	case __NR_poll:
	case __NR_ppoll:
	case __NR_select:
	case __NR_pselect6:
	case __NR_epoll_wait:
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
		return false;
	}
	return !has_timeout(fd);
}

static bool raises_sigpipe(long nr, const unsigned long args[6])
{
	switch (nr) {
	case __NR_sendto:
		return !(args[3] & MSG_NOSIGNAL);
	case __NR_sendmsg:
		return !(args[2] & MSG_NOSIGNAL);
	case __NR_sendmmsg:
		return !(args[3] & MSG_NOSIGNAL);
	case __NR_write:
	case __NR_writev:
	case __NR_pwritev2:
	case __NR_sendfile:
	case __NR_splice:
		return true;
	}
	return false;
}

long kernel_call_with(struct thread *t, long nr, const unsigned long args[6])
{
	long result;
	int tries = 2;

	do {
		t->local.interrupted = 0;
		/* In this order: a signal after it has the call interrupted. */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&t->work, __ATOMIC_RELAXED) & WORK_PENDING)
			return RESTART;
		open_faults(t);
		result = rumpel_shared->call(nr, args);
		close_faults(t);
		if (result != -EINTR)
			break;
		if (t->work & WORK_PENDING)
			return goes_on(t, nr, (int)args[0]) ? RESTART : -EINTR;
	} while (--tries);
	if (result == -ENOTRECOVERABLE)
		lost();
	if (result == -EPIPE && raises_sigpipe(nr, args))
		host(__NR_tgkill, host_pid(), host_tid(), SIGPIPE);
	return result;
}

long kernel_call(struct thread *t)
{
	const struct regs *r = &t->regs;
	const unsigned long args[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };

	return kernel_call_with(t, r->nr, args);
}

long kernel_poll(struct thread *t, long nr, const unsigned long args[6], struct pollfd *also,
		 unsigned int count, int *ready)
{
	long result;

	*ready = 0;
	t->local.interrupted = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* One that the call's mask lets through is as one that comes meanwhile. */
	if (__atomic_load_n(&t->work, __ATOMIC_RELAXED) & WORK_PENDING)
		return -EINTR;
	open_faults(t);
	result = rumpel_shared->poll(nr, args, also, count, ready);
	close_faults(t);
	if (result == -ENOTRECOVERABLE)
		lost();
	return result;
}

long kernel_give(int fd)
{
	struct thread *t = this_thread();
	long number;

	open_faults(t);
	number = rumpel_shared->give(fd);
	close_faults(t);
	return number;
}

long kernel_take(long number)
{
	struct thread *t = this_thread();
	long fd;

	open_faults(t);
	fd = rumpel_shared->take(number);
	close_faults(t);
	return fd;
}

long kernel_get_owner(int fd, struct rumpel_owner *owner)
{
	struct thread *t = this_thread();
	long error;

	open_faults(t);
	error = rumpel_shared->get_owner(fd, owner);
	close_faults(t);
	return error;
}

long kernel_set_owner(int fd, const struct rumpel_owner *owner)
{
	struct thread *t = this_thread();
	long error;

	open_faults(t);
	error = rumpel_shared->set_owner(fd, owner);
	close_faults(t);
	return error;
}

/* ---- signals ---- */

long kernel_kill(struct thread *t)
{
	const unsigned long args[6] = { t->regs.rdi, t->regs.rsi, t->regs.rdx };
	long result;

	open_faults(t);
	result = rumpel_shared->kill(t->regs.nr, args);
	close_faults(t);
	return result;
}

bool kernel_fault(int sig, siginfo_t *info, struct ucontext *uc)
{
	return rumpel_shared->fault(sig, info, uc);
}

bool kernel_inside(const struct thread *t, uint64_t rip, uint64_t rsp)
{
	return rumpel_shared->inside(&t->local, rip, rsp);
}

void kernel_interrupt(struct thread *t)
{
	if (t->local.task)
		rumpel_shared->interrupt(&t->local);
}

/* ---- processes ---- */

int kernel_attach(struct thread *t)
{
	long at =
		host(__NR_mmap, RUMPEL_SHARED_TEXT, RUMPEL_SHARED_TEXT_SIZE, PROT_READ | PROT_EXEC,
		     MAP_PRIVATE | MAP_FIXED, kernel_fds + RUMPEL_SHARED_FD_TEXT, 0);
	int error;

	if (is_error(at))
		return at;
	if (rumpel_shared->magic != RUMPEL_SHARED_MAGIC ||
	    rumpel_shared->version != RUMPEL_SHARED_VERSION)
		return -ENOEXEC;
	open_faults(t);
	error = rumpel_shared->attach(kernel_fds);
	close_faults(t);
	kernel_ready = !error;
	return error;
}

void kernel_attached(struct thread *t)
{
	mask_t others = ~SIGNAL_BIT(SIGSYS), mask;
	struct __kernel_timespec now;

	/*
	 * A handler for each look at the clock is too dear. It may be blocked by now, for a
	 * signal that is put off, and the trap would kill.
	 */
	host(__NR_rt_sigprocmask, SIG_SETMASK, &others, &mask, sizeof(mask_t));
	if (t->local.clock_gettime)
		t->local.clock_gettime(1 /* CLOCK_MONOTONIC */, (struct timespec *)&now);
	host(__NR_rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof(mask_t));
	if (vdso_traps)
		t->local.clock_gettime = NULL;
}

int kernel_thread_begin(struct thread *child)
{
	struct thread *t = this_thread();
	int error;

	open_faults(t);
	error = rumpel_shared->thread_begin(&child->local);
	close_faults(t);
	return error;
}

void kernel_thread_end(struct thread *t)
{
	open_faults(this_thread());
	rumpel_shared->thread_end(&t->local);
	close_faults(this_thread());
}

int kernel_fork_begin(struct thread *t, uint64_t flags, uint64_t *child)
{
	int error;

	open_faults(t);
	error = rumpel_shared->fork_begin(
		(flags & CLONE_VM ? RUMPEL_SHARED_FORK_VM : 0) |
			(flags & CLONE_FILES ? RUMPEL_SHARED_FORK_FILES : 0),
		child);
	close_faults(t);
	return error;
}

void kernel_fork_child(uint64_t child)
{
	struct thread *t = this_thread();

	open_faults(t);
	if (rumpel_shared->fork_child(child)) {
		complain("the library kernel", 0,
			 "the parent of this process was killed as it made it");
		host(__NR_exit_group, EXIT_LOST);
	}
	close_faults(t);
}

void kernel_fork_parent(uint64_t child, long pid)
{
	struct thread *t = this_thread();

	open_faults(t);
	rumpel_shared->fork_parent(child, (int)pid);
	close_faults(t);
}

void kernel_exec_begin(struct thread *t)
{
	open_faults(t);
	rumpel_shared->exec_begin();
	close_faults(t);
}

void kernel_exec_failed(void)
{
	struct thread *t = this_thread();

	open_faults(t);
	rumpel_shared->exec_failed();
	close_faults(t);
}

void kernel_exit(struct thread *t)
{
	if (!t->local.task)
		return;
	host(__NR_rt_sigprocmask, SIG_UNBLOCK, &faults, 0, sizeof(mask_t));
	rumpel_shared->exit();
	t->local.task = NULL;
}
