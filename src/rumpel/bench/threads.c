// SPDX-License-Identifier: GPL-2.0-only
/* Work for two: host threads that block, or two tasks of one thread. */
#include "side.h"

#include <pthread.h>
#include <stdlib.h>

#define MOST (64 << 10)

/* Four descriptors: 0 to 1 and 2 to 3, pipes or one socket pair twice. */
struct pair {
	struct rumpel_kernel *kernel; /* NULL: the host's */
	struct rumpel_task *task; /* of the first thread */
	int fds[4];
	long n, size;
	int64_t other; /* how the second thread ended */
	pthread_barrier_t ready;
};

/* What a broken partner would wait for for ever. */
static void close_all(const struct pair *pair, struct rumpel_task *task)
{
	for (int i = 0; i < 4; i++)
		call(task, SYS_close, pair->fds[i]);
}

typedef int64_t part(const struct pair *pair, struct rumpel_task *task);

struct second {
	struct pair *pair;
	part *run;
};

static void *second_main(void *argument)
{
	const struct second *second = argument;
	struct pair *pair = second->pair;
	struct rumpel_task *task = NULL;
	int error = pair->kernel ? rumpel_task_create(pair->kernel, 0, &task) : 0;

	pair->other = error;
	pthread_barrier_wait(&pair->ready);
	if (!error) {
		pair->other = second->run(pair, task);
		if (pair->other)
			close_all(pair, task);
		if (task)
			rumpel_task_free(task);
	}
	return NULL;
}

/* Runs both parts at once: time until both have ended. */
static int64_t run_pair(struct pair *pair, part *first, part *other)
{
	struct second second = { pair, other };
	int64_t start, result;
	pthread_t thread;

	pthread_barrier_init(&pair->ready, NULL, 2);
	if (pthread_create(&thread, NULL, second_main, &second))
		return -EAGAIN;
	pthread_barrier_wait(&pair->ready);
	start = now();
	result = pair->other ? pair->other : first(pair, pair->task);
	if (result)
		close_all(pair, pair->task);
	pthread_join(thread, NULL);
	start = now() - start;
	pthread_barrier_destroy(&pair->ready);
	if (!result)
		close_all(pair, pair->task);
	if (!result)
		result = pair->other;
	return result ? result : start;
}

static struct pair new_pair(const struct bench *bench, bool ours, long n, long size)
{
	struct pair pair = { .n = n, .size = size };

	if (ours) {
		pair.kernel = bench->kernel;
		pair.task = bench->task;
	}
	return pair;
}

static int open_pipes(struct pair *pair)
{
	long result = call(pair->task, SYS_pipe2, &pair->fds[0], 0);

	if (!result)
		result = call(pair->task, SYS_pipe2, &pair->fds[2], 0);
	return (int)result;
}

/* ---- a byte to and fro ---- */

static int64_t ping(const struct pair *pair, struct rumpel_task *task)
{
	char byte = 'x';
	long result;

	for (long i = 0; i < pair->n; i++) {
		result = call(task, SYS_write, pair->fds[1], &byte, 1);
		if (result == 1)
			result = call(task, SYS_read, pair->fds[2], &byte, 1);
		if (result != 1)
			return failed(result);
	}
	return 0;
}

static int64_t pong(const struct pair *pair, struct rumpel_task *task)
{
	char byte;
	long result;

	for (long i = 0; i < pair->n; i++) {
		result = call(task, SYS_read, pair->fds[0], &byte, 1);
		if (result == 1)
			result = call(task, SYS_write, pair->fds[3], &byte, 1);
		if (result != 1)
			return failed(result);
	}
	return 0;
}

int64_t bench_threads(const struct bench *bench, bool ours, long n, long size)
{
	struct pair pair = new_pair(bench, ours, n, size);
	int error = open_pipes(&pair);

	return error ? error : run_pair(&pair, ping, pong);
}

/* ---- the same by tasks that one thread drives ---- */

/* A task, the descriptors it reads from and writes to, and its byte. */
struct player {
	struct rumpel_task *task;
	int in, out;
	char byte;
};

static int await_byte(struct player *player)
{
	const unsigned long args[6] = { player->in, (unsigned long)&player->byte, 1 };
	long result;

	return rumpel_task_submit(player->task, RUMPEL_SUBMIT_ASYNC, SYS_read, args, &result);
}

/* Whoever's read has ended writes the byte on and reads again: an event loop. */
static int64_t play(struct rumpel_kernel *kernel, struct player players[2], long n)
{
	struct player *player;
	struct rumpel_task *done;
	int64_t start = now();
	long result = call(players[0].task, SYS_write, players[0].out, &players[0].byte, 1);

	if (result == 1 && await_byte(&players[0]) != 0)
		return -EIO;
	for (long i = 0; i < 2 * n && result == 1; i++) {
		result = rumpel_run(kernel, -1, -1, &done, 1);
		if (result != 1)
			break;
		player = done == players[0].task ? &players[0] : &players[1];
		if (rumpel_task_wait(done, 0, &result) != 1 || result != 1)
			break;
		result = call(done, SYS_write, player->out, &player->byte, 1);
		if (result == 1 && await_byte(player) != 0)
			result = -EIO;
	}
	return result == 1 ? now() - start : failed(result);
}

static int64_t run_tasks(const struct pair *pair)
{
	struct player players[2] = {
		{ .in = pair->fds[2], .out = pair->fds[1] },
		{ .in = pair->fds[0], .out = pair->fds[3] },
	};
	int64_t result = 0;

	for (int i = 0; i < 2 && !result; i++)
		result = rumpel_task_create(pair->kernel, 0, &players[i].task);
	if (!result)
		result = await_byte(&players[1]);
	if (!result)
		result = play(pair->kernel, players, pair->n);
	for (int i = 0; i < 2; i++)
		if (players[i].task)
			rumpel_task_free(players[i].task);
	close_all(pair, pair->task);
	return result;
}

int64_t bench_tasks(const struct bench *bench, bool ours, long n, long size)
{
	struct pair pair = new_pair(bench, ours, n, size);
	int error = open_pipes(&pair);

	if (error)
		return error;
	return ours ? run_tasks(&pair) : run_pair(&pair, ping, pong);
}

/* ---- TCP ---- */

static int64_t sender(const struct pair *pair, struct rumpel_task *task)
{
	static char out[MOST];
	long result;

	for (long i = 0; i < pair->n; i++) {
		result = call(task, SYS_write, pair->fds[0], out, pair->size);
		if (result != pair->size)
			return failed(result);
	}
	return 0;
}

static int64_t receiver(const struct pair *pair, struct rumpel_task *task)
{
	static char in[MOST];
	long result;

	for (long left = pair->n * pair->size; left > 0; left -= result) {
		result = call(task, SYS_read, pair->fds[1], in, pair->size);
		if (result <= 0)
			return failed(result);
	}
	return 0;
}

int64_t bench_tcp_threads(const struct bench *bench, bool ours, long n, long size)
{
	struct pair pair = new_pair(bench, ours, n, size);
	int error = size > MOST ? -EINVAL : tcp_pair(pair.task, pair.fds);

	if (error)
		return error;
	pair.fds[2] = pair.fds[3] = -1;
	return run_pair(&pair, sender, receiver);
}
