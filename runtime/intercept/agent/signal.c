// SPDX-License-Identifier: GPL-2.0-only
/*
 * Signals of the program. Each handler that it installs is on_signal() for the
 * host, which runs on the agent's alternate stack with all signals blocked and then
 *
 * - delivers: moves the frame to where the program wants it, and returns into
 *   the program's handler. rt_sigreturn sets registers, mask and stack at once,
 *   so there is no moment between.
 * - or defers, if the thread is inside the agent: blocks everything and lets it
 *   go on. A call that has not begun is not made (call_host). When the thread
 *   leaves, agent_leave() has the host call us once more, by a SIGSYS that carries
 *   the signal: so it keeps its place before others that have been queued since.
 *
 * Code of a library kernel is as the agent in this. It must not be left in the middle, so
 * with one each signal that ends a process comes here, too, and ends it later.
 */
#include "agent.h"

#include "kernel.h"
#include "patch.h"

#define FRAME_ALIGN 64
#define REDZONE 128
#define EFLAGS_CLEARED (0x400 | 0x100 | 0x10000) /* direction, trap, resume */
#define EFLAGS_STATUS 0x8d5

/* What rt_sigreturn expects: rt_sigframe of the kernel. */
struct frame {
	uint64_t restorer;
	struct ucontext uc;
	siginfo_t info;
};

/* Where the size of the floating point state is said: _fpx_sw_bytes in its sigcontext.h. */
#define FP_LEGACY 512
#define FP_SW_BYTES 464

static size_t fp_size(const char *fp)
{
	uint32_t sw[2];

	if (!fp)
		return 0;
	memcpy(sw, fp + FP_SW_BYTES, sizeof(sw));
	return sw[0] == FP_XSTATE_MAGIC1 ? sw[1] : FP_LEGACY;
}

static bool between(uint64_t rip, const char *begin, const char *end)
{
	return rip >= (uint64_t)begin && rip < (uint64_t)end;
}

bool in_agent(uint64_t rip)
{
	return between(rip, agent_begin, agent_end);
}

/* Inside: no handler of the program may run. */
static bool is_inside(const struct thread *t, const struct sigcontext *c)
{
	return in_agent(c->rip) || on_agent_stack(t, c->rsp) ||
	       (kernel_present && kernel_inside(t, c->rip, c->rsp));
}

mask_t signals_blocked(void)
{
	return kernel_present ? ~FAULT_SIGNALS : ALL_SIGNALS;
}

mask_t signals_open(void)
{
	return kernel_present ? SIGNAL_BIT(SIGSYS) | SIGNAL_BIT(SIGSEGV) : SIGNAL_BIT(SIGSYS);
}

bool signal_is_kept(int sig)
{
	return SIGNAL_BIT(sig) & (kernel_present ? KEPT_SIGNALS : SIGNAL_BIT(SIGSYS));
}

bool signal_ends(int sig)
{
	switch (sig) {
	case SIGCHLD:
	case SIGURG:
	case SIGWINCH:
	case SIGCONT:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGKILL:
		return false;
	}
	return kernel_present;
}

bool signal_is_shot(const siginfo_t *info)
{
	if (info->si_signo != SIGSYS && info->si_signo != SIGBUS)
		return false;
	return rumpel_shared_is_shot(info->si_code, info->si_pid, info->si_value.sival_ptr);
}

/* The program's registers at the end of a call. */
static void context_of(const struct thread *t, struct sigcontext *c)
{
	const struct regs *r = &t->regs;
	uint64_t status = ((r->flags >> 8) & 0xd5) | (r->flags & 1) << 11;

	c->rax = r->rax;
	c->rdi = r->rdi;
	c->rsi = r->rsi;
	c->rdx = r->rdx;
	c->r10 = r->r10;
	c->r8 = r->r8;
	c->r9 = r->r9;
	c->rbx = r->rbx;
	c->rbp = r->rbp;
	c->r12 = r->r12;
	c->r13 = r->r13;
	c->r14 = r->r14;
	c->r15 = r->r15;
	c->rsp = r->rsp;
	c->rip = r->rip;
	c->rcx = r->rip;
	c->eflags = (c->eflags & ~(uint64_t)EFLAGS_STATUS) | status;
	c->r11 = c->eflags;
}

