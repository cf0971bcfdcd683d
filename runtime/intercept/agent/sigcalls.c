// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls about signals. The mask of a thread is the program's but for signals_open(),
 * which must never be blocked: that they are, is only remembered.
 *
 * A call that changes the mask must be call_host(), and the last thing that
 * cannot be undone: a signal before it makes it a RESTART, and with one after it
 * the new mask is the one that is deferred.
 */
#include "agent.h"

#include "kernel.h"

#define SA_KEPT (SA_RESTART | SA_NOCLDSTOP | SA_NOCLDWAIT)
#define UNBLOCKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))

#define SAS_MIN 2048

long call_rt_sigaction(struct thread *t)
{
	int sig = (int)t->regs.rdi;
	struct action new = { 0 }, old, host_old;
	struct action *slot;
	long result = 0;
	bool set = t->regs.rsi;

	if (sig < 1 || sig > SIGNALS || t->regs.r10 != sizeof(mask_t))
		return -EINVAL;
	if (set && copy_in(&new, t->regs.rsi, sizeof(new)))
		return -EFAULT;
	if (set && (sig == SIGKILL || sig == SIGSTOP))
		return -EINVAL;
	new.mask &= ~UNBLOCKABLE;

	lock(&t->signals->lock);
	slot = &t->signals->actions[sig];
	old = *slot;
	if (signal_is_kept(sig)) {
		/* The host's is always ours. */
		if (set)
			*slot = new;
	} else if (!set) {
		result = host(__NR_rt_sigaction, sig, 0, &host_old, sizeof(mask_t));
		if (!signal_is_ours(&host_old))
			old = host_old;
	} else if (new.handler == (uint64_t)SIG_IGN ||
		   (new.handler == (uint64_t)SIG_DFL && !signal_ends(sig))) {
		result = host(__NR_rt_sigaction, sig, &new, &host_old, sizeof(mask_t));
		if (!signal_is_ours(&host_old))
			old = host_old;
		*slot = new;
	} else {
		*slot = new;
		result = signal_install(sig, new.flags &SA_KEPT, &host_old);
		if (!signal_is_ours(&host_old))
			old = host_old;
	}
	unlock(&t->signals->lock);
	if (!result && t->regs.rdx && copy_out(t->regs.rdx, &old, sizeof(old)))
		return -EFAULT;
	return result;
}

long call_rt_sigprocmask(struct thread *t)
{
	mask_t was = t->held, is = was, open = signals_open(), set, kept;
	int how = (int)t->regs.rdi;
	long result;

	if (t->regs.r10 != sizeof(mask_t))
		return -EINVAL;
	if (t->regs.rsi) {
		if (copy_in(&set, t->regs.rsi, sizeof(set)))
			return -EFAULT;
		kept = set & KEPT_SIGNALS;
		is = how == SIG_SETMASK ? kept : how == SIG_BLOCK ? was | kept : was & ~kept;
		set &= ~open;
	}
	result = call_host(t->regs.nr, how, t->regs.rsi ? (long)&set : 0, t->regs.rdx,
			   sizeof(mask_t), 0, 0);
	if (result)
		return result;
	t->held = is;
	if ((was & open) && t->regs.rdx && !copy_in(&set, t->regs.rdx, sizeof(set))) {
		set |= was & open;
		copy_out(t->regs.rdx, &set, sizeof(set));
	}
	signals_unhold(t);
	return 0;
}

bool on_stack(const stack_t *sas, uint64_t rsp)
{
	/* With SS_AUTODISARM the stack is free as soon as a handler runs. */
	return !(sas->ss_flags & (int)SS_AUTODISARM) && rsp > (uint64_t)sas->ss_sp &&
	       rsp - (uint64_t)sas->ss_sp <= sas->ss_size;
}

static stack_t as_seen(const struct thread *t)
{
	stack_t sas = t->sas;

	if (!sas.ss_size)
		sas.ss_flags = SS_DISABLE;
	else if (on_stack(&sas, t->regs.rsp))
		sas.ss_flags |= SS_ONSTACK;
	return sas;
}

