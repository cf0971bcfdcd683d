/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One kernel for several processes: what a program's agent calls.
 *
 * All that belongs to such a kernel lies in memory that its processes share, at the
 * same addresses: the runtime (one file, text only), a memfd with the runtime's heap,
 * the kernel's data and its guest memory, and the text of the kernel's image. It is
 * reached through descriptors that have the same numbers in all processes and are
 * inherited by fork and exec: `fds` is the first of them. A process of its own, the
 * keeper, boots the kernel, does its blocking work and sees to it when others die.
 *
 * Made for code without a libc: no thread-local storage but what %gs points at, no
 * floating point and vector registers, no signal handlers, errors as -errno. Functions
 * are those of the calling thread (rumpel_local); they may be called from any stack with
 * 16 KiB left, not from a signal handler unless that is said.
 *
 *	mmap(RUMPEL_SHARED_TEXT, RUMPEL_SHARED_TEXT_SIZE, PROT_READ | PROT_EXEC,
 *	     MAP_PRIVATE | MAP_FIXED_NOREPLACE, fds + RUMPEL_SHARED_FD_TEXT, 0);
 *	local.self = &local; (all else is zero)
 *	arch_prctl(ARCH_SET_GS, &local);
 *	rumpel_shared->attach(fds);
 *	fd = rumpel_shared->call(SYS_socket, (unsigned long[6]){ AF_INET, SOCK_STREAM });
 */
#ifndef RUMPEL_SHARED_H
#define RUMPEL_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUMPEL_SHARED_MAGIC 0x64657261687372ULL /* "rshared" */
#define RUMPEL_SHARED_VERSION 4

/* Away from where programs, their heaps and sanitizers' shadows are put. */
#define RUMPEL_SHARED_TEXT 0x200000000000ULL
#define RUMPEL_SHARED_TEXT_SIZE 0x100000UL
#define RUMPEL_SHARED_TABLE (RUMPEL_SHARED_TEXT + 0x1000)

/* Where mmap() of the kernel's files has its mappings. */
#define RUMPEL_SHARED_MAPPINGS (RUMPEL_SHARED_TEXT + (2ULL << 40) + (64ULL << 30))
#define RUMPEL_SHARED_MAPPINGS_SIZE (16ULL << 30)

/* Descriptors, from `fds` on; all below fds + RUMPEL_SHARED_FDS are the kernel's. */
#define RUMPEL_SHARED_FD_MEMORY 0
#define RUMPEL_SHARED_FD_TEXT 1
#define RUMPEL_SHARED_FD_IMAGE 2
#define RUMPEL_SHARED_FDS 64

struct timespec;
struct pollfd;

/* What %gs:0 is in each thread that calls the runtime; the agent's own may follow. */
struct rumpel_local {
	struct rumpel_local *self;
	uint32_t tid; /* the thread's number, in this kernel alone; 0: none */
	int error; /* errno of the runtime's own calls */
	struct rumpel_process *process;
	struct rumpel_task *task;
	/* The vDSO's; attach() finds it. */
	int (*clock_gettime)(int clock, struct timespec *now);
	uint32_t interrupted; /* see interrupt() */
	uint32_t unused[3];
};

/* Who gets the signals of a file, as fcntl(2) has it. */
struct rumpel_owner {
	int type; /* F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP */
	int id; /* the host's; 0: nobody */
	int signal; /* F_SETSIG; 0: SIGIO */
	int async; /* O_ASYNC: for all that happens; without, SIGURG for urgent data */
};

/* How fork's child is to be. */
enum rumpel_shared_fork {
	RUMPEL_SHARED_FORK_VM = 1 << 0, /* it shares the memory (vfork) */
	RUMPEL_SHARED_FORK_FILES = 1 << 1, /* and the descriptors (CLONE_FILES) */
};

struct rumpel_shared_ops {
	unsigned long long magic;
	unsigned int version;

	/*
	 * This process uses the kernel, in its first thread: as a new one, or, after an
	 * exec, as the one that it was. 0, -ENOTRECOVERABLE, -EUSERS (too many processes).
	 */
	int (*attach)(int fds);

