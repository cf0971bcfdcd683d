// SPDX-License-Identifier: GPL-2.0-only
/* What an event loop needs: to wait for calls, for a descriptor and for time at once. */
#include "guest.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define MS 1000000ll
#define SECOND (1000 * MS)

static char byte;

/* A read of an empty pipe. */
static struct rumpel_task *begin_read(struct rumpel_kernel *kernel, int fds[2])
{
	struct rumpel_task *task;
	long result;

	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_pipe2, ptr(fds)), 0);
	EQUAL(rumpel_task_create(kernel, 0, &task), 0);
	const unsigned long args[6] = { fds[0], ptr(&byte), 1 };
	EQUAL(rumpel_task_submit(task, RUMPEL_SUBMIT_ASYNC, SYS_read, args, &result), 0);
	return task;
}

static void end_read(struct rumpel_kernel *kernel, int fds[2])
{
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_write, fds[1], ptr("x"), 1), 1);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd polled = { fd, POLLIN, 0 };

	return poll(&polled, 1, timeout_ms) == 1;
}

static void expect_done(struct rumpel_kernel *kernel, int64_t timeout, struct rumpel_task *task)
{
	struct rumpel_task *done[2];
	long result = 0;

	EQUAL(rumpel_run(kernel, timeout, -1, done, 2), 1);
	CHECK(done[0] == task);
	EQUAL(rumpel_task_wait(task, 0, &result), 1);
	EQUAL(result, 1);
}

static void descriptor(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	int fd = rumpel_kernel_fd(kernel), fds[2];
	struct rumpel_task *task = begin_read(kernel, fds);

	CHECK(fd >= 0);
	EQUAL(rumpel_kernel_fd(kernel), fd);
	CHECK(!readable(fd, 0));
	end_read(kernel, fds);
	CHECK(readable(fd, 10000));
	CHECK(readable(fd, 0));
	expect_done(kernel, 0, task);
	CHECK(!readable(fd, 0));
	guest_end(kernel);
}

static void data(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	int fds[2], mine;
	struct rumpel_task *task = begin_read(kernel, fds), *done[1];

	rumpel_task_set_data(task, &mine);
	end_read(kernel, fds);
	EQUAL(rumpel_run(kernel, SECOND, -1, done, 1), 1);
	CHECK(rumpel_task_data(done[0]) == &mine);
	guest_end(kernel);
}

struct later {
	int fd;
	struct rumpel_kernel *kernel;
	int *fds;
};

static void *write_later(void *argument)
{
	const struct later *later = argument;
	const uint64_t one = 1;

	usleep(20000);
	if (later->fd >= 0)
		EQUAL(write(later->fd, &one, sizeof(one)), sizeof(one));
	else
		end_read(later->kernel, later->fds);
	return NULL;
}

static void *read_in_thread(void *argument)
{
	const struct later *later = argument;
	struct rumpel_task *task;
	char other;

	EQUAL(rumpel_task_create(later->kernel, 0, &task), 0);
	EQUAL(guest_call(task, SYS_read, later->fds[0], ptr(&other), 1), 1);
	rumpel_task_free(task);
	return NULL;
}

/* crowded: another thread leads, so that the one that runs follows. */
static void wait_for_both(bool crowded)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	int host = eventfd(0, EFD_CLOEXEC), fds[2], others[2];
	struct rumpel_task *task = begin_read(kernel, fds), *done[1];
	struct later leader = { -1, kernel, others }, later = { host, NULL, NULL };
	pthread_t first, thread;
	uint64_t count;

	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_pipe2, ptr(others)), 0);
	if (crowded) {
		EQUAL(pthread_create(&first, NULL, read_in_thread, &leader), 0);
		usleep(20000);
	}
	EQUAL(pthread_create(&thread, NULL, write_later, &later), 0);
	EQUAL(rumpel_run(kernel, -1, host, done, 1), 0);
	CHECK(readable(host, 0));
	EQUAL(pthread_join(thread, NULL), 0);
	EQUAL(read(host, &count, sizeof(count)), sizeof(count));
	EQUAL(rumpel_run(kernel, 20 * MS, host, done, 1), 0);
	later = (struct later){ -1, kernel, fds };
	EQUAL(pthread_create(&thread, NULL, write_later, &later), 0);
	while (rumpel_run(kernel, -1, host, done, 1) == 0)
		;
	CHECK(done[0] == task);
	EQUAL(pthread_join(thread, NULL), 0);
	if (crowded) {
		end_read(kernel, others);
		EQUAL(pthread_join(first, NULL), 0);
	}
	close(host);
	guest_end(kernel);
}

