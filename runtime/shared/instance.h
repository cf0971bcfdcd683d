/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A kernel and its processes, as the shared memory has them.
 *
 *	table.c    the functions of rumpel/shared.h
 *	instance.c addresses, and what a process maps of them
 *	arena.c    image and guest memory, aliases and who has yet to hear of them
 *	process.c  processes: slots, attach
 *	thread.c   their threads, and the numbers of these
 *	fork.c     a process makes another one
 *	exec.c     it executes a program, or ends
 *	space.c    address spaces, and what they map of the kernel's
 *	shoot.c    pages of mappings are taken away from other processes
 *	alive.c    who has died, and whether the kernel can go on without
 *	call.c     system calls
 *	owner.c    signals of descriptors: SIGIO, SIGURG
 *	fault.c    faults of kernel code
 *	keeper.c   the process that boots the kernel; options.h is what it is told
 *	reap.c     the ends of processes
 */
#ifndef RUMPEL_RUNTIME_SHARED_INSTANCE_H
#define RUMPEL_RUNTIME_SHARED_INSTANCE_H

#include "../core.h"

#include <signal.h>

/* ---- addresses ---- */

#define SHARED_HEAP (RUMPEL_SHARED_TEXT + (16ull << 20))
#define SHARED_IMAGE (RUMPEL_SHARED_TEXT + (512ull << 20))
#define SHARED_MEMORY (RUMPEL_SHARED_TEXT + (1ull << 30))
#define SHARED_VMALLOC (RUMPEL_SHARED_TEXT + (2ull << 40))
#define SHARED_MAPPINGS RUMPEL_SHARED_MAPPINGS
#define SHARED_VMALLOC_SIZE (4ull << 30)
#define SHARED_MAPPINGS_SIZE RUMPEL_SHARED_MAPPINGS_SIZE
/* The memfd has the same layout, from the heap on. */
#define SHARED_OFFSET(address) ((off_t)((uint64_t)(address)-SHARED_HEAP))

#define MOST_PROCESSES 4096
#define MOST_THREADS 65536
#define MOST_PARTS 16
#define JOURNAL 256

/* ---- processes ---- */

/* An address space: of a process, and of its children of vfork. */
struct rumpel_space {
	uint32_t id; /* as in struct rumpel_caller: never used again; 0: the keeper's */
	uint32_t users; /* processes; token held */
	uint64_t seen; /* of the journal */
	struct rumpel_space *next; /* all spaces */
	struct rumpel_range *ranges; /* of the kernel's mappings that are its own */
	uint64_t low,
		high; /* where pages of them are, at most: since it was last told of a flush */
	uint32_t wanted,
		acked, /* shoot.c: what it has been told, and has done; the latter a futex */
		excused; /* what nobody who has heard of it had to do at once */
};

enum process_state {
	PROCESS_FREE,
	PROCESS_TAKEN, /* by the process whose pid it says, for itself */
	PROCESS_FORKED, /* by the process whose pid it says, for a child that has not run yet */
	PROCESS_RUNS,
	PROCESS_GONE, /* its tasks are ending */
};

struct rumpel_process {
	/*
	 * State, which use of the slot it is, and pid: all that is said of a slot at once,
	 * since whoever has it may be killed between any two instructions.
	 */
	uint64_t word;
	struct rumpel_space *space;
	struct rumpel_process *parent; /* of one that was forked: its slot as it was */
	uint64_t parent_word;
	uint64_t given_up; /* when the keeper no longer waits for the child; 0: not asked yet */
	/* The thread that is alone allowed to run the kernel: in exec and exit. A futex. */
	uint32_t only;
	uint32_t threads; /* numbers that it has; before one is taken, so never too few */
	struct rumpel_task *first; /* of a child, until it runs; of an exec */
	uint32_t first_tid;
	int pidfd; /* the keeper's; 0: not yet */
};

#define NO_SPACE (~0u)
#define WORD_STATE 7ull
#define WORD_USE 0xfffffff8ull

static inline enum process_state process_state(const struct rumpel_process *process)
{
	return (enum process_state)(atomic_get(&process->word) & WORD_STATE);
}

static inline int process_pid(const struct rumpel_process *process)
{
	return (int)(atomic_get(&process->word) >> 32);
}