	/*
	 * A system call of the kernel. Ends with -EINTR when it was interrupted (below),
	 * -ENOTRECOVERABLE or -ESHUTDOWN when the kernel is gone.
	 */
	long (*call)(long nr, const unsigned long args[6]);
	/*
	 * A call as above (poll, epoll_wait...), and descriptors of the host's at the same
	 * time: it ends when one of both has something. *ready: of the host's. When only
	 * they have, the call is interrupted: -EINTR.
	 */
	long (*poll)(long nr, const unsigned long args[6], struct pollfd *also, unsigned int count,
		     int *ready);
	/*
	 * In a signal handler, of the thread that `local` is of: the call that waits, or the
	 * next one that would, ends with -EINTR. Cleared when a call has ended.
	 */
	void (*interrupt)(struct rumpel_local *local);

	/*
	 * A new thread. Before clone(), in its parent: fills `local`, but for self and the
	 * vDSO. If clone() fails: thread_end with it. At its end: thread_end with its own,
	 * after which it calls nothing any more.
	 */
	int (*thread_begin)(struct rumpel_local *local);
	void (*thread_end)(struct rumpel_local *local);

	/*
	 * fork: before, in the parent; then in the child, whose %gs is as its parent's was
	 * or, if it shares memory, another local; and in the parent, pid or -errno.
	 * flags: enum rumpel_shared_fork. What begin says of the child is never 0. -ESRCH in the
	 * child: its parent was killed as it forked, and what was the child's has been given up.
	 */
	int (*fork_begin)(unsigned int flags, uint64_t *child);
	int (*fork_child)(uint64_t child);
	void (*fork_parent)(uint64_t child, int pid);

	/* exec: other threads enter the kernel no more; if it failed they do again. */
	int (*exec_begin)(void);
	void (*exec_failed)(void);
	/* The process is about to end (exit_group): its descriptors are closed. */
	void (*exit)(void);
	/* Why calls end with -ENOTRECOVERABLE: a text. */
	const char *(*reason)(void);

	/*
	 * A file on its way to another process: pid 1 keeps it, under a number that is for one
	 * take(), which gives the file a descriptor of this process.
	 */
	long (*give)(int fd);
	long (*take)(long number);

	/* The kernel itself must be told of none (F_SETOWN): its signals would end the task. */
	int (*get_owner)(int fd, struct rumpel_owner *owner);
	int (*set_owner)(int fd, const struct rumpel_owner *owner);

	/*
	 * A call of the host's that kills or stops others (kill, tkill, tgkill): none of them
	 * is in the middle of kernel code meanwhile.
	 */
	long (*kill)(long nr, const unsigned long args[6]);

	/*
	 * SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGSYS, with all signals blocked: siginfo_t and
	 * ucontext_t. True: it was the kernel's, or a page of one of its mappings; return from
	 * the handler. A queued SIGBUS or SIGSYS says that pages of mappings are no longer there,
	 * and the kernel waits for it: one of the two must not be blocked in any thread, for long.
	 * False: the program's, as info says it by now: a page beyond the end of a file is SIGBUS.
	 */
	bool (*fault)(int signal, void *info, void *context);
	/* Is the thread in the middle of kernel code? Any handler may ask. */
	bool (*inside)(const struct rumpel_local *local, uintptr_t ip, uintptr_t sp);
};

/*
 * Is a SIGSYS or SIGBUS the kernel's (see fault())? The host forgets what a queued signal says
 * when it has queued as many as RLIMIT_SIGPENDING allows: then it is as if nobody had sent it.
 * code, pid and value are those of siginfo_t.
 */
static inline bool rumpel_shared_is_shot(int code, int pid, const void *value)
{
	if (code == -1 /* SI_QUEUE */)
		return value == (const void *)RUMPEL_SHARED_MAGIC;
	return code == 0 /* SI_USER */ && !pid;
}

#define rumpel_shared ((const struct rumpel_shared_ops *)RUMPEL_SHARED_TABLE)

#endif
