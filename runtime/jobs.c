// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work of devices that blocks. A thread that waits in the kernel does it
 * itself; if there is none, or there is more, workers do. They end when there
 * has been nothing to do for a while.
 */
#include "core.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WORKER_PATIENCE 1 /* seconds */

void rumpel_jobs_init(struct rumpel_jobs *jobs)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->more, &monotonic);
	pthread_cond_init(&jobs->gone, NULL);
	pthread_condattr_destroy(&monotonic);
	jobs->tail = &jobs->head;
}

/*
 * Locked, as `error` says of it. Whoever had the lock before may have been killed (shared/) as
 * it put a job at the end.
 */
static int locked(struct rumpel_jobs *jobs, int error)
{
	if (likely(error != EOWNERDEAD))
		return error;
	jobs->queued = 0;
	for (jobs->tail = &jobs->head; *jobs->tail; jobs->tail = &(*jobs->tail)->next)
		jobs->queued++;
	return 0;
}

static void lock(struct rumpel_jobs *jobs)
{
	locked(jobs, pthread_mutex_lock(&jobs->lock));
}

/* Locked. */
static struct rumpel_job *take(struct rumpel_jobs *jobs)
{
	struct rumpel_job *job = jobs->head;

	if (!job)
		return NULL;
	jobs->head = job->next;
	if (!jobs->head)
		jobs->tail = &jobs->head;
	__atomic_fetch_sub(&jobs->queued, 1, __ATOMIC_SEQ_CST);
	return job;
}

struct rumpel_job *rumpel_jobs_take(struct rumpel_jobs *jobs)
{
	struct rumpel_job *job;

	lock(jobs);
	job = take(jobs);
	pthread_mutex_unlock(&jobs->lock);
	return job;
}

static void run_all(struct rumpel_jobs *jobs)
{
	struct rumpel_job *job;

	while ((job = rumpel_jobs_take(jobs)))
		job->run(job);
}

/* Locked. False: this worker has had nothing to do for long. */
static bool wait_for_more(struct rumpel_jobs *jobs)
{
	struct timespec until;
	int error;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += WORKER_PATIENCE;
	jobs->idle++;
	error = locked(jobs, pthread_cond_timedwait(&jobs->more, &jobs->lock, &until));
	jobs->idle--;
	return !error || jobs->head;
}

static void *worker_main(void *argument)
{
	struct rumpel_jobs *jobs = argument;
	struct rumpel_job *job;

	lock(jobs);
	while (!jobs->stop) {
		job = take(jobs);
		if (!job) {
			if (!wait_for_more(jobs))
				break;
			continue;
		}
		pthread_mutex_unlock(&jobs->lock);
		job->run(job);
		lock(jobs);
	}
	if (--jobs->workers == 0)
		pthread_cond_signal(&jobs->gone);
	pthread_mutex_unlock(&jobs->lock);
	return NULL;
}

/* Locked. */
static void add_worker(struct rumpel_jobs *jobs)
{
	pthread_attr_t detached;
	pthread_t thread;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &detached, worker_main, jobs) == 0)
		jobs->workers++;
	pthread_attr_destroy(&detached);
}

void rumpel_jobs_delegate(struct rumpel_jobs *jobs)
{
	bool more, nobody;

	lock(jobs);
	more = jobs->head && !jobs->idle && jobs->workers < JOBS_WORKERS;
	if (more && rumpel_may_work())
		add_worker(jobs);
	/* As many as there is work for: each that finds none has cost two switches. */
	if (atomic_get(&jobs->queued) == 1)
		pthread_cond_signal(&jobs->more);
	else
		pthread_cond_broadcast(&jobs->more);
	nobody = jobs->head && !jobs->workers && rumpel_may_work();
	pthread_mutex_unlock(&jobs->lock);
	if (more && !rumpel_may_work())
		rumpel_call_worker();
	/* No thread to be had: better slow than never. */
	if (nobody)
		run_all(jobs);
}

void rumpel_kernel_defer(struct rumpel_kernel *kernel, struct rumpel_job *job)
{
	struct rumpel_jobs *jobs = &kernel->jobs;

	if (kernel->clock) {
		job->run(job);
		return;
	}
	job->next = NULL;
	lock(jobs);
	*jobs->tail = job;
	jobs->tail = &job->next;
	__atomic_fetch_add(&jobs->queued, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&jobs->lock);
	/* The holder of the token sees to its jobs when it leaves. */
	if (!rumpel_token_is_mine(kernel))
		rumpel_jobs_delegate(jobs);
}

/* Of this thread: who makes it keep to one has all others keep to it, as a rule. */
bool rumpel_kernel_has_cpus(void)
{
	unsigned long mask[16], found = 0;
	long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	/* More of them than fit. */
	if (size < 0)
		return true;
	for (size_t i = 0; i < size / sizeof(mask[0]); i++) {
		if (mask[i] && (found || mask[i] & (mask[i] - 1)))
			return true;
		found |= mask[i];
	}
	return false;
}

void rumpel_jobs_forked(struct rumpel_jobs *jobs)
{
	pthread_mutex_unlock(&jobs->lock);
	rumpel_jobs_init(jobs);
	jobs->head = NULL;
	jobs->queued = 0;
	jobs->workers = jobs->idle = 0;
}

void rumpel_jobs_exit(struct rumpel_jobs *jobs)
{
	lock(jobs);
	jobs->stop = true;
	pthread_cond_broadcast(&jobs->more);
	while (jobs->workers)
		locked(jobs, pthread_cond_wait(&jobs->gone, &jobs->lock));
	pthread_mutex_unlock(&jobs->lock);
	/* What was not begun finds that its device is detached. */
	run_all(jobs);
	pthread_mutex_destroy(&jobs->lock);
	pthread_cond_destroy(&jobs->more);
	pthread_cond_destroy(&jobs->gone);
}
