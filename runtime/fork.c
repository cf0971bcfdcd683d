// SPDX-License-Identifier: GPL-2.0-only
/*
 * fork() of the process: the child has a copy of every kernel, its own from
 * then on. The thread that forks takes all tokens first, and the locks of what
 * works without, so that nothing is in the middle of anything.
 *
 * In the child only that thread is left. Calls of the others are interrupted,
 * work of devices that they had begun is done again, and a housekeeper comes
 * back when it is needed. What two processes cannot share stays with the
 * parent: each device knows (struct rumpel_device_ops, fork).
 */
#include "core.h"

#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * How long a fork waits for a kernel that does not let go of its token, or in
 * the child for calls that do not end. Such a kernel has no copy.
 */
#define PATIENCE (3 * NS_PER_SEC)

static pthread_mutex_t kernels_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rumpel_kernel *kernels;

void rumpel_fork_add(struct rumpel_kernel *kernel)
{
	pthread_mutex_lock(&kernels_lock);
	kernel->fork_next = kernels;
	kernels = kernel;
	pthread_mutex_unlock(&kernels_lock);
}

void rumpel_fork_remove(struct rumpel_kernel *kernel)
{
	struct rumpel_kernel **at = &kernels;

	pthread_mutex_lock(&kernels_lock);
	while (*at && *at != kernel)
		at = &(*at)->fork_next;
	if (*at)
		*at = kernel->fork_next;
	kernel->copied = false;
	pthread_mutex_unlock(&kernels_lock);
}

/* ---- before ---- */

bool rumpel_kernel_is_copied(const struct rumpel_kernel *kernel)
{
	return kernel->copied;
}

/* A kernel of this clock has called the thread that forks: to wait would be for itself. */
static bool is_inside(const struct rumpel_clock *clock)
{
	const struct rumpel_kernel *kernel = kernels;

	if (rumpel_tid && relaxed_get(&clock->holder) == rumpel_tid)
		return true;
	while (kernel && (kernel->clock != clock || !rumpel_token_is_mine(kernel)))
		kernel = kernel->fork_next;
	return kernel;
}

/* Who drives a clock takes its lock again at once: only who looks all the time gets it. */
static bool take_clock(struct rumpel_clock *clock, uint64_t limit)
{
	if (clock->forking)
		return true;
	if (is_inside(clock))
		limit = 0;
	while (pthread_mutex_trylock(&clock->lock)) {
		if (rumpel_host_now() >= limit)
			return false;
		__builtin_ia32_pause();
	}
	clock->forking = true;
	return true;
}

static void devices(struct rumpel_kernel *kernel, enum rumpel_fork stage)
{
	for (unsigned int i = 0; i < kernel->device_count; i++)
		if (kernel->devices[i] && kernel->devices[i]->ops->fork)
			kernel->devices[i]->ops->fork(kernel->devices[i], stage);
}

/* By another thread, which is not there to go on in the child. */
static bool is_halting(const struct rumpel_kernel *kernel)
{
	return kernel->halting && atomic_get(&kernel->state) == RUMPEL_RUNNING;
}

static void prepare(void)
{
	uint64_t limit = rumpel_host_now() + PATIENCE;
	struct rumpel_kernel *kernel;

	pthread_mutex_lock(&kernels_lock);
	/* The order is always clocks first, then tokens, then the rest. */
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		kernel->forking = !kernel->clock || take_clock(kernel->clock, limit);
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		kernel->forking = kernel->forking && rumpel_token_take_until(kernel, limit);
	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		devices(kernel, RUMPEL_FORK_PREPARE);
		pthread_mutex_lock(&kernel->jobs.lock);
		pthread_mutex_lock(&kernel->log.lock);
		kernel->copied = kernel->forking && !is_halting(kernel) &&
				 rumpel_arena_fork_prepare(&kernel->arena) == 0;
	}
}

/* ---- after, in the parent ---- */

static void give_clocks(void)
{
	struct rumpel_kernel *kernel;

	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		if (!kernel->clock || !kernel->clock->forking)
			continue;
		kernel->clock->forking = false;
		pthread_mutex_unlock(&kernel->clock->lock);
	}
}