static void leads(void)
{
	wait_for_both(false);
}

static void follows(void)
{
	wait_for_both(true);
}

static void no_housekeeper(void)
{
	struct rumpel_kernel *kernel =
		guest_boot_with((struct rumpel_config){ .flags = RUMPEL_BOOT_NO_HOUSEKEEPER });
	const struct timespec soon = { 0, 30 * MS };
	const unsigned long args[6] = { ptr(&soon), 0 };
	int fd = rumpel_kernel_fd(kernel);
	struct rumpel_task *task, *done[1];
	uint64_t deadline, now;
	long result;

	EQUAL(rumpel_task_create(kernel, 0, &task), 0);
	EQUAL(rumpel_task_submit(task, RUMPEL_SUBMIT_ASYNC, SYS_nanosleep, args, &result), 0);
	while (rumpel_run(kernel, 0, -1, done, 1) == 0) {
		CHECK(!readable(fd, 0));
		deadline = rumpel_kernel_deadline(kernel);
		now = rumpel_kernel_now(kernel);
		CHECK(deadline <= now + 30 * MS);
		if (deadline > now)
			usleep((deadline - now) / 1000 + 1);
	}
	CHECK(done[0] == task);
	guest_end(kernel);
}

static void virtual_limit(void)
{
	struct rumpel_clock *clock;
	struct rumpel_kernel *kernel, *other;
	const struct timespec ten = { 10, 0 };
	const unsigned long args[6] = { ptr(&ten), 0 };
	struct rumpel_task *task, *done[1];
	int host = eventfd(1, EFD_CLOEXEC);
	uint64_t start, before;
	long result;

	EQUAL(rumpel_clock_create(0, 0, &clock), 0);
	kernel = guest_boot(clock, NULL, 0);
	other = guest_boot(clock, NULL, 0);
	EQUAL(rumpel_task_create(other, 0, &task), 0);
	start = rumpel_clock_now(clock);
	EQUAL(rumpel_task_submit(task, RUMPEL_SUBMIT_ASYNC, SYS_nanosleep, args, &result), 0);
	/* The time is over, exactly. */
	EQUAL(rumpel_run(kernel, 3 * SECOND, -1, done, 1), 0);
	EQUAL(rumpel_clock_now(clock), start + 3 * SECOND);
	/* Something can be read: no time passes. */
	EQUAL(rumpel_run(kernel, 3 * SECOND, host, done, 1), 0);
	before = rumpel_clock_now(clock);
	EQUAL(rumpel_run(kernel, 3 * SECOND, host, done, 1), 0);
	EQUAL(rumpel_clock_now(clock), before);
	/* A call of the other kernel ends. */
	EQUAL(rumpel_run(kernel, 100 * SECOND, -1, done, 1), 0);
	CHECK(rumpel_clock_now(clock) < start + 11 * SECOND);
	EQUAL(rumpel_run(other, 0, -1, done, 1), 1);
	CHECK(done[0] == task);
	close(host);
	guest_end(other);
	guest_end(kernel);
	rumpel_clock_free(clock);
}

static const struct test tests[] = {
	{ descriptor, "the descriptor of a kernel is readable while calls have ended" },
	{ data, "a task has a pointer of the caller's" },
	{ leads, "the leader waits for a descriptor of the host's and for calls at once" },
	{ follows, "a follower does, too" },
	{ no_housekeeper, "without housekeeper there is a deadline at which to run" },
	{ virtual_limit,
	  "a virtual clock jumps as far as it may, and not while there is anything to do" },
};

TEST_MAIN(tests)