static void defer(struct thread *t, int sig, const siginfo_t *info, struct ucontext *uc)
{
	uint64_t rip = uc->uc_mcontext.rip;

	t->info = *info;
	t->info.si_signo = sig;
	t->mask = t->handler_mask = uc->uc_sigmask;
	t->work |= WORK_PENDING | WORK_MASKED;
	uc->uc_sigmask = signals_blocked();
	if (kernel_present)
		kernel_interrupt(t);
	if (rip >= (uint64_t)call_begin && rip <= (uint64_t)call_syscall)
		uc->uc_mcontext.rip = (uint64_t)call_restart;
	else if (rip >= (uint64_t)sigreturn_begin && rip <= (uint64_t)sigreturn_syscall)
		uc->uc_mcontext.rip = (uint64_t)sigreturn_abort;
	else if (t->has_call_mask)
		t->handler_mask = t->call_mask;
}

/* Where the frame goes. *bounded: it must not be below the alternate stack. */
static uint64_t stack_for(struct thread *t, const struct action *action, uint64_t rsp,
			  bool *bounded)
{
	*bounded = t->sas.ss_size && on_stack(&t->sas, rsp);
	if (*bounded || !(action->flags & SA_ONSTACK) || !t->sas.ss_size)
		return rsp - REDZONE;
	*bounded = true;
	return (uint64_t)t->sas.ss_sp + t->sas.ss_size;
}

/* Raised by the instruction at hand: it comes again at once if it is not dealt with. */
static bool is_synchronous(int sig, const siginfo_t *info)
{
	return info->si_code > 0 && (sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE ||
				     sig == SIGILL || sig == SIGTRAP);
}

/* Die of a signal as if there were no handler, with the core and the status that it gives. */
static void die_of(int sig, const siginfo_t *info, struct ucontext *uc)
{
	struct action reset = { 0 };

	host(__NR_rt_sigaction, sig, &reset, 0, sizeof(mask_t));
	uc->uc_sigmask &= ~SIGNAL_BIT(sig);
	host(__NR_rt_tgsigqueueinfo, host_pid(), host_tid(), sig, info);
}

static void deliver(struct thread *t, int sig, const siginfo_t *info, struct ucontext *uc,
		    mask_t blocked);

/* There is no stack for a handler of sig: the kernel's force_sigsegv(). */
static void overflow(struct thread *t, int sig, struct ucontext *uc, mask_t blocked)
{
	const siginfo_t info = { .si_signo = SIGSEGV, .si_code = SI_KERNEL };
	uint64_t handler = t->signals->actions[SIGSEGV].handler;

	if (sig == SIGSEGV || (blocked & SIGNAL_BIT(SIGSEGV)) || handler == (uint64_t)SIG_DFL ||
	    handler == (uint64_t)SIG_IGN)
		die_of(SIGSEGV, &info, uc);
	else
		deliver(t, SIGSEGV, &info, uc, blocked);
}

/*
 * uc is the host's frame, in which registers and mask are by now as the program
 * knows them. blocked: while the handler runs, besides its own.
 */
