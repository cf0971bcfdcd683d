/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A kernel and its processes, as the shared memory has them.
 *
 *	table.c    the functions of rumpel/shared.h
 *	instance.c addresses, and what a process maps of them
 *	arena.c    image and guest memory, aliases and who has yet to hear of them
 *	process.c  processes and their threads: attach, fork, exec, exit
 *	call.c     system calls
 *	fault.c    faults of kernel code
 *	keeper.c   the process that boots the kernel; options.h is what it is told
 *	reap.c     the ends of processes
 */
#ifndef RUMPEL_RUNTIME_SHARED_INSTANCE_H
#define RUMPEL_RUNTIME_SHARED_INSTANCE_H

#include "../core.h"

/* ---- addresses ---- */

#define SHARED_HEAP (RUMPEL_SHARED_TEXT + (16ull << 20))
#define SHARED_IMAGE (RUMPEL_SHARED_TEXT + (512ull << 20))
#define SHARED_MEMORY (RUMPEL_SHARED_TEXT + (1ull << 30))
#define SHARED_VMALLOC (RUMPEL_SHARED_TEXT + (2ull << 40))
#define SHARED_MAPPINGS (SHARED_VMALLOC + (64ull << 30))
#define SHARED_VMALLOC_SIZE (4ull << 30)
#define SHARED_MAPPINGS_SIZE (16ull << 30)
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
};

enum process_state {
	PROCESS_FREE,
	PROCESS_TAKEN, /* it is being made */
	PROCESS_RUNS,
	PROCESS_GONE, /* its tasks are ending */
};

struct rumpel_process {
	uint32_t state; /* enum process_state */
	int pid; /* 0: not known yet */
	struct rumpel_space *space;
	struct rumpel_process *parent; /* that is about to fork it */
	/* The thread that is alone allowed to run the kernel: in exec and exit. A futex. */
	uint32_t only;
	struct rumpel_task *first; /* of a child, until it runs; of an exec */
	uint32_t first_tid;
	int pidfd; /* the keeper's; -1: not yet */
};

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
	struct part parts[MOST_PARTS];
	unsigned int part_count;
	uint32_t agent_user; /* whose call it has, or had: a thread */
	uint32_t spaces; /* so far */
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
/* Takes mappings away, here and elsewhere. */
int shared_hide(char *start, size_t len);
/* A fault in the range for vmalloc: maps it, if it is to be mapped. */
bool shared_fault_in(uint64_t address, bool write);

/* ---- process.c ---- */

uint32_t shared_tid_new(struct rumpel_process *process);
/* Token held. */
void shared_tid_free(uint32_t tid);
void shared_free_tids(struct rumpel_process *process, uint32_t but);
/* Whose the thread is; NULL: nobody's. */
struct rumpel_process *shared_tid_process(uint32_t tid);
long shared_agent_call(long nr, const unsigned long args[6]);
struct rumpel_space *shared_space_new(void);
/* Token held. */
void shared_space_put(struct rumpel_space *space);
/* The keeper has something to look at. */
void shared_notify(void);
/* The kernel cannot be relied on any more: all get -ENOTRECOVERABLE. Token held or its holder dead. */
void shared_lost(void);
/* Has the thread's process died? */
bool shared_is_dead(uint32_t tid);
/* Asks the host, too. */
bool shared_has_died(uint32_t tid);
bool shared_is_over(int pidfd);
/* Takes the token from a thread that is dead, and gives it up: the kernel is lost. */
void shared_rob(uint32_t tid);

int shared_attach(int fds);
int shared_thread_begin(struct rumpel_local *local);
void shared_thread_end(struct rumpel_local *local);
int shared_fork_begin(unsigned int flags, struct rumpel_process **child);
int shared_fork_child(struct rumpel_process *child);
void shared_fork_parent(struct rumpel_process *child, int pid);
int shared_exec_begin(void);
void shared_exec_failed(void);
void shared_exit(void);

/* ---- call.c ---- */

long shared_call(long nr, const unsigned long args[6]);
long shared_poll(long nr, const unsigned long args[6], struct pollfd *also, unsigned int count,
		 int *ready);
void shared_interrupt(struct rumpel_local *local);
long shared_give(int fd);
long shared_take(long number);
long shared_kill(long nr, const unsigned long args[6]);

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
