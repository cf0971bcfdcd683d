/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The agent: what lives in an intercepted program. It is the program that is
 * executed; it maps the real one beside itself, and from then on gets each
 * system call of it. It has no libc and no thread-local storage, uses general
 * registers only, and finds its data by %gs. docs/run-internals.md is its map.
 *
 * Files: start.S (ways in and out), main.c and elf.c (a program is mapped and
 * started), execute.c (execve), dispatch.c (from a call to its answer), calls.h
 * (the table of calls), policy.c (host or kernel), thread.c, signal.c and
 * sigcalls.c, trap.c and patch.c (how calls are caught), files.c (descriptors),
 * owner.c (their signals), direct.c (O_DIRECT), names.c (/proc/self/exe), memory.c, wait.c,
 * explain.c; kernel.h (a library kernel), poll.c, epoll.c, transfer.c, splice.c (calls with descriptors of both).
 */
#ifndef AGENT_H
#define AGENT_H

#include <asm/sigcontext.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ucontext.h>
#include <linux/signal.h>
#include <rumpel/shared.h>

#include "host.h"
#include "offsets.h"

#define PATH_MAX 4096
#define PAGE 4096ul
#define SIGNALS 64

typedef uint64_t mask_t;
#define SIGNAL_BIT(sig) (1ull << ((sig)-1))
#define ALL_SIGNALS (~0ull)
/* Faults of kernel code, which runs in the program's threads. */
#define FAULT_SIGNALS \
	(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE))
#define KEPT_SIGNALS (SIGNAL_BIT(SIGSYS) | FAULT_SIGNALS)

/* The program's registers at a system call, in the order of offsets.h. rax is the result. */
struct regs {
	uint64_t rax, rdi, rsi, rdx, r10, r8, r9;
	uint64_t rbx, rbp, r12, r13, r14, r15;
	uint64_t rsp, rip; /* rip: after the call */
	uint64_t flags; /* as lahf and seto leave them in ax */
	uint64_t nr;
};

/* A disposition, as rt_sigaction has it. */
struct action {
	uint64_t handler, flags, restorer;
	mask_t mask;
};

/* What processes share that share handlers (CLONE_SIGHAND). */
struct signals {
	uint32_t lock;
	struct action actions[SIGNALS + 1];
};

struct files;

/* Bits of thread.work. */
#define WORK_MASKED 1 /* all signals are blocked; mask is to be set on leaving */
#define WORK_PENDING 2 /* and info is of one that came meanwhile */

struct thread {
	struct rumpel_local local; /* at %gs:0, where the runtime of a shared kernel looks for it */
	uint64_t stack; /* top of the agent's */
	uint32_t work;
	uint32_t leaving; /* regs are complete, so a signal may be delivered at once */
	uint32_t used;
	uint32_t vfork; /* the parent will free this */
	struct regs regs;

	mask_t mask;
	mask_t handler_mask; /* blocked while the handler of a deferred signal runs, besides its own */
	mask_t call_mask; /* of a call that has one for its duration */
	bool has_call_mask;
	bool shot; /* a signal came that was the kernel's: see wait.c */
	bool carrying; /* the next SIGSYS is info's signal */
	bool cleared; /* a child whose handlers the host has taken away (CLONE_CLEAR_SIGHAND) */
	mask_t held; /* of KEPT_SIGNALS: those that the program has blocked */
	bool has_held; /* held_info is of one of these, which has come: see signals_open() */
	siginfo_t held_info;
	uint64_t process; /* of a child that shares this memory, until it runs */
	siginfo_t info;
	stack_t sas; /* the program's alternate stack */
	stack_t agent_sas; /* the one that the host knows */
	struct signals *signals;
	struct files *files;
	struct thread *next;
	char *chunk; /* transfer.c: for data on its way, once there was some */
};

static inline struct thread *this_thread(void)
{
	struct thread *t;

	asm volatile("mov %%gs:0, %0" : "=r"(t)); /* local.self */
	return t;
}

/* Nothing is looked up in a table. */
#pragma GCC visibility push(hidden)

/* memory.c */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
/* Copy from or to where the program says: 0 or -EFAULT. */
int copy_in(void *to, uint64_t from, size_t n);
int copy_out(uint64_t to, const void *from, size_t n);
/* The string at from: its length, -ENAMETOOLONG (size is not enough), or -EFAULT. */
long copy_string(char *to, uint64_t from, size_t size);
void *map_pages(size_t size); /* NULL: no memory */
void lock(uint32_t *word);
void unlock(uint32_t *word);