static void deliver(struct thread *t, int sig, const siginfo_t *info, struct ucontext *uc,
		    mask_t blocked)
{
	struct sigcontext *c = &uc->uc_mcontext;
	struct action action = t->signals->actions[sig];
	const char *fp = (const char *)c->fpstate;
	size_t fp_bytes = fp_size(fp);
	struct frame *frame;
	uint64_t rsp;
	bool bounded;

	if (action.handler == (uint64_t)SIG_DFL || action.handler == (uint64_t)SIG_IGN) {
		/* Unless another thread has just taken the handler away. */
		if (signal_ends(sig) &&
		    (action.handler == (uint64_t)SIG_DFL || is_synchronous(sig, info))) {
			kernel_exit(t);
			die_of(sig, info, uc);
		}
		return;
	}
	rsp = (stack_for(t, &action, c->rsp, &bounded) - fp_bytes) & -(uint64_t)FRAME_ALIGN;
	frame = (struct frame *)(((rsp - sizeof(*frame)) & -16ull) - 8);
	if (bounded && (uint64_t)frame <= (uint64_t)t->sas.ss_sp) {
		overflow(t, sig, uc, blocked);
		return;
	}
	memcpy((void *)rsp, fp, fp_bytes);
	frame->restorer = action.restorer;
	frame->uc = *uc;
	frame->uc.uc_stack = t->sas;
	frame->uc.uc_sigmask |= t->held & signals_open();
	if (fp)
		frame->uc.uc_mcontext.fpstate = (void *)rsp;
	frame->info = *info;
	if (t->sas.ss_flags & (int)SS_AUTODISARM)
		t->sas = (stack_t){ .ss_flags = SS_DISABLE };

	blocked |= action.mask;
	if (!(action.flags & SA_NODEFER))
		blocked |= SIGNAL_BIT(sig);
	t->held |= blocked & KEPT_SIGNALS;
	uc->uc_sigmask = blocked & ~signals_open();
	c->rip = action.handler;
	c->rsp = (uint64_t)frame;
	c->rdi = sig;
	c->rsi = (uint64_t)&frame->info;
	c->rdx = (uint64_t)&frame->uc;
	c->rax = 0;
	c->eflags &= ~(uint64_t)EFLAGS_CLEARED;
	c->fpstate = NULL; /* the handler begins with an empty one, as always */
	if (action.flags & SA_RESETHAND) {
		struct action reset = { 0 };

		t->signals->actions[sig].handler = (uint64_t)SIG_DFL;
		if (sig != SIGSYS && !signal_ends(sig))
			host(__NR_rt_sigaction, sig, &reset, 0, sizeof(mask_t));
	}
}

/* SIGSEGV, which the program has blocked. One that nobody sent ends it all the same. */
static void hold(struct thread *t, int sig, const siginfo_t *info, struct ucontext *uc)
{
	if (is_synchronous(sig, info)) {
		kernel_exit(t);
		die_of(sig, info, uc);
		return;
	}
	t->held_info = *info;
	t->has_held = true;
}

void signals_reopen(struct thread *t)
{
	mask_t open = signals_open();

	host(__NR_rt_sigprocmask, SIG_UNBLOCK, &open, 0, sizeof(mask_t));
	/* A signal was deferred meanwhile, with the mask as it was. */
	if (t->work & WORK_MASKED) {
		t->mask &= ~open;
		t->handler_mask &= ~open;
	}
}

void signals_unhold(struct thread *t)
{
	if (!t->has_held || (t->held & SIGNAL_BIT(t->held_info.si_signo)))
		return;
	t->has_held = false;
	host(__NR_rt_tgsigqueueinfo, host_pid(), host_tid(), t->held_info.si_signo, &t->held_info);
}

static void on_signal(int sig, siginfo_t *info, struct ucontext *uc)
{
	struct thread *t = this_thread();
	struct sigcontext *c = &uc->uc_mcontext;
	mask_t blocked = uc->uc_sigmask;
	siginfo_t deferred;

	/* The kernel goes on after its faults as if nothing had been. */
	if ((t->local.process || kernel_ready) && (SIGNAL_BIT(sig) & KEPT_SIGNALS) &&
	    kernel_fault(sig, info, uc)) {
		t->shot |= signal_is_shot(info);
		return;
	}
	/* A pointer of the program's is bad. */
	if (between(c->rip, copy_touches, copy_touched) && is_synchronous(sig, info)) {
		c->rip = (uint64_t)copy_fault;
		return;
	}
	/* A page of a mapping may turn out to be beyond the end of its file. */
	sig = info->si_signo;
	/* Sent to the program that this process executed before: nothing is mapped yet. */
	if (kernel_present && signal_is_shot(info))
		return;
	if (sig == SIGSYS && is_trap(info)) {
		trapped(info, uc);
		return;
	}
	if (sig == SIGSYS && t->carrying) {
		t->carrying = false;
		deferred = t->info;
		info = &deferred;
		sig = info->si_signo;
	}
	/* The host knows no other disposition of SIGSYS than ours. */
	if (sig == SIGSYS) {
		uint64_t handler = t->signals->actions[sig].handler;

		if (handler == (uint64_t)SIG_DFL && !kernel_present)
			die_of(sig, info, uc);
		if ((handler == (uint64_t)SIG_DFL && !kernel_present) ||
		    handler == (uint64_t)SIG_IGN)
			return;
	}
	if (t->leaving || between(c->rip, agent_exit, agent_exit_end)) {
		context_of(t, c);
		if (t->leaving) {
			uc->uc_sigmask = t->mask;
			blocked = t->handler_mask;
		}
		t->leaving = 0;
	} else if (between(c->rip, agent_entry, agent_entry_saved)) {
		if (c->rip != (uint64_t)agent_entry)
			c->rax = t->regs.nr;
		c->rip = c->rcx - 2;
	} else if (is_inside(t, c)) {
		if (is_synchronous(sig, info))
			die_of(sig, info, uc);
		else
			defer(t, sig, info, uc);
		return;
	} else {
		c->rip = patch_site(c->rip);
	}
	if (sig == SIGSEGV && kernel_present && (t->held & SIGNAL_BIT(SIGSEGV)))
		hold(t, sig, info, uc);
	else
		deliver(t, sig, info, uc, blocked);
}

