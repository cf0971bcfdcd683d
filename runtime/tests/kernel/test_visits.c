// SPDX-License-Identifier: GPL-2.0-only
/* Kernels in a row, run by whoever sends something through them. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "line.h"

#define TRIPS 200
#define PORT 7

#ifdef __SANITIZE_THREAD__
/* Frames lie in memory of kernels, whose own ways to order what they do with it are not seen. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
	return "race:rumpel_iov_copy\n";
}
#endif

static long udp(struct rumpel_task *task, const char *ip, bool connect)
{
	struct sockaddr_in address = guest_address(ip, PORT);
	long fd = guest_call(task, SYS_socket, AF_INET, SOCK_DGRAM, 0);

	EQUAL(guest_call(task, connect ? SYS_connect : SYS_bind, fd, ptr(&address),
			 sizeof(address)),
	      0);
	return fd;
}

static void *echo_main(void *argument)
{
	struct rumpel_task *task = argument;
	long fd = udp(task, "0.0.0.0", false), len;
	socklen_t size = sizeof(struct sockaddr_in);
	struct sockaddr_in from;
	char data[64];

	while ((len = guest_call(task, SYS_recvfrom, fd, ptr(data), sizeof(data), 0, ptr(&from),
				 ptr(&size))) > 0)
		guest_call(task, SYS_sendto, fd, ptr(data), len, 0, ptr(&from), size);
	return NULL;
}

/* How often the threads of this process that are not in `known` have gone to sleep. */
static unsigned long sleeps(const char *known, char *names, size_t size)
{
	DIR *tasks = opendir("/proc/self/task");
	unsigned long total = 0, count;
	char path[300], line[256], name[300];
	struct dirent *entry;
	FILE *file;

	CHECK(tasks);
	names[0] = 0;
	while ((entry = readdir(tasks))) {
		snprintf(name, sizeof(name), "<%s>", entry->d_name);
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		if (entry->d_name[0] == '.' || strstr(known, name) || !(file = fopen(path, "r")))
			continue;
		CHECK(strlen(names) + strlen(name) < size);
		strcat(names, name);
		while (fgets(line, sizeof(line), file))
			if (sscanf(line, "voluntary_ctxt_switches: %lu", &count) == 1)
				total += count;
		fclose(file);
	}
	closedir(tasks);
	return total;
}

/* Round trips; how often threads have gone to sleep meanwhile that are not in `known`. */
static unsigned long trips(struct rumpel_task *client, long fd, const char *known)
{
	char others[1024], byte = 'x';
	unsigned long before = sleeps(known, others, sizeof(others));

	for (int i = 0; i < TRIPS; i++) {
		EQUAL(guest_call(client, SYS_sendto, fd, ptr(&byte), 1), 1);
		EQUAL(guest_call(client, SYS_recvfrom, fd, ptr(&byte), 1), 1);
	}
	return sleeps(known, others, sizeof(others)) - before;
}

/*
 * The threads of routers that nobody calls sleep on while packets go through. If each
 * packet woke each of them that would be six times a round trip. Where there is no CPU
 * for a while they are woken all the same: one time out of many is enough.
 */
static void undisturbed(void)
{
	char known[1024], routers[1024], address[32];
	struct rumpel_task *client, *server;
	unsigned int tries = 0;
	struct line line;
	pthread_t thread;
	long fd;

	sleeps("", known, sizeof(known));
	line_boot(&line, 5, 0, RUMPEL_BOOT_NO_HOUSEKEEPER, 0);
	/* The housekeepers of the three in the middle. */
	sleeps(known, routers, sizeof(routers));
	EQUAL(rumpel_task_create(line.kernels[0], 0, &client), 0);
	EQUAL(rumpel_task_create(line.kernels[4], 0, &server), 0);
	EQUAL(pthread_create(&thread, NULL, echo_main, server), 0);
	/* Until they see that nobody calls. */
	usleep(100000);
	sleeps(routers, known, sizeof(known));
	fd = udp(client, line_address(3, 2, address), true);
	while (trips(client, fd, known) > 4 * TRIPS)
		CHECK(++tries < 200);
	EQUAL(rumpel_halt(line.kernels[4]), 0);
	pthread_join(thread, NULL);
	line_end(&line);
}

