// SPDX-License-Identifier: GPL-2.0-only
/* What a call costs in a shared kernel, and two processes that wake each other; beside the host's. */
#include "guest.h"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static long host_call(long nr, const unsigned long args[6])
{
	return syscall(nr, args[0], args[1], args[2], args[3], args[4], args[5]);
}

static void getpid_loop(long (*run)(long nr, const unsigned long args[6]), const char *name)
{
	const unsigned long none[6] = { 0 };
	const int count = 2000000;
	double best = 1e9, start;

	for (int round = 0; round < 5; round++) {
		start = now();
		for (int i = 0; i < count; i++)
			run(SYS_getppid, none);
		start = now() - start;
		if (start < best)
			best = start;
	}
	printf("%-28s %8.1f ns\n", name, best / count * 1e9);
}

static void ping_pong(long (*run)(long nr, const unsigned long args[6]), bool shared,
		      const char *name)
{
	const int count = 20000;
	int to[2], from[2];
	char byte = 0;
	double start, best = 1e9;
	pid_t child;

	run(SYS_pipe, (unsigned long[6]){ ptr(to) });
	run(SYS_pipe, (unsigned long[6]){ ptr(from) });
	child = shared ? fork_attached() : fork();
	for (int round = 0; round < 5; round++) {
		start = now();
		for (int i = 0; i < count; i++) {
			if (child)
				run(SYS_write, (unsigned long[6]){ to[1], ptr(&byte), 1 });
			run(SYS_read, (unsigned long[6]){ child ? from[0] : to[0], ptr(&byte), 1 });
			if (!child)
				run(SYS_write, (unsigned long[6]){ from[1], ptr(&byte), 1 });
		}
		start = now() - start;
		if (start < best)
			best = start;
	}
	if (!child)
		leave(0);
	waitpid(child, NULL, 0);
	printf("%-28s %8.2f us\n", name, best / count * 1e6);
}

static void bench(void *argument)
{
	(void)argument;
	getpid_loop(rumpel_shared->call, "getppid, shared kernel");
	getpid_loop(host_call, "getppid, host");
	ping_pong(rumpel_shared->call, true, "pipe round trip, shared");
	ping_pong(host_call, false, "pipe round trip, host");
	fflush(stdout);
}

int main(void)
{
	struct guest guest = guest_start(NULL);

	expect_status(spawn(bench, NULL), 0);
	guest_end(&guest, 0);
	return 0;
}
