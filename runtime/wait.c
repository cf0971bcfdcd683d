// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting, always on a host stack and with the token free.
 *
 * One of the waiting threads is the leader: it sleeps until an interrupt, a
 * descriptor, a timer or somebody's word (a kick), and runs the kernel then.
 * The others, the followers, sleep until their call has ended, which may happen
 * in any thread that runs the kernel, or until they become the leader.
 */
#include "core.h"

#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#define SPIN (50 * 1000)
/* A wait that spinning might have ended, had it begun while the other was awake. */
#define NEAR (200 * 1000)
#define MOST_MISSES 8
/* Looks that found something before descriptors are asked. */
#define MOST_LOOKS 8
/* What one message takes between two waits, at most. */
#define SHORT (25 * 1000)
/* How long a thread that has its result runs its neighbours: as long as it takes to wake them. */
#define VISIT (100 * 1000)
/* The same for a leader, before it looks after its own kernel again. */
#define VISIT_OF_LEADER (200 * 1000)

bool rumpel_waiter_ready(const struct rumpel_kernel *kernel, const struct rumpel_waiter *waiter)
{
	if (!waiter->task)
		return rumpel_done_any(kernel);
	return __atomic_load_n(&waiter->task->state, __ATOMIC_ACQUIRE) != TASK_BUSY;
}

void rumpel_kick(struct rumpel_kernel *kernel)
{
	uint32_t mode;

	relaxed_set(&kernel->spin.kicker_cpu, sched_getcpu());
	/* In this order: a leader that comes in between sees the other, and does not sleep. */
	mode = __atomic_exchange_n(&kernel->asleep, SLEEP_NOT, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&kernel->kick, 1, __ATOMIC_SEQ_CST);
	switch (mode) {
	case SLEEP_FUTEX:
		/* A housekeeper that led before may sleep there too. */
		rumpel_futex_wake(&kernel->kick, INT_MAX);
		break;
	case SLEEP_POLL:
		rumpel_eventfd_signal(kernel->eventfd);
		break;
	}
}

static void unfollow(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	struct rumpel_waiter **at = &kernel->followers;

	while (*at && *at != waiter)
		at = &(*at)->next;
	if (*at)
		*at = waiter->next;
	waiter->follows = false;
}

static void follow(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	struct rumpel_waiter **at = &kernel->followers;

	while (*at)
		at = &(*at)->next;
	/* On the list last: in a shared kernel whoever does this may be killed at any point. */
	waiter->next = NULL;
	waiter->word = 0;
	waiter->follows = true;
	__atomic_store_n(at, waiter, __ATOMIC_RELEASE);
}

/* After this the waiter may be gone. */
static void wake_follower(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	unfollow(kernel, waiter);
	if (waiter->also)
		rumpel_eventfd_signal(waiter->wake_fd);
	atomic_set(&waiter->word, 1);
	rumpel_futex_wake(&waiter->word, 1);
}

/*
 * A leader that polls, and is none any more: not through the descriptor that the
 * next one looks at, too, and empties.
 */
static void wake_leader(struct rumpel_kernel *kernel)
{
	atomic_set(&kernel->asleep, SLEEP_NOT);
	rumpel_eventfd_signal(kernel->leader_fd);
	kernel->leader_fd = -1;
}

void rumpel_wake(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	if (waiter == kernel->leader) {
		kernel->leader = NULL;
		if (kernel->leader_fd >= 0)
			wake_leader(kernel);
		else if (atomic_get(&kernel->asleep))
			rumpel_kick(kernel);
	} else if (waiter->follows) {
		wake_follower(kernel, waiter);
	}
}

void rumpel_waiter_forget(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	if (waiter->follows)
		unfollow(kernel, waiter);
	if (kernel->leader != waiter)
		return;
	kernel->leader = NULL;
	kernel->leader_fd = -1;
	atomic_set(&kernel->asleep, SLEEP_NOT);
}

void rumpel_wake_all(struct rumpel_kernel *kernel)
{
	while (kernel->followers)
		wake_follower(kernel, kernel->followers);
	rumpel_done_signal(kernel);
	rumpel_kick(kernel);
}

/* Another thread has changed what the leader ought to poll for. */
static bool watches_changed(const struct rumpel_kernel *kernel)
{
	for (const struct rumpel_watch *watch = kernel->watches; watch; watch = watch->next)
		if (watch->events != watch->polled)
			return true;
	return false;
}