/* Why a kernel is lost. */
enum lost {
	LOST_NOT,
	LOST_KILLED, /* a process, in the middle of it */
	LOST_KEEPER, /* the keeper is gone */
	LOST_PANIC,
};

/* owner.c: of a file, by its inode's number. */
struct file_owner {
	uint64_t inode; /* 0: none */
	struct rumpel_owner owner;
	int fd; /* its number where that was said */
	uint32_t use; /* of the entry: the epoll may have files of earlier ones */
	uint32_t
		request; /* a futex: the keeper is to see to it, by pid 1's descriptor - 1; 0: done */
};

#define MOST_OWNERS 64

/* ---- the instance: at the beginning of the heap ---- */

/* A part of the image that is mapped from its file. */
struct part {
	char *start;
	size_t len;
	off_t offset;
	int prot;
};

/* Where an alias was taken away: who has it mapped has to take it away, too. */
struct journal_entry {
	char *start;
	size_t len;
};

struct rumpel_instance {
	unsigned long long magic;
	unsigned int version;
	int fds; /* the first of its descriptors */
	int notify; /* an eventfd: the keeper has to look at processes */
	int keeper; /* its pidfd */
	uint64_t looked; /* at that, by the CPU's counter */
	struct rumpel_kernel *kernel;
	char tasks[PAGE] __attribute__((aligned(64))); /* see struct rumpel_arena */
	struct part parts[MOST_PARTS];
	unsigned int part_count;
	struct file_owner owners[MOST_OWNERS];
	uint32_t next_owner;
	long owners_epoll; /* pid 1's descriptor + 1 */
	pthread_mutex_t owners_lock; /* the keeper's threads: who asks that epoll */
	struct rumpel_space *first_space;
	uint32_t shots, shots_done; /* shoot.c: what the keeper is asked, and has done; futexes */
	uint32_t slots; /* that were ever in use, from the first on */
	uint32_t spaces; /* so far */
	uint32_t lost; /* enum lost; the first who finds it says so */
	char why[128]; /* in words */
	uint32_t next_tid; /* a hint */
	uint64_t journal_end;
	struct journal_entry journal[JOURNAL];
	struct rumpel_process processes[MOST_PROCESSES]; /* the first is the keeper */
	uint16_t threads[MOST_THREADS]; /* whose it is: a process, and one; 0: free */
	/* bare/heap.c */
	pthread_mutex_t heap_lock;
	char *heap_end;
	void *heap_free[32];
};

#define instance ((struct rumpel_instance *)SHARED_HEAP)

/* Maps all that is there. 0 or -errno. */
int shared_map_heap(int fd);
int shared_map_kernel(int fds);
/* An address is a part of kernel's memory or image. */
bool shared_is_kernel(uint64_t address);

/* Token held: this process's mappings become what the kernel's are. */
void shared_replay(struct rumpel_space *space);
/* Takes mappings away here; others are to do so when they take the token over. */
int shared_hide(char *start, size_t len);
/* The same of all callers' mappings, here alone. Any time, also in handlers. */
void shared_hide_all(void);
/* A fault in the range for vmalloc: maps it, if it is to be mapped. */
bool shared_fault_in(uint64_t address, bool write);

/* ---- process.c ---- */

/* A slot's state changes, unless it is not as `seen` says any more. */
bool shared_process_change(struct rumpel_process *process, uint64_t seen, enum process_state state,
			   int pid);
/* One that is free is taken: state and pid as above. NULL: none is. */
struct rumpel_process *shared_process_take(enum process_state state, int pid);
/* It has not come to anything. Its word was `seen`. */
void shared_process_give(struct rumpel_process *process, uint64_t seen);
/* The calling thread is this process's first. */
void shared_become(struct rumpel_process *process);
/* The keeper has something to look at. */
void shared_notify(void);
int shared_attach(int fds);

/* ---- thread.c ---- */

uint32_t shared_tid_new(struct rumpel_process *process);
/* Token held. */
void shared_tid_free(uint32_t tid);
void shared_free_tids(struct rumpel_process *process, uint32_t but);
/* Whose the thread is; NULL: nobody's. */
struct rumpel_process *shared_tid_process(uint32_t tid);
/*
 * A task of `process`, made by another one, or by pid 1 (NULL): a thread, or a process that
 * has a copy of its descriptors.
 */