static int set_stack(struct thread *t, const stack_t *new)
{
	int mode = new->ss_flags & ~(int)SS_AUTODISARM;

	if (t->sas.ss_size && on_stack(&t->sas, t->regs.rsp))
		return -EPERM;
	if (mode != 0 && mode != SS_ONSTACK && mode != SS_DISABLE)
		return -EINVAL;
	if (mode == SS_DISABLE) {
		t->sas = (stack_t){ .ss_flags = new->ss_flags };
		return 0;
	}
	if (new->ss_size < SAS_MIN)
		return -ENOMEM;
	t->sas = *new;
	t->sas.ss_flags &= (int)SS_AUTODISARM;
	return 0;
}

long call_sigaltstack(struct thread *t)
{
	stack_t old = as_seen(t), new;
	int error = 0;

	if (t->regs.rdi) {
		if (copy_in(&new, t->regs.rdi, sizeof(new)))
			return -EFAULT;
		error = set_stack(t, &new);
	}
	if (!error && t->regs.rsi && copy_out(t->regs.rsi, &old, sizeof(old)))
		return -EFAULT;
	return error;
}

long call_rt_sigreturn(struct thread *t)
{
	stack_t before = t->sas;
	struct {
		struct ucontext uc;
		char siginfo[sizeof(siginfo_t)]; /* read by nobody */
	} frame;
	mask_t held = t->held;

	/* No stack to be had: the host says it better. */
	if (copy_in(&frame.uc, t->regs.rsp, sizeof(frame.uc)))
		return call_through(t);
	/* The frame is left, so the stack may be set. */
	t->sas = (stack_t){ .ss_flags = SS_DISABLE };
	if (set_stack(t,
		      &(stack_t){ frame.uc.uc_stack.ss_sp, frame.uc.uc_stack.ss_flags & ~SS_ONSTACK,
				  frame.uc.uc_stack.ss_size }))
		t->sas = before;
	t->held = frame.uc.uc_sigmask & KEPT_SIGNALS;
	frame.uc.uc_sigmask &= ~signals_open();
	frame.uc.uc_stack = t->agent_sas;
	/* It comes with the mask that lets it through. */
	if (t->has_held) {
		const mask_t held_back = signals_open() & ~SIGNAL_BIT(SIGSYS);

		host(__NR_rt_sigprocmask, SIG_BLOCK, &held_back, 0, sizeof(mask_t));
		signals_unhold(t);
	}
	agent_sigreturn(&frame.uc);
	/* A signal came first: the same once more after it. */
	t->sas = before;
	t->held = held;
	return RESTART;
}

/*
 * A call with a mask for its duration, in argument number at of args. Signals that
 * it lets through run their handlers with that mask.
 */
static long with_mask(struct thread *t, long args[6], int at, uint64_t mask_at)
{
	mask_t mask;
	long result;

	if (copy_in(&mask, mask_at, sizeof(mask)))
		return -EFAULT;
	mask &= ~signals_open();
	t->call_mask = mask & ~UNBLOCKABLE;
	args[at] = (long)&mask;
	t->has_call_mask = true;
	result = call_waiting(t, t->regs.nr, args);
	t->has_call_mask = false;
	return result;
}

#define ARGS(t)                                                                            \
	{                                                                                  \
		t->regs.rdi, t->regs.rsi, t->regs.rdx, t->regs.r10, t->regs.r8, t->regs.r9 \
	}

long call_rt_sigsuspend(struct thread *t)
{
	long args[6] = ARGS(t);

	if (t->regs.rsi != sizeof(mask_t))
		return -EINVAL;
	return with_mask(t, args, 0, t->regs.rdi);
}

long call_masked(struct thread *t, int at, uint64_t mask_at, uint64_t size)
{
	long args[6] = ARGS(t);

	if (!mask_at || size != sizeof(mask_t))
		return call_through(t);
	return with_mask(t, args, at, mask_at);
}

