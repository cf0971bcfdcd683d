/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The inside of librumpel: one struct for all that belongs to a kernel, and
 * what the files of this directory offer each other.
 *
 *	arena.h    where it lies: arena.c pages.c mappings.c image.c
 *	token.c    who may run the kernel
 *	thread.c   threads that do
 *	platform.h what is otherwise in a kernel that processes share (shared/)
 *	vcpu.c     runs it: enter() and what it comes back with
 *	wait.h     who waits, and who runs it meanwhile: wait.c wake.c visit.c housekeeper.c
 *	virtual.c  virtual clocks, and waiting on them
 *	clock.c    time of the host, timers
 *	cycles.c   the same by the CPU's cycle counter
 *	task.c     tasks and their calls
 *	async.c    asynchronous calls that have ended
 *	jobs.c     work of devices that blocks
 *	device.c   slots, interrupts, watches
 *	plug.c     devices come and go
 *	fault.c    faults of kernel code
 *	log.c      what the kernel prints
 *	valgrind.c the stacks valgrind has to know of
 *	fork.c     what a fork of the process does to kernels
 *	boot.c halt.c  the ends of its life; setup.c: what every program expects to find;
 *		   volumes.c: what is made of disks
 *	snapshot.h snapshot_save.c snapshot_load.c  a kernel that has booted, in a file
 *
 * Unless a line says otherwise, everything in struct rumpel_kernel belongs to
 * the holder of the token.
 */
#ifndef RUMPEL_RUNTIME_CORE_H
#define RUMPEL_RUNTIME_CORE_H

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "kernel.h"
#include "platform.h"
#include "wait.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define atomic_get(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define atomic_set(p, value) __atomic_store_n(p, value, __ATOMIC_SEQ_CST)
/* Of what is only a hint, or is looked at again. */
#define relaxed_get(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define relaxed_set(p, value) __atomic_store_n(p, value, __ATOMIC_RELAXED)

#define NS_PER_SEC 1000000000ll
#define NEVER RUMPEL_NO_DEADLINE

/* ---- log.c: a ring of whole lines; its own lock ---- */

#define LOG_SIZE (1u << 20)

struct rumpel_log {
	pthread_mutex_t lock;
	char *ring;
	uint64_t end; /* bytes ever written */
	uint32_t word; /* futex: changes with every write */
	uint32_t waiters;
	uint32_t wakes; /* changes when they shall return, though there is nothing */
	int fd; /* also written to; or -1 */
	uint64_t copied; /* so far, to fd */
};

int rumpel_log_init(struct rumpel_log *log, int fd);
void rumpel_log_exit(struct rumpel_log *log);
void rumpel_log_append(struct rumpel_log *log, const char *text, size_t len);
/* On a host stack: writes what is new to the descriptor. */
void rumpel_log_copy(struct rumpel_log *log);

/* ---- task.c ---- */

enum task_state {
	TASK_READY, /* no call */
	TASK_BUSY, /* a call is in progress */
	TASK_DONE, /* it has ended, its result waits */
	TASK_EXITED,
};

struct rumpel_task {
	struct rumpel_caller caller; /* first */
	struct rumpel_kernel *kernel;
	uint32_t state; /* enum task_state; DONE is set last, and may be seen by anyone */
	bool async; /* its end is reported by rumpel_run */
	bool reported; /* on the list of ended calls */
	bool ends; /* its process is gone, and it has been told to go, too (shared/) */
	int id;
	void *data; /* the user's */
	pthread_t thread; /* of a call in progress: who waits for it, or made it */
	struct rumpel_waiter *waiter; /* waiting, while it does */
	struct rumpel_waiter waiting;
	struct rumpel_task *next, **link; /* all tasks of the kernel */
	struct rumpel_task *next_done;
	struct rumpel_task *next_pager;
};

/* ---- jobs.c: its own lock ---- */

#define JOBS_WORKERS 4