/* The housekeeper will look before that. */
static bool is_looked_after(const struct rumpel_kernel *kernel, uint64_t deadline)
{
	return kernel->housekeeper.looks && kernel->housekeeper.looks <= deadline;
}

static bool leader_is_late(struct rumpel_kernel *kernel)
{
	uint64_t deadline = rumpel_next_deadline(kernel);

	return atomic_get(&kernel->asleep) &&
	       (rumpel_vcpu_has_work(kernel) || watches_changed(kernel) ||
		(deadline < kernel->sleep_until && !is_looked_after(kernel, deadline)));
}

/* Nobody leads, or not any more: somebody who waits anyway takes over. */
static void appoint(struct rumpel_kernel *kernel)
{
	struct rumpel_waiter *waiter = kernel->followers;

	if (waiter) {
		kernel->leader = waiter;
		wake_follower(kernel, waiter);
	}
}

void rumpel_rouse(struct rumpel_kernel *kernel)
{
	if (atomic_get(&kernel->asleep))
		rumpel_kick(kernel);
	else
		rumpel_housekeeper_call(kernel);
}

void rumpel_leave_to(struct rumpel_kernel *kernel, bool back_soon, struct rumpel_visits *visits)
{
	bool call = false;

	if (unlikely(relaxed_get(&kernel->vcpu->notified)))
		rumpel_devices_serve(kernel);
	if (unlikely(kernel->neighbours.count))
		rumpel_visits_take(kernel, visits);
	if (kernel->leader)
		call = leader_is_late(kernel);
	else if (kernel->followers)
		appoint(kernel);
	else
		call = kernel->housekeeper.state >= HOUSEKEEPER_RESTS &&
		       rumpel_housekeeper_rests(kernel);
	if (unlikely(atomic_get(&kernel->jobs.queued)) && !back_soon)
		rumpel_jobs_delegate(&kernel->jobs);
	rumpel_token_give(kernel);
	/* What came while the token was held is this thread's affair. */
	if (unlikely(call || atomic_get(&kernel->vcpu->pending) ||
		     atomic_get(&kernel->vcpu->notified)))
		rumpel_rouse(kernel);
}

static inline void leave(struct rumpel_kernel *kernel, bool back_soon, uint64_t spell)
{
	struct rumpel_visits visits;

	visits.count = 0;
	if (unlikely(++kernel->calls % 64 == 0 || relaxed_get(&kernel->housekeeper.overdue)) &&
	    !kernel->clock)
		rumpel_expire(kernel);
	rumpel_leave_to(kernel, back_soon, &visits);
	if (unlikely(visits.count))
		rumpel_visit(&visits, NULL, spell);
}

void rumpel_leave(struct rumpel_kernel *kernel, bool back_soon)
{
	leave(kernel, back_soon, VISIT);
}

void rumpel_leave_at_once(struct rumpel_kernel *kernel, bool back_soon)
{
	leave(kernel, back_soon, 0);
}

/*
 * A thread that is woken on another CPU runs some 20 us later, far longer than
 * most calls take. So a leader whose last wait was short, and ended from another
 * CPU, looks for the next kick for a while; less often the more it looked in vain.
 */
static bool is_worth_spinning(struct rumpel_spin *spin)
{
	uint16_t rest = relaxed_get(&spin->rest);

	if (!relaxed_get(&spin->near))
		return false;
	if (!rest)
		return true;
	relaxed_set(&spin->rest, rest - 1);
	return false;
}

/* True: the kick came. */
static bool spin(const struct rumpel_kernel *kernel, uint32_t word, uint64_t start, uint64_t until)
{
	uint64_t end = start + SPIN;

	if (until < end)
		end = until;
	do {
		for (int i = 0; i < 16; i++) {
			if (atomic_get(&kernel->kick) != word)
				return true;
			__builtin_ia32_pause();
		}
	} while (rumpel_host_now() < end);
	return false;
}

static void count_miss(struct rumpel_spin *spin)
{
	uint8_t misses = relaxed_get(&spin->misses);

	if (misses < MOST_MISSES)
		relaxed_set(&spin->misses, ++misses);
	relaxed_set(&spin->rest, 1u << misses);
}

