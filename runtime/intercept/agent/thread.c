// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads, and the processes that a program makes of itself. A thread of the
 * program has a struct thread with a stack of its own, also if it is a process that
 * shares memory with its parent (vfork): the two are in the agent at the same time.
 */
#include "agent.h"

#include <linux/mman.h>
#include <asm/prctl.h>
#include <linux/sched.h>

#include "execute.h"
#include "explain.h"
#include "files.h"
#include "kernel.h"
#include "patch.h"

#define SIZE (192ul << 10)
#define SAS_SIZE (64ul << 10) /* calls of a kernel may be made on it, see on_signal() */

#define OFFSET(name, member) \
	_Static_assert(offsetof(struct thread, member) == (name), "offsets.h is not true")
OFFSET(T_SELF, local.self);
OFFSET(T_STACK, stack);
OFFSET(T_WORK, work);
OFFSET(T_LEAVING, leaving);
OFFSET(T_USED, used);
OFFSET(T_RAX, regs.rax);
OFFSET(T_RDI, regs.rdi);
OFFSET(T_R9, regs.r9);
OFFSET(T_RBX, regs.rbx);
OFFSET(T_R15, regs.r15);
OFFSET(T_RSP, regs.rsp);
OFFSET(T_RIP, regs.rip);
OFFSET(T_FLAGS, regs.flags);
OFFSET(T_NR, regs.nr);

/* All that were ever made; those that are not used are taken again. */
static struct thread *threads;

/* self, stack, next and chunk stay for ever, and used is whose the struct is: others look at it. */
static void reset(struct thread *t)
{
	const size_t rest = offsetof(struct thread, regs);

	t->work = t->leaving = t->vfork = 0;
	t->local = (struct rumpel_local){ .self = &t->local };
	memset((char *)t + rest, 0, offsetof(struct thread, next) - rest);
	t->agent_sas.ss_sp = (char *)t - (SIZE - PAGE) + PAGE;
	t->agent_sas.ss_size = SAS_SIZE;
	t->sas.ss_flags = SS_DISABLE;
}

/* NULL: no memory. From below: a guard, the alternate stack, the stack, struct thread. */
struct thread *thread_new(void)
{
	struct thread *t;
	char *base;

	_Static_assert(sizeof(*t) <= PAGE, "a thread's last page");
	for (t = __atomic_load_n(&threads, __ATOMIC_ACQUIRE); t; t = t->next) {
		uint32_t used = 0;

		if (__atomic_compare_exchange_n(&t->used, &used, 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED)) {
			reset(t);
			return t;
		}
	}
	base = map_pages(SIZE);
	if (!base)
		return NULL;
	host(__NR_mprotect, base, PAGE, PROT_NONE);
	t = (struct thread *)(base + SIZE - PAGE);
	t->stack = (uint64_t)t & -16ull;
	t->used = 1;
	reset(t);
	t->next = __atomic_load_n(&threads, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&threads, &t->next, t, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED))
		;
	return t;
}

bool on_agent_stack(const struct thread *t, uint64_t rsp)
{
	return rsp <= t->stack && rsp > (uint64_t)t->agent_sas.ss_sp + SAS_SIZE;
}

void thread_install(struct thread *t)
{
	host(__NR_arch_prctl, ARCH_SET_GS, t);
	host(__NR_sigaltstack, &t->agent_sas, 0);
}

void block_signals(struct thread *t)
{
	mask_t all = signals_blocked(), was;

	if (t->work & WORK_MASKED)
		return;
	host(__NR_rt_sigprocmask, SIG_SETMASK, &all, &was, sizeof(was));
	/* One that came before this call has blocked them already. */
	if (t->work & WORK_MASKED)
		return;
	t->mask = was;
	t->work |= WORK_MASKED;
}

/* What a new process or thread does first. */
static void begin(struct thread *t)
{
	mask_t held = t->held;

	t->regs.rax = 0;
	if (t->cleared)
		signals_begin();
	t->held = held;
	t->has_held = false;
	t->cleared = false;
	if (trap_calls(false))
		host(__NR_exit_group, 127);
	if (t->process)
		kernel_fork_child(t->process);
	t->process = 0;
}

/* The first C of a thread with its own struct thread: all signals are blocked. */
_Noreturn void thread_begin(struct thread *t)
{
	thread_install(t);
	begin(t);
	agent_resume(t);
}

/* A copy of from for a child that does not share it, NULL: no memory. */
static struct signals *copy_signals(struct signals *from, bool cleared)
{
	struct signals *to = map_pages(sizeof(*to));

	if (!to)
		return NULL;
	lock(&from->lock);
	memcpy(to->actions, from->actions, sizeof(to->actions));
	unlock(&from->lock);
	for (int sig = 1; cleared && sig <= SIGNALS; sig++)
		if (to->actions[sig].handler != (uint64_t)SIG_IGN)
			to->actions[sig] = (struct action){ 0 };
	return to;
}

static void release(struct thread *parent, struct thread *child)
{
	if (child->signals && child->signals != parent->signals)
		host(__NR_munmap, child->signals, sizeof(*child->signals));
	if (child->files && child->files != parent->files)
		files_free(child->files);
	__atomic_store_n(&child->used, 0, __ATOMIC_RELEASE);
}

/* make(), of which a library kernel hears. */
static long make_known(struct thread *t, struct thread *child, uint64_t flags,
		       long (*make)(struct thread *child, void *data), void *data)
{
	uint64_t process;
	long result;

	if (!kernel_present)
		return make(child, data);
	result = flags & CLONE_THREAD ? kernel_thread_begin(child)
				      : kernel_fork_begin(t, flags, &child->process);
	if (result)
		return result;
	process = child->process;
	result = make(child, data);
	if (!(flags & CLONE_THREAD))
		kernel_fork_parent(process, result);
	else if (result < 0)
		kernel_thread_end(child);
	return result;
}

