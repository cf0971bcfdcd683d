// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's clock between two looks at the host's: it goes with the host's,
 * and never back, whichever threads read it.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "guest.h"

#define US 1000ll
#define READERS 3

static int64_t read_guest(struct rumpel_task *task)
{
	struct timespec now;

	EQUAL(guest_call(task, SYS_clock_gettime, CLOCK_MONOTONIC, ptr(&now)), 0);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

struct reader {
	struct rumpel_kernel *kernel;
	pthread_t thread;
	long backwards;
};

static _Atomic int64_t latest;

/* What another thread has read before this one asked must not be later. */
static void *read_on(void *argument)
{
	struct reader *reader = argument;
	uint64_t end = host_now() + 300000 * US;
	struct rumpel_task *task;

	EQUAL(rumpel_task_create(reader->kernel, 0, &task), 0);
	while (host_now() < end) {
		int64_t before = latest, now = read_guest(task);

		reader->backwards += now < before;
		while (before < now && !atomic_compare_exchange_weak(&latest, &before, now))
			;
	}
	rumpel_task_free(task);
	return NULL;
}

static void never_back(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct reader readers[READERS];

	latest = 0;
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .kernel = kernel };
		pthread_create(&readers[i].thread, NULL, read_on, &readers[i]);
	}
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		EQUAL(readers[i].backwards, 0);
	}
	guest_end(kernel);
}

/* How far apart the two clocks are, from readings that nobody interrupted. */
static int64_t offset(struct rumpel_task *task)
{
	for (;;) {
		int64_t before = (int64_t)host_now(), guest = read_guest(task),
			after = (int64_t)host_now();

		if (after - before < 2 * US)
			return guest - before;
	}
}

static void as_the_host(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	const struct timespec rest = { 0, 100000 * US };
	int64_t first = offset(init);

	for (int i = 0; i < 2; i++) {
		uint64_t end = host_now() + 150000 * US;

		while (host_now() < end) {
			int64_t apart = offset(init) - first;

			CHECK(apart > -10 * US && apart < 10 * US);
		}
		EQUAL(guest_call(init, SYS_nanosleep, ptr(&rest)), 0);
	}
	guest_end(kernel);
}

static const struct test tests[] = {
	{ never_back, "the clock never goes back, whoever reads it" },
	{ as_the_host, "the clock goes as the host's, busy and after a rest" },
};

TEST_MAIN(tests)