/* The mask before mask_begin is kept there; a signal in between has deferred the new one. */
long mask_begin(struct thread *t, uint64_t mask_at)
{
	mask_t mask;

	if (copy_in(&mask, mask_at, sizeof(mask)))
		return -EFAULT;
	mask &= ~KEPT_SIGNALS;
	return call_host(__NR_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)&t->call_mask,
			 sizeof(mask_t), 0, 0);
}

void mask_end(struct thread *t)
{
	mask_t blocked = signals_blocked();

	host(__NR_rt_sigprocmask, SIG_SETMASK, &blocked, 0, sizeof(mask_t));
	if (t->work & WORK_MASKED)
		t->mask = t->call_mask;
	else
		host(__NR_rt_sigprocmask, SIG_SETMASK, &t->call_mask, 0, sizeof(mask_t));
}

/* Signals of the kernel's (shared/shoot.c), which nobody but a handler may take. */
#define SHOTS (SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGBUS))

long call_rt_sigtimedwait(struct thread *t)
{
	long args[6] = ARGS(t);
	mask_t awaited;

	if (!kernel_present || t->regs.r10 != sizeof(mask_t))
		return call_through(t);
	if (copy_in(&awaited, t->regs.rdi, sizeof(awaited)))
		return -EFAULT;
	awaited &= ~SHOTS;
	args[0] = (long)&awaited;
	return call_waiting(t, t->regs.nr, args);
}

long call_signalfd(struct thread *t)
{
	long args[6] = ARGS(t);
	mask_t awaited;

	if (!kernel_present || t->regs.rdx != sizeof(mask_t))
		return call_through(t);
	if (copy_in(&awaited, t->regs.rsi, sizeof(awaited)))
		return -EFAULT;
	awaited &= ~SHOTS;
	args[1] = (long)&awaited;
	return call_host(t->regs.nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

/* With SIGBUS blocked there may be one of the kernel's, which has come as SIGSYS too. */
long call_rt_sigpending(struct thread *t)
{
	const mask_t sigbus = SIGNAL_BIT(SIGBUS);
	const uint64_t no_time[2] = { 0, 0 };
	mask_t pending;
	siginfo_t info;
	long result = call_through(t);

	if (result || !kernel_present || t->regs.rsi != sizeof(mask_t) ||
	    copy_in(&pending, t->regs.rdi, sizeof(pending)) || !(pending & sigbus))
		return result;
	/* The same number comes once: it is either the kernel's, or it is to come back. */
	if (host(__NR_rt_sigtimedwait, &sigbus, &info, no_time, sizeof(mask_t)) == SIGBUS &&
	    !signal_is_shot(&info)) {
		host(__NR_rt_tgsigqueueinfo, host_pid(), host_tid(), SIGBUS, &info);
		return 0;
	}
	pending &= ~sigbus;
	return copy_out(t->regs.rdi, &pending, sizeof(pending));
}

/* The mask is in a structure with its size. */
long call_sized_mask(struct thread *t)
{
	long args[6] = ARGS(t);
	struct {
		uint64_t mask, size;
	} given, stripped;
	mask_t mask;
	long result;

	if (!t->regs.r9)
		return call_through(t);
	if (copy_in(&given, t->regs.r9, sizeof(given)))
		return -EFAULT;
	if (!given.mask || given.size != sizeof(mask_t))
		return call_through(t);
	if (copy_in(&mask, given.mask, sizeof(mask)))
		return -EFAULT;
	mask &= ~signals_open();
	stripped.mask = (uint64_t)&mask;
	stripped.size = sizeof(mask);
	t->call_mask = mask & ~UNBLOCKABLE;
	args[5] = (long)&stripped;
	t->has_call_mask = true;
	result = call_waiting(t, t->regs.nr, args);
	t->has_call_mask = false;
	return result;
}

long call_io_pgetevents(struct thread *t)
{
	return call_sized_mask(t);
}
