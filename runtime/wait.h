/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who waits in a kernel, and who runs it meanwhile:
 *
 *	wait.c     leader and followers: waiting with the token free
 *	wake.c     descriptors that wake them
 *	visit.c    threads that run their neighbours' kernels, too
 *	housekeeper.c  runs a kernel whose callers are elsewhere
 *
 * Part of core.h, which includes it.
 */
#ifndef RUMPEL_RUNTIME_WAIT_H
#define RUMPEL_RUNTIME_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct rumpel_kernel;
struct rumpel_task;
struct pollfd;

/* ---- who waits ---- */

#define MOST_ALSO 16

/* A thread that waits in this kernel. */
struct rumpel_waiter {
	uint32_t word; /* futex of a follower: 1 once there is something for it */
	struct rumpel_task *task; /* whose call; NULL: any asynchronous one */
	struct pollfd *also; /* descriptors to wait for, too; or NULL */
	unsigned int also_count; /* up to MOST_ALSO */
	int wake_fd; /* of a follower that has some: see wake.c */
	uint64_t until; /* on a virtual clock, where there is no task: NEVER or the end */
	bool follows; /* on the list of followers */
	struct rumpel_waiter *next;
};

enum sleep_mode {
	SLEEP_NOT,
	SLEEP_SPIN, /* not yet: looks at kernel->kick */
	SLEEP_FUTEX, /* on kernel->kick */
	SLEEP_POLL, /* in ppoll, with kernel->eventfd */
};

/* Whether a leader looks for a kick before it sleeps: hints, by whoever leads. */
struct rumpel_spin {
	int kicker_cpu; /* where the last kick came from */
	bool near; /* it came soon, and from another CPU */
	uint8_t misses; /* in a row */
	uint16_t rest; /* sleeps until it is tried again */
	uint64_t woken; /* when the last sleep ended; of one that polls, by whoever leads */
	bool housekeeper; /* leads: it need not be what runs */
};

/* ---- visit.c ---- */

#define MOST_VISITS 8

/* Neighbours that something was sent to, each counted among its visitors. */
struct rumpel_visits {
	unsigned int count;
	unsigned int rounds; /* of the kernel that has noted them, since the first one was */
	struct rumpel_kernel *at[MOST_VISITS];
};

/* ---- housekeeper.c ---- */

enum housekeeper_state {
	HOUSEKEEPER_NONE,
	HOUSEKEEPER_NAPS, /* looks after the kernel every millisecond */
	HOUSEKEEPER_LEADS, /* is the leader, or about to be */
	HOUSEKEEPER_RESTS, /* callers lead all the time */
	HOUSEKEEPER_ABSENT, /* did not come along in a fork: to be made when needed */
};

struct rumpel_housekeeper {
	pthread_t thread;
	uint32_t state; /* enum housekeeper_state; changed by the holder of the token */
	uint32_t word; /* futex: changes when it is called */
	uint64_t looks; /* when it looks next, if it naps; else 0 */
	bool overdue; /* it found the token taken: a hint to the holder to look */
	bool stop;
	struct rumpel_waiter waiter;
};

/* ---- wake.c ---- */

#define MOST_WAKES 32

struct rumpel_wake {
	int fd; /* an eventfd; -1: not yet */
	uint32_t owner; /* a thread, or 0 */
};

/* ---- wait.c ---- */

/*
 * Takes over the token, gives it back. limit: a time on the host's clock or
 * NEVER. 1: the waiter has what it waits for; 0: time is over; -EINTR;
 * -EDEADLK; or the kernel's error.
 */
int rumpel_wait(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit);
bool rumpel_waiter_ready(const struct rumpel_kernel *kernel, const struct rumpel_waiter *waiter);
/*
 * Gives the token back, and sees to it that somebody goes on with what is left.
 * back_soon: this thread is about to wait and will do the jobs itself.
 */
void rumpel_leave(struct rumpel_kernel *kernel, bool back_soon);
/*
 * The same for whoever visits the neighbours himself: they are added to `visits`. And it
 * is no call, from which a housekeeper would see that there are callers.
 */
void rumpel_leave_to(struct rumpel_kernel *kernel, bool back_soon, struct rumpel_visits *visits);
/* The same for a thread that nobody may keep: the neighbours are woken. */
void rumpel_leave_at_once(struct rumpel_kernel *kernel, bool back_soon);
/* Any thread: there is work. Wakes who leads, or who would. */
void rumpel_rouse(struct rumpel_kernel *kernel);
/* Any thread: the call of this waiter has ended, no token is needed for its result. */
bool rumpel_has_ended(const struct rumpel_waiter *waiter);
/* Any thread: wakes the leader. */
void rumpel_kick(struct rumpel_kernel *kernel);
/*
 * Token held: sleeps, with the token free, until there is something for a
 * leader. 0; -EINTR; 1: the waiter's call has ended, and the token is not held.
 */
int rumpel_lead_sleep(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit);
/* Token held: all who wait, since the kernel has ended. */
void rumpel_wake_all(struct rumpel_kernel *kernel);
/* Token held: its thread is gone, or will not go on before it is woken. */
void rumpel_waiter_forget(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter);
/* Token held: the call of this waiter has ended. */
void rumpel_wake(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter);

/* ---- visit.c ---- */

/* It is up, and may be visited; it is about to go, and there are no visitors any more. */
void rumpel_visits_begin(struct rumpel_kernel *kernel);
void rumpel_visits_end(struct rumpel_kernel *kernel);
/* In the child of a fork. */
void rumpel_visits_forked(struct rumpel_kernel *kernel);
/*
 * Holder of the token of `by`, and of what keeps `kernel` from being freed. False: it
 * cannot be visited, and has to be woken.
 */
bool rumpel_visit_later(struct rumpel_kernel *by, struct rumpel_kernel *kernel);
/* Token held: moves the neighbours to `visits`. */
void rumpel_visits_take(struct rumpel_kernel *kernel, struct rumpel_visits *visits);
/* Wakes them instead. */
void rumpel_visits_hand_over(struct rumpel_visits *visits);
/*
 * No token of theirs held: runs them, for about `spell` ns, and as long as the call of
 * `waiter` (may be NULL) is in progress. Wakes those that are left.
 */
void rumpel_visit(struct rumpel_visits *visits, const struct rumpel_waiter *waiter, uint64_t spell);

/* ---- housekeeper.c ---- */

int rumpel_housekeeper_start(struct rumpel_kernel *kernel);
void rumpel_housekeeper_stop(struct rumpel_kernel *kernel);
/* Any thread: there is work and nobody who leads. */
void rumpel_housekeeper_call(struct rumpel_kernel *kernel);
/* Token held: has it to be called? */
bool rumpel_housekeeper_rests(struct rumpel_kernel *kernel);
/* In the child of a fork. */
void rumpel_housekeeper_forked(struct rumpel_kernel *kernel);

/* ---- wake.c ---- */

/* Makes an eventfd, unless there is one. 0 or -errno. */
int rumpel_eventfd_open(int *fd);
void rumpel_eventfd_signal(int fd);
/* One for a thread that is about to poll, for whoever has a word for it alone. Or -errno. */
int rumpel_wake_fd_take(struct rumpel_kernel *kernel);
/* signalled: it was found to be readable. fd may be -1. */
void rumpel_wake_fd_give(struct rumpel_kernel *kernel, int fd, bool signalled);

#endif