struct rumpel_jobs {
	pthread_mutex_t lock;
	pthread_cond_t more, gone;
	struct rumpel_job *head, **tail;
	uint32_t queued; /* atomic */
	unsigned int workers, idle;
	bool stop;
};

/* ---- cycles.c ---- */

struct rumpel_cycles {
	uint64_t first_cycles, first_ns; /* of the measurement of cycle_mult */
	int steady; /* does it count at one rate? 1 or -1, once that is known */
};

/* ---- lockup.c ---- */

struct rumpel_lockup {
	uint64_t since, seen; /* the spin's start, and the last look at it */
	uint64_t limit; /* ns */
};

/* ---- a kernel ---- */

enum rumpel_where {
	WHERE_HOST,
	WHERE_KERNEL, /* in kernel code, or about to be */
	WHERE_LEFT, /* out of it, for a reason that has not been seen to */
};

struct rumpel_kernel {
	uint32_t token; /* see token.c */
	uint32_t runner; /* whose token it is, or was last */
	bool runnable; /* a task could run now */
	bool halting; /* no more calls but from halt.c */
	bool forking; /* a fork has the token */
	bool copied; /* that fork copies the kernel */
	uint32_t state; /* enum rumpel_state; any thread may look */
	uint32_t where; /* enum rumpel_where: what a holder of the token that dies leaves behind */
	bool progress; /* a call has ended or a device said something: see lockup.c */
	struct rumpel_vcpu *vcpu;
	unsigned int (*enter)(void);
	uint64_t calls;

	struct rumpel_waiter *leader;
	struct rumpel_waiter *followers;
	uint32_t kick; /* futex of the leader: changes with every kick */
	uint32_t asleep; /* enum sleep_mode; any thread may look */
	uint64_t sleep_until; /* of the leader */
	struct rumpel_spin spin;
	struct rumpel_spin look; /* the same of a leader that polls */
	struct rumpel_visits neighbours; /* to be visited by who gives the token back */
	uint64_t visit_until; /* whoever runs it is a visitor, for so long; else 0 */
	uint32_t visitors; /* atomic: threads that have noted it */
	bool visitable; /* atomic */
	int eventfd; /* wakes whoever leads, if he polls; -1 until there is a watch */
	int leader_fd; /* wakes the thread that leads, while it polls; or -1 */
	struct rumpel_wake wakes[MOST_WAKES];
	uint64_t polled_at;
	uint64_t booted_at; /* on its clock */
	struct rumpel_lockup lockup;

	struct rumpel_task *tasks;
	struct rumpel_task *done, **done_tail; /* asynchronous calls that have ended */
	int done_fd; /* an eventfd for whoever polls for them; -1 until it is asked for */
	bool done_signalled;
	struct rumpel_task *init;
	struct rumpel_task *pagers; /* that serve no fault now; mappings.c */
	struct rumpel_task *agent; /* a thread of pid 1: makes tasks, halts */
	pthread_mutex_t agent_lock;

	struct rumpel_device *devices[RUMPEL_MAX_DEVICES];
	unsigned int device_count;
	uint64_t mmio; /* guest physical address of slot 0 */
	struct rumpel_watch *watches;
	unsigned int looks; /* in a row that found something, without a look at descriptors */
	struct rumpel_timer *timers;

	struct rumpel_clock *clock; /* NULL: the host's */
	struct rumpel_cycles cycles;
	uint64_t ahead; /* of the host's clock: of a kernel that comes from a snapshot */
	struct rumpel_kernel *clock_next; /* the next one on the same clock */
	uint64_t clock_order;

	const struct rumpel_image *image;
	struct rumpel_arena arena;
	struct rumpel_mappings *mappings;
	struct rumpel_log log;
	struct rumpel_jobs jobs;
	struct rumpel_housekeeper housekeeper;
	struct rumpel_fault_range *range;
	struct rumpel_kernel *fork_next; /* all of the process; fork.c */
};

