// SPDX-License-Identifier: GPL-2.0-only
/* A copy of a booted kernel by fork(), and nothing else: how soon its child can use it. */
#include "side.h"

#include <sys/wait.h>
#include <unistd.h>

static int64_t clone_once(struct rumpel_task *task)
{
	int64_t start, end = 0;
	int fds[2], status;
	pid_t pid;

	if (pipe(fds))
		return -errno;
	start = now();
	pid = fork();
	if (!pid) {
		if (call(task, SYS_getpid) > 0)
			end = now();
		_exit(write(fds[1], &end, sizeof(end)) != sizeof(end));
	}
	close(fds[1]);
	if (pid > 0 && read(fds[0], &end, sizeof(end)) != sizeof(end))
		end = 0;
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !end)
		return -EIO;
	return end - start;
}

int64_t bench_clone(const struct bench *bench, bool ours, long n, long size)
{
	int64_t sum = 0, took;

	(void)size;
	for (long i = 0; i < n; i++) {
		took = clone_once(ours ? bench->task : NULL);
		if (took < 0)
			return took;
		sum += took;
	}
	return sum;
}