static int sleep_on_futex(struct rumpel_kernel *kernel, uint32_t word, uint64_t until)
{
	struct rumpel_spin *state = &kernel->spin;
	uint64_t start = rumpel_host_now();
	uint32_t mode = SLEEP_SPIN;
	int cpu = sched_getcpu(), result = 0;
	bool spins = is_worth_spinning(state);

	if (spins && spin(kernel, word, start, until)) {
		relaxed_set(&state->misses, 0);
	} else {
		if (spins)
			count_miss(state);
		/* If not, there was a kick, by somebody who takes this thread for awake. */
		if (__atomic_compare_exchange_n(&kernel->asleep, &mode, SLEEP_FUTEX, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			result = rumpel_futex_wait(&kernel->kick, word, until);
	}
	relaxed_set(&state->near,
		    rumpel_host_now() - start < NEAR && relaxed_get(&state->kicker_cpu) != cpu);
	return result;
}

static int sleep_polling(struct pollfd *polled, nfds_t count, uint64_t until)
{
	struct timespec timeout = { 0 };
	uint64_t now = rumpel_host_now();

	if (until != NEVER && until > now) {
		timeout.tv_sec = (until - now) / NS_PER_SEC;
		timeout.tv_nsec = (until - now) % NS_PER_SEC;
	}
	return ppoll(polled, count, until == NEVER ? NULL : &timeout, NULL) < 0 ? -errno : 0;
}

/* True: the kick came, or one of the descriptors has something. */
static bool look(const struct rumpel_kernel *kernel, uint32_t word, struct pollfd *polled,
		 nfds_t count, uint64_t end)
{
	do {
		if (atomic_get(&kernel->kick) != word || poll(polled, count, 0) > 0)
			return true;
	} while (rumpel_host_now() < end);
	return false;
}

/*
 * The same of a leader that polls. Who is at the other end of a descriptor, and on which CPU, is
 * not known, but how long the last waits were, and how much came with the last one: where that was
 * more than a message, to answer at once would only make many small things of few large ones, and
 * take the CPU from who sends.
 */
static int sleep_watching(struct rumpel_kernel *kernel, uint32_t word, struct pollfd *polled,
			  nfds_t count, uint64_t until, bool may_spin)
{
	struct rumpel_spin *state = &kernel->look;
	uint64_t start = rumpel_host_now(), now;
	uint32_t mode = SLEEP_SPIN;
	int result = 0;
	bool is_short = start - relaxed_get(&state->woken) < SHORT;
	bool spins = may_spin && is_short && is_worth_spinning(state);

	if (spins &&
	    look(kernel, word, polled, count, until < start + SPIN ? until : start + SPIN)) {
		relaxed_set(&state->misses, 0);
	} else {
		if (spins)
			count_miss(state);
		if (__atomic_compare_exchange_n(&kernel->asleep, &mode, SLEEP_POLL, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			result = sleep_polling(polled, count, until);
	}
	now = rumpel_host_now();
	relaxed_set(&state->woken, now);
	relaxed_set(&state->near, now - start < NEAR);
	return result;
}

/* drain: the kick, if there was one, was for this thread. */
static void hand_out(struct rumpel_kernel *kernel, const struct pollfd *polled,
		     struct rumpel_watch **watches, nfds_t count, bool drain)
{
	uint64_t kicks;
	ssize_t got = 0;

	if (polled[0].revents && drain)
		got = read(kernel->eventfd, &kicks, sizeof(kicks));
	(void)got; /* it was of a leader before */
	for (nfds_t i = 1; i < count; i++)
		/* Its device may be gone by now. */
		if (polled[i].revents && rumpel_is_watched(kernel, watches[i]))
			watches[i]->ready(watches[i], polled[i].revents);
}

bool rumpel_has_ended(const struct rumpel_waiter *waiter)
{
	return waiter->task && __atomic_load_n(&waiter->task->state, __ATOMIC_ACQUIRE) == TASK_DONE;
}

/* What was found of the descriptors that it waits for. */
static void note_ready(struct rumpel_waiter *waiter, const struct pollfd *polled)
{
	for (unsigned int i = 0; i < waiter->also_count; i++)
		waiter->also[i].revents = polled[i].revents;
}

static bool also_ready(const struct rumpel_waiter *waiter)
{
	for (unsigned int i = 0; i < waiter->also_count; i++)
		if (waiter->also[i].revents)
			return true;
	return false;
}

/*
 * Is there something that no descriptor tells of? It was taken then. True as well if the
 * descriptors' turn has come, or somebody else's: there may be more, so do not sleep.
 */
static bool look_before_sleep(struct rumpel_kernel *kernel, bool *turn)
{
	bool found = rumpel_watches_look(kernel);

	kernel->looks = found ? kernel->looks + 1 : 0;
	*turn = found && (kernel->looks >= MOST_LOOKS ||
			  atomic_get(&kernel->token) & (TOKEN_WAITED | TOKEN_WANTED));
	if (*turn)
		kernel->looks = 0;
	return found;
}

/* Instead of sleeping; as rumpel_lead_sleep. */
static int lead_visit(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter)
{
	struct rumpel_visits visits;

	visits.count = 0;
	rumpel_visits_take(kernel, &visits);
	rumpel_token_give(kernel);
	rumpel_visit(&visits, waiter, VISIT_OF_LEADER);
	if (rumpel_has_ended(waiter))
		return 1;
	rumpel_token_take(kernel);
	return 0;
}

int rumpel_lead_sleep(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	struct rumpel_watch *watches[MOST_WATCHES], *watch;
	struct pollfd polled[1 + MOST_WATCHES + MOST_ALSO];
	uint64_t until = rumpel_next_deadline(kernel), nap;
	uint32_t word = atomic_get(&kernel->kick);
	nfds_t count = 1, most;
	int result, own = -1;
	bool turn;

	if (unlikely(kernel->neighbours.count))
		return lead_visit(kernel, waiter);
	if (look_before_sleep(kernel, &turn) && !turn)
		return 0;
	for (watch = kernel->watches; watch && count < MOST_WATCHES; watch = watch->next) {
		watch->polled = watch->events;
		polled[count] = (struct pollfd){ watch->events ? watch->fd : -1, watch->events, 0 };
		watches[count++] = watch;
	}
	polled[0] = (struct pollfd){ kernel->eventfd, POLLIN, 0 };
	most = count;
	for (unsigned int i = 0; i < waiter->also_count; i++)
		polled[most++] = waiter->also[i];
	if (is_looked_after(kernel, until))
		until = NEVER;
	if (limit < until)
		until = limit;
	if (turn)
		until = rumpel_host_now();
	if (most > 1) {
		own = rumpel_wake_fd_take(kernel);
		kernel->leader_fd = own < 0 ? -1 : own;
		waiter->wake_fd = kernel->leader_fd;
		polled[most] = (struct pollfd){ kernel->leader_fd, POLLIN, 0 };
		/* None is left: a word for it is found all the same. */
		if (own < 0 && until > rumpel_host_now() + NS_PER_SEC / 1000)
			until = rumpel_host_now() + NS_PER_SEC / 1000;
	}
	kernel->sleep_until = until;
	relaxed_set(&kernel->spin.housekeeper, waiter == &kernel->housekeeper.waiter);
	atomic_set(&kernel->asleep, SLEEP_SPIN);
	/* What came before that could not kick. */
	if (rumpel_vcpu_has_work(kernel)) {
		atomic_set(&kernel->asleep, SLEEP_NOT);
		kernel->leader_fd = waiter->wake_fd = -1;
		rumpel_wake_fd_give(kernel, own, false);
		return 0;
	}
	rumpel_token_give(kernel);
	nap = rumpel_patience_of_leader(until);
	if (rumpel_interrupted())
		result = -EINTR;
	else if (most > 1)
		result = sleep_watching(kernel, word, polled, most + 1, nap, waiter->task);
	else
		result = sleep_on_futex(kernel, word, nap);
	waiter->wake_fd = -1;
	rumpel_wake_fd_give(kernel, own, most > 1 && !result && polled[most].revents);
	if (rumpel_has_ended(waiter))
		return 1;
	rumpel_token_take(kernel);
	if (nap != until && rumpel_host_now() >= nap)
		rumpel_look_around(kernel);
	if (kernel->leader == waiter) {
		atomic_set(&kernel->asleep, SLEEP_NOT);
		kernel->leader_fd = -1;
	}
	if (most > 1 && result == 0)
		/* One whose lead was taken meanwhile would take the kick, too. */
		hand_out(kernel, polled, watches, count, kernel->leader == waiter);
	if (result == 0)
		note_ready(waiter, polled + count);
	return result == -EINTR ? -EINTR : 0;
}

/* A follower that also waits for a descriptor is woken by one of its own. */
static int follow_polling(struct rumpel_waiter *waiter, uint64_t limit)
{
	struct pollfd polled[1 + MOST_ALSO] = { { waiter->wake_fd, POLLIN, 0 } };
	int result;

	for (unsigned int i = 0; i < waiter->also_count; i++)
		polled[1 + i] = waiter->also[i];
	result = sleep_polling(polled, 1 + waiter->also_count, limit);
	if (result == 0)
		note_ready(waiter, polled + 1);
	return result;
}

/* 1: has ended, and the token was not taken again; else as rumpel_lead_sleep. */
static int follow_sleep(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	int result = 0;

	waiter->wake_fd = waiter->also ? rumpel_wake_fd_take(kernel) : -1;
	if (waiter->also && waiter->wake_fd < 0)
		return waiter->wake_fd;
	follow(kernel, waiter);
	rumpel_leave(kernel, false);
	do {
		if (rumpel_interrupted())
			result = -EINTR;
		else if (waiter->also)
			result = follow_polling(waiter, limit);
		else
			result = rumpel_futex_wait(&waiter->word, 0, limit);
	} while (!waiter->also && !atomic_get(&waiter->word) && result == 0);
	if (atomic_get(&waiter->word) && rumpel_has_ended(waiter)) {
		rumpel_wake_fd_give(kernel, waiter->wake_fd, true);
		waiter->wake_fd = -1;
		return 1;
	}
	rumpel_token_take(kernel);
	if (waiter->follows)
		unfollow(kernel, waiter);
	rumpel_wake_fd_give(kernel, waiter->wake_fd, true);
	waiter->wake_fd = -1;
	return result == -EINTR ? -EINTR : 0;
}

/* Does a device's job in this thread; others go on with the kernel. */
static bool do_job(struct rumpel_kernel *kernel)
{
	struct rumpel_job *job = NULL;

	if (atomic_get(&kernel->jobs.queued))
		job = rumpel_jobs_take(&kernel->jobs);
	if (!job)
		return false;
	kernel->leader = NULL;
	rumpel_leave(kernel, false);
	job->run(job);
	rumpel_token_take(kernel);
	return true;
}

/* Its call needs this process's memory: see RUMPEL_CALLER_AWAY. */
static bool is_away(const struct rumpel_waiter *waiter)
{
	return waiter->task && waiter->task->caller.state == RUMPEL_CALLER_AWAY;
}

static int wait_once(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	int result = 0;

	if (unlikely(is_away(waiter))) {
		kernel->vcpu->request = &waiter->task->caller;
		rumpel_vcpu_handle(kernel, rumpel_enter(kernel), waiter->task);
		if (rumpel_waiter_ready(kernel, waiter) || rumpel_kernel_end(kernel))
			return -EAGAIN;
	}
	if (!kernel->leader || kernel->leader == &kernel->housekeeper.waiter)
		kernel->leader = waiter;
	if (kernel->leader == waiter) {
		rumpel_vcpu_run(kernel, waiter->task);
		if (rumpel_waiter_ready(kernel, waiter) || rumpel_kernel_end(kernel))
			return -EAGAIN;
	}
	if (limit != NEVER && rumpel_host_now() >= limit)
		return 0;
	if (kernel->leader == waiter) {
		/* An event loop's thread is not to be kept: workers do what may block. */
		if ((waiter->also || !rumpel_may_work()) && atomic_get(&kernel->jobs.queued))
			rumpel_jobs_delegate(&kernel->jobs);
		else if (do_job(kernel))
			return -EAGAIN;
		result = rumpel_lead_sleep(kernel, waiter, limit);
	} else {
		result = follow_sleep(kernel, waiter, limit);
	}
	if (!result && also_ready(waiter))
		return 0;
	return result ? result : -EAGAIN;
}

int rumpel_wait(struct rumpel_kernel *kernel, struct rumpel_waiter *waiter, uint64_t limit)
{
	int result;

	if (kernel->clock) {
		result = rumpel_virtual_wait(kernel, waiter, limit);
		rumpel_leave(kernel, false);
		return result;
	}
	do {
		if (rumpel_waiter_ready(kernel, waiter))
			result = 1;
		else if ((result = rumpel_kernel_end(kernel)) == 0) {
			result = wait_once(kernel, waiter, limit);
			if (result == 1)
				return 1; /* the token is not held */
		}
	} while (result == -EAGAIN);
	if (result == -EINTR && rumpel_waiter_ready(kernel, waiter))
		result = 1;
	if (kernel->leader == waiter)
		kernel->leader = NULL;
	rumpel_leave(kernel, false);
	return result;
}
