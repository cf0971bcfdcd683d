// SPDX-License-Identifier: GPL-2.0-only
/* The ends of tasks, in whatever state their calls are: more of them than fit at a time; and waits. */
#include <pthread.h>

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

/*
 * The kernel has a descriptor to watch, so that whoever leads polls. Each of two
 * threads ends the other's call and goes to sleep at once, as the next leader: the
 * word for the one before is not to be taken by it.
 */
#define ROUND_TRIPS 20000

struct talk {
	struct rumpel_task *task;
	int in, out;
};

static void *answer(void *argument)
{
	const struct talk *talk = argument;
	char byte;

	for (int i = 0; i < ROUND_TRIPS; i++) {
		EQUAL(guest_call(talk->task, SYS_read, talk->in, ptr(&byte), 1), 1);
		EQUAL(guest_call(talk->task, SYS_write, talk->out, ptr(&byte), 1), 1);
	}
	return NULL;
}

static void talk_while_polling(void)
{
	struct rumpel_device *device;
	struct rumpel_kernel *kernel;
	struct rumpel_task *init;
	struct talk talk;
	int frames[2], to[2], from[2];
	pthread_t thread;
	char byte = 0;

	EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, frames), 0);
	EQUAL(rumpel_net_fd(frames[0], NULL, 0, &device), 0);
	kernel = guest_boot(NULL, &device, 1);
	init = rumpel_kernel_init(kernel);
	EQUAL(guest_call(init, SYS_pipe, ptr(to)), 0);
	EQUAL(guest_call(init, SYS_pipe, ptr(from)), 0);
	talk = (struct talk){ .in = to[0], .out = from[1] };
	EQUAL(rumpel_task_create(kernel, 0, &talk.task), 0);
	EQUAL(pthread_create(&thread, NULL, answer, &talk), 0);
	for (int i = 0; i < ROUND_TRIPS; i++) {
		EQUAL(guest_call(init, SYS_write, to[1], ptr(&byte), 1), 1);
		EQUAL(guest_call(init, SYS_read, from[0], ptr(&byte), 1), 1);
	}
	EQUAL(pthread_join(thread, NULL), 0);
	guest_end(kernel);
	close(frames[0]);
	close(frames[1]);
}

static const struct test tests[] = {
	{ free_ready, "a task that makes no call ends" },
	{ free_busy, "a task in a call ends" },
	{ free_done, "a task whose result nobody took ends" },
	{ talk_while_polling, "two threads wake each other while a device is watched" },
};

TEST_MAIN(tests)