/* start.S */
extern char __executable_start[], etext[];
#define agent_begin __executable_start
#define agent_end etext
extern char agent_entry[], agent_entry_saved[], agent_exit[], agent_exit_end[];
extern char call_begin[], call_syscall[], call_restart[];
extern char sigreturn_begin[], sigreturn_syscall[], sigreturn_abort[];
extern char copy_touches[], copy_touched[], copy_fault[];
/* 0 or -EFAULT. Only where on_signal() is called for faults. */
long copy_bytes(void *to, const void *from, size_t n);
void agent_restorer(void);
/* The program's call itself, interruptible: its result, or RESTART if a signal came before it. */
long call_host(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
/* RESTART, or not at all. */
long agent_sigreturn(struct ucontext *uc);
/* clone or clone3 whose child begins on child's stack, in thread_begin(). */
long agent_clone(long nr, long a0, long a1, long a2, long a3, long a4, struct thread *child);
_Noreturn void agent_exit_thread(struct thread *t, long status);
_Noreturn void agent_resume(struct thread *t);
_Noreturn void agent_on_stack(struct thread *t, void (*function)(struct thread *t));

/* dispatch.c */
long dispatch(struct thread *t);
/* The call as it is in regs, on the host. */
long call_through(struct thread *t);

/* thread.c */
struct thread *thread_new(void);
bool on_agent_stack(const struct thread *t, uint64_t rsp);
void thread_install(struct thread *t); /* of the calling thread: %gs and the alternate stack */
void block_signals(struct thread *t); /* until the call ends */
long call_clone(struct thread *t);
long call_clone3(struct thread *t);
long call_fork(struct thread *t);
long call_vfork(struct thread *t);
long call_exit(struct thread *t);

/* signal.c */
void signals_begin(void);
void agent_leave(struct thread *t);
bool in_agent(uint64_t rip);
/* Does the host always call on_signal() for it, whatever the program wants? */
bool signal_is_kept(int sig);
/*
 * Those that the host never blocks for the program, which has them held: SIGSYS, by which calls
 * are caught, and SIGSEGV, by which pages of the kernel's come as they are touched.
 */
mask_t signals_open(void);
/* After an execve that failed, before which the host was told of them. */
void signals_reopen(struct thread *t);
/* What was held may be so no longer: one that has come is sent once more. */
void signals_unhold(struct thread *t);
/* Would it end the process? With a kernel that is not for the host to do: see on_signal(). */
bool signal_ends(int sig);
/* What is blocked while a thread is on its way out of the agent. */
mask_t signals_blocked(void);
/* Have the host call on_signal() for sig; flags: SA_RESTART and the like. old may be NULL. */
long signal_install(int sig, uint64_t flags, struct action *old);
bool signal_is_ours(const struct action *action);
/* The kernel takes pages away from mappings: shared/shoot.c. */
bool signal_is_shot(const siginfo_t *info);

/* sigcalls.c */
bool on_stack(const stack_t *sas, uint64_t rsp);
long call_rt_sigaction(struct thread *t);
long call_rt_sigprocmask(struct thread *t);
long call_rt_sigreturn(struct thread *t);
long call_sigaltstack(struct thread *t);
long call_rt_sigsuspend(struct thread *t);
long call_rt_sigtimedwait(struct thread *t);
long call_rt_sigpending(struct thread *t);
/* And signalfd4. */
long call_signalfd(struct thread *t);
/* The host's call, which has a mask for its duration as argument `at`; or in a structure. */
long call_masked(struct thread *t, int at, uint64_t mask_at, uint64_t size);
long call_sized_mask(struct thread *t);
/* The mask at mask_at until mask_end(): 0, -EFAULT or RESTART. */
long mask_begin(struct thread *t, uint64_t mask_at);
void mask_end(struct thread *t);
long call_io_pgetevents(struct thread *t);

/* wait.c: call_host(), which goes on after signals that are not the program's. */
long call_waiting(struct thread *t, long nr, const long args[6]);

/* trap.c */
extern bool seccomp_traps;
extern bool vdso_traps; /* the vDSO makes system calls, too */
long trap_calls(bool first); /* of this thread, from now on: 0 or a negative errno */
bool is_trap(const siginfo_t *info);
void trapped(const siginfo_t *info, struct ucontext *uc);

#pragma GCC visibility pop

#endif