int shared_clone(struct rumpel_task *maker, unsigned long flags, struct rumpel_process *process,
		 struct rumpel_task **result);
int shared_thread_begin(struct rumpel_local *local);
void shared_thread_end(struct rumpel_local *local);

/* ---- fork.c, exec.c ---- */

int shared_fork_begin(unsigned int flags, uint64_t *child);
int shared_fork_child(uint64_t child);
void shared_fork_parent(uint64_t child, int pid);
int shared_exec_begin(void);
void shared_exec_failed(void);
int shared_attach_again(struct rumpel_process *process);
void shared_exit(void);

/* ---- space.c: token held ---- */

struct rumpel_space *shared_space_new(void);
void shared_space_put(struct rumpel_space *space);
/* 0 or -ENOMEM. */
int shared_range_add(struct rumpel_space *space, uint64_t start, uint64_t end);
int shared_range_remove(struct rumpel_space *space, uint64_t start, uint64_t end);
int shared_range_copy(const struct rumpel_space *from, struct rumpel_space *to);
bool shared_range_has(const struct rumpel_space *space, uint64_t address);
/* Token held. Has another space any of [start, end)? */
bool shared_range_is_others(const struct rumpel_space *space, uint64_t start, uint64_t end);

/* Token not held: by `task` or the agent (NULL). What nobody has any more in [start, end) is unmapped. */
long shared_unmap(struct rumpel_task *task, uint64_t start, uint64_t end);
/* [start, end) is the space's no longer: the last one that had a part of it unmaps that. */
long shared_let_go(struct rumpel_space *space, struct rumpel_task *task, uint64_t start,
		   uint64_t end);
/* The same of all that the space has, unless others use it, too: then it is put. */
void shared_space_leave(struct rumpel_space *space, struct rumpel_task *task);

/* ---- shoot.c ---- */

/* Token held: no other process touches what was mapped there, once it returns. */
void shared_shoot(uint64_t start, uint64_t end);
/* In a handler of SIGSYS or SIGBUS. False: it was somebody else's. */
bool shared_shot(const siginfo_t *info);
/* In the keeper. */
int shared_shoot_start(void);

/* ---- mappings.c ---- */

/* mmap, munmap and mremap of this thread. */
long shared_mappings_call(long nr, const unsigned long args[6]);

/* ---- alive.c ---- */

/* Has the thread's process died, or an exec ended it? */
bool shared_is_dead(uint32_t tid);
/* Asks the host, too. */
bool shared_has_died(uint32_t tid);
bool shared_is_over(int pidfd);
/* The kernel cannot be relied on any more: all get -ENOTRECOVERABLE. Token held or its holder dead. */
void shared_lost(enum lost why, int pid);
/* In words, why it is. */
const char *shared_reason(void);
/* Takes the token from a thread that is dead, and gives it up: the kernel may be lost. */
void shared_rob(uint32_t tid);

/* ---- call.c ---- */

long shared_call(long nr, const unsigned long args[6]);
/* The same, whatever it does to mappings. */
long shared_call_any(long nr, const unsigned long args[6]);
long shared_poll(long nr, const unsigned long args[6], struct pollfd *also, unsigned int count,
		 int *ready);
void shared_interrupt(struct rumpel_local *local);
long shared_give(int fd);
long shared_take(long number);
long shared_kill(long nr, const unsigned long args[6]);

/* ---- owner.c ---- */

int shared_get_owner(int fd, struct rumpel_owner *owner);
int shared_set_owner(int fd, const struct rumpel_owner *owner);
/* In the keeper: those that others have set. */
void shared_owners_serve(struct rumpel_kernel *kernel);

/* ---- fault.c ---- */

bool shared_fault(int signal, void *info, void *context);
bool shared_inside(const struct rumpel_local *local, uintptr_t ip, uintptr_t sp);
/* In the keeper. */
void shared_fault_install(void);

/* ---- reap.c, in the keeper ---- */

/* Watches the processes until `control` is at its end; listen: see options.h, or -1. */
void shared_reap(struct rumpel_kernel *kernel, int control, int listen);
/* keeper.c: all descriptors of the kernel's, with their numbers. */
int shared_send_descriptors(int socket);

#endif
