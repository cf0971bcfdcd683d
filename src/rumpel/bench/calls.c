// SPDX-License-Identifier: GPL-2.0-only
/* Calls that never sleep, made by one thread. */
#include "side.h"

#include <stdlib.h>

int bench_open(const char *image, const char *snapshot, struct bench **result, const char **why)
{
	struct rumpel_config config = { .image = image, .snapshot = snapshot, .error = why };
	struct bench *bench = calloc(1, sizeof(*bench));
	int error = bench ? rumpel_boot(&config, &bench->kernel) : -ENOMEM;

	if (error) {
		bench_close(bench);
		return error;
	}
	bench->task = rumpel_kernel_init(bench->kernel);
	*result = bench;
	return 0;
}

void bench_close(struct bench *bench)
{
	if (bench && bench->task)
		rumpel_halt(bench->kernel);
	if (bench)
		rumpel_kernel_free(bench->kernel);
	free(bench);
}

WORK int64_t getpid_work(struct rumpel_task *task, long n)
{
	int64_t start = now();

	for (long i = 0; i < n; i++)
		call(task, SYS_getpid);
	return now() - start;
}

int64_t bench_getpid(const struct bench *bench, bool ours, long n, long size)
{
	(void)size;
	return ours ? getpid_work(bench->task, n) : getpid_work(NULL, n);
}

WORK int64_t pipe_work(struct rumpel_task *task, long n)
{
	char byte = 'x';
	long result;
	int64_t start;
	int fds[2];

	result = call(task, SYS_pipe2, fds, 0);
	if (result)
		return failed(result);
	start = now();
	for (long i = 0; i < n; i++) {
		result = call(task, SYS_write, fds[1], &byte, 1);
		if (result == 1)
			result = call(task, SYS_read, fds[0], &byte, 1);
		if (result != 1)
			break;
	}
	start = result == 1 ? now() - start : failed(result);
	call(task, SYS_close, fds[0]);
	call(task, SYS_close, fds[1]);
	return start;
}

int64_t bench_pipe(const struct bench *bench, bool ours, long n, long size)
{
	(void)size;
	return ours ? pipe_work(bench->task, n) : pipe_work(NULL, n);
}