/* The last thing before the program's registers are loaded, if there is something to do. */
void agent_leave(struct thread *t)
{
	bool pending = t->work & WORK_PENDING;

	if (t->regs.rax == (uint64_t)RESTART) {
		t->regs.rip -= 2;
		t->regs.rax = t->regs.nr;
	}
	if (!pending)
		t->handler_mask = t->mask;
	t->work = 0;
	t->leaving = 1;
	if (pending) {
		/* Of a code that the host finds room for, whatever RLIMIT_SIGPENDING says. */
		siginfo_t carrier = { .si_signo = SIGSYS, .si_code = SI_KERNEL };
		mask_t others = ~SIGNAL_BIT(SIGSYS);

		t->carrying = true;
		host(__NR_rt_tgsigqueueinfo, host_pid(), host_tid(), SIGSYS, &carrier);
		/* Delivered here, unless somebody has taken its handler away. */
		host(__NR_rt_sigprocmask, SIG_SETMASK, &others, 0, sizeof(mask_t));
	}
	host(__NR_rt_sigprocmask, SIG_SETMASK, &t->mask, 0, sizeof(mask_t));
}

/* The host's action for a handler of the program. */
static struct action ours(uint64_t flags)
{
	return (struct action){ (uint64_t)on_signal, SA_SIGINFO | SA_ONSTACK | SA_RESTORER | flags,
				(uint64_t)agent_restorer, ALL_SIGNALS };
}

long signal_install(int sig, uint64_t flags, struct action *old)
{
	struct action action = ours(flags);

	return host(__NR_rt_sigaction, sig, &action, old, sizeof(mask_t));
}

bool signal_is_ours(const struct action *action)
{
	return action->handler == (uint64_t)on_signal;
}

/* A new program, or a child whose handlers are gone. */
void signals_begin(void)
{
	struct thread *t = this_thread();
	mask_t open = signals_open(), mask;
	struct action old;

	/* Those of a kernel (SIGBUS, too) have nothing to do with the call that they come in. */
	signal_install(SIGSYS, kernel_present ? SA_RESTART : 0, NULL);
	/* Before there are others, which remember the mask. */
	host(__NR_rt_sigprocmask, SIG_UNBLOCK, &open, &mask, sizeof(mask_t));
	t->held = mask & KEPT_SIGNALS;
	for (int sig = 1; kernel_present && sig <= SIGNALS; sig++) {
		if (sig == SIGSYS || !signal_ends(sig))
			continue;
		host(__NR_rt_sigaction, sig, 0, &old, sizeof(mask_t));
		if (old.handler == (uint64_t)SIG_IGN)
			t->signals->actions[sig].handler = old.handler;
		if (old.handler == (uint64_t)SIG_DFL || signal_is_kept(sig))
			signal_install(sig, sig == SIGBUS ? SA_RESTART : 0, NULL);
	}
}