/* A child in this memory. make() calls the host. */
static long share(struct thread *t, uint64_t flags, uint64_t rsp,
		  long (*make)(struct thread *child, void *data), void *data)
{
	struct thread *child = thread_new();
	long result = -EAGAIN;

	if (!child)
		return -ENOMEM;
	child->regs = t->regs;
	if (rsp)
		child->regs.rsp = rsp;
	child->mask = t->mask;
	child->work = WORK_MASKED;
	child->held = t->held;
	child->cleared = flags & CLONE_CLEAR_SIGHAND;
	if (flags & CLONE_VFORK)
		child->sas = t->sas;
	child->vfork = !!(flags & CLONE_VFORK);
	child->signals = flags & CLONE_SIGHAND
				 ? t->signals
				 : copy_signals(t->signals, flags & CLONE_CLEAR_SIGHAND);
	child->files = flags & CLONE_FILES ? t->files : files_copy(t->files);
	if (child->signals && child->files)
		result = make_known(t, child, flags, make, data);
	/* A parent that vforks goes on when the child has other memory, or none. */
	if (result < 0 || (flags & CLONE_VFORK))
		release(t, child);
	return result;
}

/* A child with a copy of this memory. make() calls the host. */
static long copy(struct thread *t, uint64_t flags, uint64_t rsp,
		 long (*make)(struct thread *child, void *data), void *data)
{
	uint64_t process = 0;
	long result;

	if (kernel_present) {
		result = kernel_fork_begin(t, flags, &process);
		if (result)
			return result;
	}
	/* Nobody is in the middle of a change of what the child gets. */
	lock(&t->signals->lock);
	files_lock(t->files);
	code_hold();
	result = make(NULL, data);
	code_unlock();
	files_unlock(t->files);
	unlock(&t->signals->lock);
	if (result && process)
		kernel_fork_parent(process, result);
	if (result)
		return result;
	for (struct thread *other = threads; other; other = other->next)
		if (other != t)
			other->used = 0;
	if (flags & CLONE_CLEAR_SIGHAND)
		for (int sig = 1; sig <= SIGNALS; sig++)
			if (t->signals->actions[sig].handler != (uint64_t)SIG_IGN)
				t->signals->actions[sig] = (struct action){ 0 };
	if (rsp)
		t->regs.rsp = rsp;
	execute_forked(t);
	explain_forked();
	t->process = process;
	t->cleared = flags & CLONE_CLEAR_SIGHAND;
	begin(t);
	return 0;
}

static long spawn(struct thread *t, uint64_t flags, uint64_t rsp,
		  long (*make)(struct thread *child, void *data), void *data)
{
	if ((flags & CLONE_FILES) && !(flags & CLONE_THREAD))
		t->files->processes = true;
	/* The child's first steps must not be a handler's: it has no %gs of its own yet. */
	block_signals(t);
	if (t->work & WORK_PENDING)
		return RESTART;
	return flags & CLONE_VM ? share(t, flags, rsp, make, data)
				: copy(t, flags, rsp, make, data);
}

static long make_clone(struct thread *child, void *data)
{
	const struct regs *r = data;

	if (child)
		return agent_clone(__NR_clone, r->rdi, child->stack, r->rdx, r->r10, r->r8, child);
	return host(__NR_clone, r->rdi, 0, r->rdx, r->r10, r->r8);
}

long call_clone(struct thread *t)
{
	return spawn(t, t->regs.rdi, t->regs.rsi, make_clone, &t->regs);
}

long call_fork(struct thread *t)
{
	struct regs as_clone = { .rdi = SIGCHLD };

	return spawn(t, SIGCHLD, 0, make_clone, &as_clone);
}

long call_vfork(struct thread *t)
{
	struct regs as_clone = { .rdi = CLONE_VFORK | CLONE_VM | SIGCHLD };

	return spawn(t, as_clone.rdi, 0, make_clone, &as_clone);
}

/* clone3's structure, with room for members that are not invented yet. */
struct clone3 {
	struct clone_args args;
	char more[256 - sizeof(struct clone_args)];
	size_t size;
};

static long make_clone3(struct thread *child, void *data)
{
	struct clone3 *c = data;

	c->args.stack = c->args.stack_size = 0;
	if (!child)
		return host(__NR_clone3, &c->args, c->size);
	c->args.stack_size = child->stack - ((uint64_t)child->agent_sas.ss_sp + SAS_SIZE);
	c->args.stack = child->stack - c->args.stack_size;
	return agent_clone(__NR_clone3, (long)&c->args, c->size, 0, 0, 0, child);
}

long call_clone3(struct thread *t)
{
	struct clone3 c = { .size = t->regs.rsi };

	if (c.size < CLONE_ARGS_SIZE_VER0 || c.size > sizeof(c.args) + sizeof(c.more))
		return call_through(t); /* which says what is wrong with it */
	if (copy_in(&c.args, t->regs.rdi, c.size))
		return -EFAULT;
	/* A stack goes with its size. */
	if (!c.args.stack != !c.args.stack_size)
		return -EINVAL;
	return spawn(t, c.args.flags, c.args.stack + c.args.stack_size, make_clone3, &c);
}

long call_exit(struct thread *t)
{
	long status = t->regs.rdi;

	block_signals(t);
	if (t->work & WORK_PENDING)
		return RESTART; /* nobody else would get it */
	if (t->vfork) {
		if (kernel_present)
			kernel_exit(t);
		host(__NR_exit, status);
	}
	if (kernel_present && t->local.task)
		kernel_thread_end(t);
	agent_exit_thread(t, status);
}
