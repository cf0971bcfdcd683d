// SPDX-License-Identifier: GPL-2.0-only
/* The ends of tasks, in whatever state their calls are: more of them than fit at a time. */
#include "guest.h"

#define MANY 3000

static void ready(struct rumpel_kernel *kernel, struct rumpel_task *task, int fds[2])
{
	(void)kernel;
	EQUAL(guest_call(task, SYS_write, fds[1], ptr("x"), 1), 1);
	EQUAL(guest_call(task, SYS_read, fds[0], ptr(&(char){ 0 }), 1), 1);
}

static void submit_read(struct rumpel_task *task, int fds[2], char *byte)
{
	const unsigned long args[6] = { fds[0], ptr(byte), 1 };
	long result;

	EQUAL(rumpel_task_submit(task, RUMPEL_SUBMIT_ASYNC, SYS_read, args, &result), 0);
}

static void busy(struct rumpel_kernel *kernel, struct rumpel_task *task, int fds[2])
{
	static char byte;

	(void)kernel;
	submit_read(task, fds, &byte);
}

static void done(struct rumpel_kernel *kernel, struct rumpel_task *task, int fds[2])
{
	struct rumpel_task *ended;
	static char byte;

	submit_read(task, fds, &byte);
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_write, fds[1], ptr("x"), 1), 1);
	EQUAL(rumpel_run(kernel, 1000000000, -1, &ended, 1), 1);
	CHECK(ended == task);
}

static void many(void (*prepare)(struct rumpel_kernel *, struct rumpel_task *, int fds[2]))
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *task;
	int fds[2];

	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_pipe2, ptr(fds)), 0);
	for (int i = 0; i < MANY; i++) {
		EQUAL(rumpel_task_create(kernel, 0, &task), 0);
		prepare(kernel, task, fds);
		rumpel_task_free(task);
	}
	guest_end(kernel);
}

static void free_ready(void)
{
	many(ready);
}

static void free_busy(void)
{
	many(busy);
}

static void free_done(void)
{
	many(done);
}

static const struct test tests[] = {
	{ free_ready, "a task that makes no call ends" },
	{ free_busy, "a task in a call ends" },
	{ free_done, "a task whose result nobody took ends" },
};

TEST_MAIN(tests)