/* A neighbour that does not answer is given up by a timer, which a visitor has set. */
static void timers(void)
{
	static const char *path = "/proc/sys/net/ipv4/neigh/eth1/retrans_time_ms";
	struct rumpel_task *client, *init;
	struct line line;
	long fd, one = 1;
	char byte = 'x';

	line_boot(&line, 3, 0, 0, 0);
	init = rumpel_kernel_init(line.kernels[1]);
	fd = guest_call(init, SYS_open, ptr(path), O_WRONLY, 0);
	EQUAL(guest_call(init, SYS_write, fd, ptr("10"), 2), 2);
	guest_call(init, SYS_close, fd);
	usleep(100000);
	client = rumpel_kernel_init(line.kernels[0]);
	fd = udp(client, "10.0.1.77", true);
	EQUAL(guest_call(client, SYS_setsockopt, fd, IPPROTO_IP, IP_RECVERR, ptr(&one), 4), 0);
	EQUAL(guest_call(client, SYS_sendto, fd, ptr(&byte), 1), 1);
	EQUAL(guest_call(client, SYS_recvfrom, fd, ptr(&byte), 1), -EHOSTUNREACH);
	line_end(&line);
}

struct talker {
	struct rumpel_kernel *kernel;
	const char *to;
	atomic_bool *stop;
	pthread_t thread;
};

/* Sends, and takes what comes, until it is told to stop or its kernel ends. */
static void *talk(void *argument)
{
	struct talker *talker = argument;
	struct rumpel_task *task;
	char data[1000] = "x";
	long in, out, result;

	EQUAL(rumpel_task_create(talker->kernel, 0, &task), 0);
	in = udp(task, "0.0.0.0", false);
	out = udp(task, talker->to, true);
	do {
		result = guest_call(task, SYS_sendto, out, ptr(data), sizeof(data));
		guest_call(task, SYS_recvfrom, in, ptr(data), sizeof(data), MSG_DONTWAIT);
	} while (!atomic_load(talker->stop) && result != -ESHUTDOWN);
	return NULL;
}

static void talkers(struct line *line, struct talker talkers[4], atomic_bool *stop)
{
	static const char *const to[4] = { "10.0.5.2", "10.0.0.1", "10.0.5.2", "10.0.0.1" };
	static const unsigned int from[4] = { 0, 6, 1, 5 };

	for (int i = 0; i < 4; i++) {
		talkers[i] = (struct talker){ .kernel = line->kernels[from[i]],
					      .to = to[i],
					      .stop = stop };
		EQUAL(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]), 0);
	}
}

static void join(struct talker talkers[4])
{
	for (int i = 0; i < 4; i++)
		pthread_join(talkers[i].thread, NULL);
}

/* Threads that visit a kernel from both sides let go of it. */
static void halts(void)
{
	struct talker all[4];
	struct line line;

	for (int round = 0; round < 3; round++) {
		atomic_bool stop = false;

		line_boot(&line, 7, 0, 0, 0);
		talkers(&line, all, &stop);
		usleep(50000);
		for (int n = 2; n < 5; n++) {
			/* Not every one is halted before it is freed. */
			if ((n + round) % 3)
				EQUAL(rumpel_halt(line.kernels[n]), 0);
			rumpel_kernel_free(line.kernels[n]);
			line.kernels[n] = NULL;
			usleep(10000);
		}
		atomic_store(&stop, true);
		join(all);
		line_end(&line);
	}
}

/* The child has whole copies, that talk, of kernels which were being visited. */
static void forks(void)
{
	atomic_bool stop = false;
	struct talker all[4];
	struct line line;
	int status;

	line_boot(&line, 7, 0, 0, 0);
	talkers(&line, all, &stop);
	for (int i = 0; i < 3; i++) {
		pid_t child;

		usleep(20000);
		child = fork();
		CHECK(child >= 0);
		if (!child) {
			struct rumpel_task *init = rumpel_kernel_init(line.kernels[0]);
			long fd = udp(init, "10.0.5.2", true);
			char byte = 'x';

			EQUAL(guest_call(init, SYS_sendto, fd, ptr(&byte), 1), 1);
			for (unsigned int n = 0; n < line.count; n++)
				EQUAL(guest_call(rumpel_kernel_init(line.kernels[n]), SYS_getpid),
				      1);
			_exit(0);
		}
		EQUAL(waitpid(child, &status, 0), child);
		EQUAL(status, 0);
	}
	atomic_store(&stop, true);
	join(all);
	line_end(&line);
}

static const struct test tests[] = {
	{ undisturbed, "who sends through kernels that nobody calls runs them" },
	{ timers, "timers of a kernel expire that only visitors have run" },
	{ halts, "kernels that are being visited can be halted and freed" },
	{ forks, "a fork copies kernels that are being visited" },
};

TEST_MAIN(tests)
