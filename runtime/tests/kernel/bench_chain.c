// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCP through routers in one process: bench_chain [routers [MiB [write size]]]
 * Says what a segment costs: CPU time, switches of threads, frames.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/resource.h>

#include "line.h"

static struct line chain;
static size_t chunk = 1 << 20;
static char out[1 << 20], in[1 << 20];

static void *reader_main(void *argument)
{
	long listener = guest_listen(argument, "0.0.0.0", 5000);
	long fd = guest_call(argument, SYS_accept, listener, 0, 0);
	uint64_t got = 0, calls = 0;
	long len;

	while ((len = guest_call(argument, SYS_read, fd, ptr(in), sizeof(in))) > 0) {
		got += len;
		calls++;
	}
	printf("%.0f KiB a read, ", got / 1024.0 / calls);
	return (void *)got;
}

static double seconds(struct timeval t)
{
	return t.tv_sec + t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	unsigned int routers = argc > 1 ? strtoul(argv[1], NULL, 0) : 4;
	uint64_t left = (argc > 2 ? strtoull(argv[2], NULL, 0) : 512) << 20, size = left;
	struct rumpel_task *writer, *reader;
	struct rumpel_device_stats there, back;
	struct rusage before, after;
	char address[32];
	pthread_t thread;
	uint64_t start;
	double took, user, sys;
	void *got;
	long fd;

	if (argc > 3)
		chunk = strtoul(argv[3], NULL, 0);
	line_boot(&chain, routers + 2, 0, 0, 0);
	EQUAL(rumpel_task_create(chain.kernels[0], 0, &writer), 0);
	EQUAL(rumpel_task_create(chain.kernels[routers + 1], 0, &reader), 0);
	EQUAL(pthread_create(&thread, NULL, reader_main, reader), 0);
	usleep(50000);
	fd = guest_connect(writer, line_address(routers, 2, address), 5000);
	getrusage(RUSAGE_SELF, &before);
	start = host_now();
	for (long n; left; left -= n) {
		n = guest_call(writer, SYS_write, fd, ptr(out), left < chunk ? left : chunk);
		CHECK(n > 0);
	}
	guest_call(writer, SYS_close, fd);
	pthread_join(thread, &got);
	took = (host_now() - start) / 1e9;
	getrusage(RUSAGE_SELF, &after);
	EQUAL((uint64_t)got, size);
	rumpel_device_stats(chain.devices[0][1], &there);
	rumpel_device_stats(chain.devices[routers + 1][0], &back);
	user = seconds(after.ru_utime) - seconds(before.ru_utime);
	sys = seconds(after.ru_stime) - seconds(before.ru_stime);
	printf("%u routers: %.0f MB/s, CPU %.2f s a GB (user %.2f, sys %.2f), %.2f switches a "
	       "frame; "
	       "%llu frames of %llu bytes, %llu back\n",
	       routers, size / took / 1e6, (user + sys) / size * 1e9, user / size * 1e9,
	       sys / size * 1e9,
	       (double)(after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw) /
		       there.out,
	       (unsigned long long)there.out, (unsigned long long)(there.out_bytes / there.out),
	       (unsigned long long)back.out);
	for (unsigned int i = 1; i <= routers; i++) {
		rumpel_device_stats(chain.devices[i][1], &there);
		printf("  cable %u: %llu frames of %llu bytes\n", i, (unsigned long long)there.out,
		       (unsigned long long)(there.out_bytes / there.out));
	}
	line_end(&chain);
	return 0;
}