/* The error that new calls of a kernel in this state return, or 0. */
int rumpel_kernel_error(const struct rumpel_kernel *kernel);
/*
 * The same for calls in progress: that a halt has begun does not end them,
 * they use their callers' memory until they have ended.
 */
int rumpel_kernel_end(const struct rumpel_kernel *kernel);

/* ---- token.c ---- */

#define TOKEN_WAITED 0x80000000u /* threads sleep until it is free */
#define TOKEN_WANTED 0x40000000u /* one has looked for it for some time */

/* Gives this thread a number: rumpel_tid. */
void rumpel_thread_init(void);
void rumpel_token_take_slowly(struct rumpel_kernel *kernel);
/* False: it could not be had before `limit`, or this thread has it. */
bool rumpel_token_take_until(struct rumpel_kernel *kernel, uint64_t limit);
/* Token given, with these bits set. */
void rumpel_token_pass(struct rumpel_kernel *kernel, uint32_t bits);
/* Token held, as it was by another thread before. */
void rumpel_token_moved(struct rumpel_kernel *kernel);

static inline bool rumpel_token_try(struct rumpel_kernel *kernel)
{
	uint32_t free = 0;

	if (unlikely(!rumpel_tid))
		rumpel_thread_init();
	if (!__atomic_compare_exchange_n(&kernel->token, &free, rumpel_tid, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return false;
	if (unlikely(kernel->runner != rumpel_tid))
		rumpel_token_moved(kernel);
	return true;
}

/* Its number, or 0. */
static inline uint32_t rumpel_token_holder(const struct rumpel_kernel *kernel)
{
	return atomic_get(&kernel->token) & ~(TOKEN_WAITED | TOKEN_WANTED);
}

static inline bool rumpel_token_is_mine(const struct rumpel_kernel *kernel)
{
	return rumpel_tid && rumpel_token_holder(kernel) == rumpel_tid;
}

static inline void rumpel_token_take(struct rumpel_kernel *kernel)
{
	if (unlikely(!rumpel_token_try(kernel)))
		rumpel_token_take_slowly(kernel);
}

/* 0, or -EDEADLK: it is this thread's already, which the kernel has called. */
static inline int rumpel_token_enter(struct rumpel_kernel *kernel)
{
	if (likely(rumpel_token_try(kernel)))
		return 0;
	return rumpel_token_take_until(kernel, NEVER) ? 0 : -EDEADLK;
}

static inline void rumpel_token_give(struct rumpel_kernel *kernel)
{
	uint32_t bits = __atomic_exchange_n(&kernel->token, 0, __ATOMIC_SEQ_CST) &
			(TOKEN_WAITED | TOKEN_WANTED);

	if (unlikely(bits))
		rumpel_token_pass(kernel, bits);
}

/* ---- vcpu.c: token held ---- */

/* Lends the thread to the kernel: enum rumpel_exit, for rumpel_vcpu_handle(). */
static inline unsigned int rumpel_enter(struct rumpel_kernel *kernel)
{
	relaxed_set(&kernel->where, WHERE_KERNEL);
	return kernel->enter();
}

/* Runs what can run, until `until` (may be NULL) is no longer busy or nothing is left. */
void rumpel_vcpu_run(struct rumpel_kernel *kernel, const struct rumpel_task *until);
/* The kernel has just come back to the host: goes on as rumpel_vcpu_run. */
void rumpel_vcpu_handle(struct rumpel_kernel *kernel, unsigned int exit,
			const struct rumpel_task *until);
/* Interrupts, timers and tasks that wait for enter(). */
bool rumpel_vcpu_has_work(struct rumpel_kernel *kernel);

/* ---- lockup.c: token held ---- */

void rumpel_lockup_init(struct rumpel_kernel *kernel);
/* Kernel code spins, and has it leave if that has been going on for too long. */
void rumpel_lockup_look(struct rumpel_kernel *kernel);
/* It has: the log says so. */
bool rumpel_lockup_found(struct rumpel_kernel *kernel);

/* ---- cycles.c: token held ---- */

/* Now as the kernel counts, at most 100 ns late, and never earlier than before. */
uint64_t rumpel_cycles_now(struct rumpel_kernel *kernel);
/* The same by asking the host: sets the vcpu's cycle_ variables. */
uint64_t rumpel_cycles_look(struct rumpel_kernel *kernel);

/* ---- clock.c, virtual.c ---- */

struct rumpel_clock {
	uint64_t now, start, epoch; /* ns */
	pthread_mutex_t lock; /* who drives the kernels of this clock */
	struct rumpel_kernel *kernels; /* in the order in which they booted */
	uint64_t booted; /* so far */
	uint32_t holder; /* of the lock, if it drives them: a thread's number */
	bool forking; /* a fork has the lock */
};

uint64_t rumpel_host_now(void);
/* `timeout` from now, or NEVER if it is negative. */
uint64_t rumpel_host_limit(int64_t timeout_ns);
/* When the kernel has to be looked at: its own timer or one of its devices'. The host's clock. */
uint64_t rumpel_next_deadline(const struct rumpel_kernel *kernel);
/* Token held: fires timers and the timer interrupt that are due. */
void rumpel_expire(struct rumpel_kernel *kernel);
void rumpel_clock_join(struct rumpel_clock *clock, struct rumpel_kernel *kernel);
void rumpel_clock_leave(struct rumpel_kernel *kernel);
int rumpel_virtual_wait(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit);
void rumpel_clock_ops(struct host_ops *ops);

/* ---- plug.c: token held, or the kernel is not up ---- */

/* Into a free slot: -ENOSPC, -EBUSY (it has a kernel), or what its attach() says. */
int rumpel_device_attach(struct rumpel_kernel *kernel, struct rumpel_device *device);
/* Out of it, and then, without the token, until nobody uses it any more. */
void rumpel_device_detach(struct rumpel_device *device);
void rumpel_device_finish(struct rumpel_device *device);

/* ---- device.c: token held ---- */

/* Descriptors that one kernel's devices may watch. */
#define MOST_WATCHES (3 * RUMPEL_MAX_DEVICES + 1)

void rumpel_devices_serve(struct rumpel_kernel *kernel);
bool rumpel_is_watched(const struct rumpel_kernel *kernel, const struct rumpel_watch *watch);
/* Calls ready() for descriptors that are ready now, and look(). */
void rumpel_watches_poll(struct rumpel_kernel *kernel);
/* Calls look() only. True: there was something. */
bool rumpel_watches_look(struct rumpel_kernel *kernel);
void rumpel_device_ops(struct host_ops *ops);
void rumpel_devices_detach(struct rumpel_kernel *kernel);

/* ---- jobs.c ---- */

void rumpel_jobs_init(struct rumpel_jobs *jobs);
void rumpel_jobs_exit(struct rumpel_jobs *jobs);
/* Locked, in the child of a fork: no workers, no jobs. Unlocks. */
void rumpel_jobs_forked(struct rumpel_jobs *jobs);
/* Takes one off, to be run in this thread without the token; or NULL. */
struct rumpel_job *rumpel_jobs_take(struct rumpel_jobs *jobs);
/* Nobody here has time: lets a worker do them. */
void rumpel_jobs_delegate(struct rumpel_jobs *jobs);

/* ---- task.c ---- */

/* As rumpel_task_wait; 0 also when one of these descriptors is ready. */
int rumpel_task_wait_also(struct rumpel_task *task, int64_t timeout_ns, struct pollfd *also,
			  unsigned int count, long *result);
struct rumpel_task *rumpel_task_new(struct rumpel_kernel *kernel);
void rumpel_task_delete(struct rumpel_task *task);
/* Token held: it is on the kernel's list from now on. */
void rumpel_task_link(struct rumpel_task *task);
/* Token held: the kernel reports the end of a call or of a task. */
void rumpel_task_ended(struct rumpel_kernel *kernel, struct rumpel_caller *caller);
/* Token held: nobody wants the result of its call. */
void rumpel_task_forget(struct rumpel_task *task);
/* Submits and waits for ever, also while the kernel is being halted. */
long rumpel_task_call(struct rumpel_task *task, long nr, const unsigned long args[6]);
#define task_call(task, nr, ...) rumpel_task_call(task, nr, (const unsigned long[6]){ __VA_ARGS__ })

/*
 * The agent is for one call at a time, from any thread: taken and given back, or for one
 * call alone.
 */
void rumpel_agent_take(struct rumpel_kernel *kernel);
void rumpel_agent_give(struct rumpel_kernel *kernel);
long rumpel_agent_call(struct rumpel_kernel *kernel, long nr, const unsigned long args[6]);

/* ---- halt.c, volumes.c: without the token ---- */

/* All of a file of the kernel, as a string that is to be freed, or NULL; its length. */
size_t rumpel_read_file(struct rumpel_task *task, const char *path, char **content);
/* Of all that nobody uses: mappings and arrays, whose superblocks say that they are clean. */
void rumpel_volumes_stop(struct rumpel_task *agent);

/* ---- async.c: token held ---- */

/* The call of this task has ended: adds it to the list, and tells somebody. */
void rumpel_done_add(struct rumpel_kernel *kernel, struct rumpel_task *task);
void rumpel_done_remove(struct rumpel_kernel *kernel, struct rumpel_task *task);
/* Has one ended, of this kernel or another one on its virtual clock? */
bool rumpel_done_any(const struct rumpel_kernel *kernel);
/* Makes done_fd readable, if there is one. */
void rumpel_done_signal(struct rumpel_kernel *kernel);
/* ---- fault.c ---- */

int rumpel_fault_add(struct rumpel_kernel *kernel);
void rumpel_fault_remove(struct rumpel_kernel *kernel);
/* Waits for touches of mappings that are being served: there will be no more. */
void rumpel_fault_drain(struct rumpel_kernel *kernel);
void rumpel_fault_forked(void);
/* Gives this thread a stack for fault handlers. */
void rumpel_fault_thread_init(void);

/* ---- valgrind.c ---- */

/* A new kernel's memory holds stacks. */
void rumpel_valgrind_announce(const struct rumpel_arena *arena);
bool rumpel_valgrind_runs(void);
/* It is about to go. */
void rumpel_valgrind_forget(const struct rumpel_arena *arena);

/* ---- boot.c ---- */

/* The image is in place: it gets to know the host, and the host what to call. */
void rumpel_kernel_connect(struct rumpel_kernel *kernel);

/* ---- setup.c: without the token ---- */

/* A kernel that has just booted becomes what programs expect; its agent is there. */
int rumpel_kernel_setup(struct rumpel_kernel *kernel);
/* Random numbers differ from here on from those of others that were the same. */
void rumpel_kernel_reseed(struct rumpel_task *agent);
/* A file of a device, also where /dev is not. */
long rumpel_open_device(struct rumpel_task *agent, const char *path, int major, int minor);

/* ---- fork.c ---- */

/* Once for the process, before the first kernel runs. */
void rumpel_fork_init(void);
void rumpel_fork_add(struct rumpel_kernel *kernel);
void rumpel_fork_remove(struct rumpel_kernel *kernel);

/* ---- futex ---- */

/* Waits while *word == value, until `limit` on the host's clock. 0 or -errno. */
int rumpel_futex_wait(uint32_t *word, uint32_t value, uint64_t limit);
void rumpel_futex_wake(uint32_t *word, int count);

#endif