static void parent(void)
{
	struct rumpel_kernel *kernel;

	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		pthread_mutex_unlock(&kernel->log.lock);
		pthread_mutex_unlock(&kernel->jobs.lock);
		devices(kernel, RUMPEL_FORK_PARENT);
		rumpel_arena_fork_parent(&kernel->arena);
	}
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		if (kernel->forking)
			rumpel_leave(kernel, false);
	give_clocks();
	pthread_mutex_unlock(&kernels_lock);
}

/* ---- after, in the child ---- */

/* An eventfd of its own in place of the parent's. */
static void renew(int fd)
{
	int own = fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (own < 0)
		return;
	dup3(own, fd, O_CLOEXEC);
	close(own);
}

/* `before`: this thread's number in the parent. */
static void renew_clocks(uint32_t before)
{
	struct rumpel_kernel *kernel;
	struct rumpel_clock *clock;

	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		clock = kernel->clock;
		if (!clock)
			continue;
		clock->forking = false;
		/* Driven by this thread, which goes on and gives it back. */
		if (before && (clock->holder == before || clock->holder == rumpel_tid)) {
			clock->holder = rumpel_tid;
			continue;
		}
		clock->holder = 0;
		pthread_mutex_init(&clock->lock, NULL);
	}
}

/* What other threads of the parent were at. */
static void forget_threads(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;

	kernel->token = kernel->runner = rumpel_tid;
	kernel->vcpu->cycle_limit = 0;
	kernel->leader = kernel->followers = NULL;
	kernel->asleep = SLEEP_NOT;
	kernel->spin = (struct rumpel_spin){ 0 };
	rumpel_visits_forked(kernel);
	pthread_mutex_init(&kernel->agent_lock, NULL);
	kernel->log.waiters = 0;
	pthread_mutex_unlock(&kernel->log.lock);
	rumpel_jobs_forked(&kernel->jobs);
	/* Not before it is needed. */
	kernel->housekeeper.state = HOUSEKEEPER_NONE;
	kernel->init->waiter = NULL;
	for (task = kernel->tasks; task; task = task->next)
		task->waiter = NULL;
	renew(kernel->eventfd);
	for (unsigned int i = 0; i < MOST_WAKES; i++) {
		renew(kernel->wakes[i].fd);
		kernel->wakes[i].owner = 0;
	}
	kernel->leader_fd = -1;
	renew(kernel->done_fd);
	kernel->done_signalled = false;
	if (kernel->done)
		rumpel_done_signal(kernel);
}

/* No copy: it can only be freed. What of it others use goes at once. */
static void abandon(struct rumpel_kernel *kernel)
{
	struct rumpel_device *device;

	kernel->token = 0;
	kernel->housekeeper.thread = 0;
	for (unsigned int i = 0; i < kernel->device_count; i++) {
		device = kernel->devices[i];
		if (!device)
			continue;
		rumpel_device_detach(device);
		/* Freed with the kernel. */
		kernel->devices[i] = device;
	}
	kernel->state = RUMPEL_FORKED;
}

/* A call of a thread that is not here. */
static bool is_orphan(const struct rumpel_task *task)
{
	return (task->state == TASK_BUSY || task->state == TASK_DONE) && !task->async &&
	       !pthread_equal(task->thread, pthread_self());
}

static bool is_busy_orphan(const struct rumpel_task *task)
{
	return task->state == TASK_BUSY && is_orphan(task);
}

static struct rumpel_task *next_orphan(struct rumpel_task *task)
{
	while (task && !is_busy_orphan(task))
		task = task->next;
	return task;
}

static void interrupt(struct rumpel_kernel *kernel, struct rumpel_task *task)
{
	kernel->vcpu->interrupt = &task->caller;
	rumpel_vcpu_handle(kernel, rumpel_enter(kernel), NULL);
}

/* False: there was none. */
static bool interrupt_all(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;
	bool any = is_busy_orphan(kernel->init);

	if (any)
		interrupt(kernel, kernel->init);
	for (task = next_orphan(kernel->tasks); task; task = next_orphan(task->next)) {
		interrupt(kernel, task);
		any = true;
	}
	return any;
}

/*
 * Nobody waits for these calls, and what they would write to may soon be
 * somebody else's: stacks of threads that are gone are used again. True: all
 * have ended.
 */
static bool end_calls(struct rumpel_kernel *kernel)
{
	uint64_t limit = rumpel_host_now() + PATIENCE;
	struct rumpel_job *job;

	while (atomic_get(&kernel->state) == RUMPEL_RUNNING && interrupt_all(kernel)) {
		while ((job = rumpel_jobs_take(&kernel->jobs)))
			job->run(job);
		if (rumpel_host_now() > limit)
			return false;
	}
	return true;
}

/* Of threads that are gone: ready for whoever has the task now. */
static void forget_results(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;

	if (is_orphan(kernel->init))
		rumpel_task_forget(kernel->init);
	for (task = kernel->tasks; task; task = task->next)
		if (is_orphan(task))
			rumpel_task_forget(task);
}

/* The kernel's own log says why a device fails. */
static void report_lost(struct rumpel_kernel *kernel)
{
	struct rumpel_task *agent = kernel->agent;
	char text[80];
	long fd = -1;

	for (unsigned int i = 0; i < kernel->device_count; i++) {
		int len;

		if (!kernel->devices[i] || !kernel->devices[i]->lost)
			continue;
		if (fd < 0)
			fd = rumpel_open_device(agent, "/dev/kmsg", 1, 11);
		if (fd < 0)
			return;
		len = snprintf(text, sizeof(text),
			       "<4>rumpel: device %u stays with the parent of "
			       "this fork: it fails here\n",
			       i);
		task_call(agent, SYS_write, fd, (unsigned long)text, len);
	}
	if (fd >= 0)
		task_call(agent, SYS_close, fd);
}

/* Those without a copy: nobody waits for them, and a booting one has no end here. */
static void drop_from(struct rumpel_clock *clock)
{
	struct rumpel_kernel **at = &clock->kernels;

	while (*at) {
		if ((*at)->copied)
			at = &(*at)->clock_next;
		else
			*at = (*at)->clock_next;
	}
}

static void drop(void)
{
	struct rumpel_kernel **at = &kernels, *kernel;

	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		if (kernel->clock)
			drop_from(kernel->clock);
	while (*at) {
		if ((*at)->copied)
			at = &(*at)->fork_next;
		else
			*at = (*at)->fork_next;
	}
}

/* The copy is whole, and its token free. */
static void begin(struct rumpel_kernel *kernel)
{
	if (!kernel->clock)
		rumpel_kernel_reseed(kernel->agent);
	report_lost(kernel);
	rumpel_housekeeper_forked(kernel);
}

static void child(void)
{
	struct rumpel_kernel *kernel;
	uint32_t before = rumpel_tid;

	if (rumpel_tid)
		rumpel_tid = syscall(SYS_gettid);
	rumpel_fault_forked();
	/* No kernel runs before all of them and their devices are whole again. */
	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		if (kernel->copied && rumpel_arena_fork_child(&kernel->arena) < 0)
			kernel->copied = false;
		/* They show the parent's memory. */
		if (kernel->mappings && rumpel_mappings_flush(kernel->mappings) < 0)
			kernel->copied = false;
		forget_threads(kernel);
	}
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		devices(kernel, RUMPEL_FORK_CHILD);
	for (kernel = kernels; kernel; kernel = kernel->fork_next) {
		if (kernel->copied && !end_calls(kernel))
			kernel->copied = false;
		forget_results(kernel);
		if (!kernel->copied)
			abandon(kernel);
	}
	renew_clocks(before);
	drop();
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		rumpel_leave(kernel, false);
	for (kernel = kernels; kernel; kernel = kernel->fork_next)
		if (kernel->state == RUMPEL_RUNNING)
			begin(kernel);
		else
			kernel->housekeeper.thread = 0;
	pthread_mutex_unlock(&kernels_lock);
}

void rumpel_fork_init(void)
{
	pthread_atfork(prepare, parent, child);
}
