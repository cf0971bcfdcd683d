// SPDX-License-Identifier: GPL-2.0-only
/*
 * Goodput of TCP over a link: bench_link [threads|one|virtual|rr] [write size [MiB of memory]]
 * threads: a writer and a reader, each with a kernel of its own;
 * one: one thread, that lends itself to either; virtual: the same, in virtual
 * time. With SOCKET=MTU in the environment: over a pair of sockets instead.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "guest.h"

#define SECONDS 3

static struct rumpel_kernel *sides[2];
static struct rumpel_device *devices[2];
static size_t chunk = 65536;
static uint64_t memory = 256 << 20; /* TCP takes its share for windows */
static char out[1 << 20], in[1 << 20];

static void boot_both(struct rumpel_clock *clock, unsigned int flags)
{
	const char *mtu = getenv("SOCKET");
	int fds[2];

	if (!mtu) {
		EQUAL(rumpel_net_link(0, 0, NULL, NULL, devices), 0);
	} else {
		EQUAL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
		for (int i = 0; i < 2; i++)
			EQUAL(rumpel_net_fd(fds[i], NULL, strtoul(mtu, NULL, 0), &devices[i]), 0);
	}
	for (int i = 0; i < 2; i++) {
		struct rumpel_config config = {
			.image = getenv("RUMPEL_IMAGE"),
			.clock = clock,
			.devices = &devices[i],
			.device_count = 1,
			.flags = flags,
			.cmdline = getenv("CMDLINE"),
			.memory = memory,
		};

		EQUAL(rumpel_boot(&config, &sides[i]), 0);
		guest_ifup(sides[i], "eth0", i ? "10.0.0.2" : "10.0.0.1");
	}
}

static void report(const char *what, uint64_t bytes, uint64_t start)
{
	struct rumpel_device_stats stats[2];
	double seconds = (host_now() - start) / 1e9;

	for (int i = 0; i < 2; i++)
		rumpel_device_stats(devices[i], &stats[i]);
	printf("%s: %.2f GB/s; %llu frames of %llu bytes there, %llu back\n", what,
	       bytes / seconds / 1e9, (unsigned long long)stats[0].out,
	       (unsigned long long)(stats[0].out_bytes / stats[0].out),
	       (unsigned long long)stats[1].out);
}

static void *reader_main(void *argument)
{
	long listener = guest_listen(argument, "0.0.0.0", 5000);
	long fd = guest_call(argument, SYS_accept, listener, 0, 0);
	uint64_t got = 0;
	long len;

	CHECK(fd >= 0);
	while ((len = guest_call(argument, SYS_read, fd, ptr(in), chunk)) > 0)
		got += len;
	return (void *)got;
}

static void threads(void)
{
	struct rumpel_task *writer, *reader;
	pthread_t thread;
	uint64_t start;
	void *got;
	long fd;

	boot_both(NULL, 0);
	EQUAL(rumpel_task_create(sides[0], 0, &writer), 0);
	EQUAL(rumpel_task_create(sides[1], 0, &reader), 0);
	EQUAL(pthread_create(&thread, NULL, reader_main, reader), 0);
	usleep(50000);
	fd = guest_connect(writer, "10.0.0.2", 5000);
	start = host_now();
	while (host_now() - start < SECONDS * 1000000000ull)
		CHECK(guest_call(writer, SYS_write, fd, ptr(out), chunk) > 0);
	guest_call(writer, SYS_close, fd);
	pthread_join(thread, &got);
	report("two threads", (uint64_t)got, start);
}

/* One call at a time in either kernel, neither waited for. */
struct stream {
	struct rumpel_task *task;
	long nr, fd;
	void *data;
	bool busy;
	uint64_t done;
};

static void go_on(struct stream *stream)
{
	const unsigned long args[6] = { stream->fd, ptr(stream->data), chunk };
	long result = 0;
	int state;

	if (stream->busy)
		state = rumpel_task_wait(stream->task, 0, &result);
	else
		state = rumpel_task_submit(stream->task, 0, stream->nr, args, &result);
	CHECK(state >= 0 && result >= 0);
	stream->busy = !state;
	stream->done += result;
}

static void one(struct rumpel_clock *clock)
{
	struct stream writer, reader;
	uint64_t start;
	long listener;

	boot_both(clock, clock ? 0 : RUMPEL_BOOT_NO_HOUSEKEEPER);
	writer = (struct stream){ rumpel_kernel_init(sides[0]), SYS_write, 0, out, 0, 0 };
	reader = (struct stream){ rumpel_kernel_init(sides[1]), SYS_read, 0, in, 0, 0 };
	listener = guest_listen(reader.task, "0.0.0.0", 5000);
	writer.fd = guest_call(writer.task, SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	for (long error = -1; error && error != -EISCONN;) {
		struct sockaddr_in to = guest_address("10.0.0.2", 5000);

		error = guest_call(writer.task, SYS_connect, writer.fd, ptr(&to), sizeof(to));
		guest_call(reader.task, SYS_sched_yield, 0);
		guest_call(writer.task, SYS_sched_yield, 0);
		if (clock)
			rumpel_clock_advance(clock, rumpel_clock_now(clock) + 1000000);
	}
	reader.fd = guest_call(reader.task, SYS_accept, listener, 0, 0);
	guest_call(writer.task, SYS_fcntl, writer.fd, 4 /* F_SETFL */, 0);
	start = host_now();
	while (host_now() - start < SECONDS * 1000000000ull) {
		go_on(&writer);
		go_on(&reader);
	}
	report(clock ? "one thread, virtual time" : "one thread", reader.done, start);
}

static void virtual_time(void)
{
	struct rumpel_clock *clock;

	EQUAL(rumpel_clock_create(1000000000, 0, &clock), 0);
	one(clock);
}

static void *echo_main(void *argument)
{
	long listener = guest_listen(argument, "0.0.0.0", 5000), one = 1;
	long fd = guest_call(argument, SYS_accept, listener, 0, 0);
	char byte;

	guest_call(argument, SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, ptr(&one), 4);
	while (guest_call(argument, SYS_read, fd, ptr(&byte), 1) == 1)
		guest_call(argument, SYS_write, fd, ptr(&byte), 1);
	return NULL;
}

static void round_trips(void)
{
	struct rumpel_task *client, *server;
	uint64_t start, count = 0;
	pthread_t thread;
	long fd, one = 1;
	char byte = 0;

	boot_both(NULL, 0);
	EQUAL(rumpel_task_create(sides[0], 0, &client), 0);
	EQUAL(rumpel_task_create(sides[1], 0, &server), 0);
	EQUAL(pthread_create(&thread, NULL, echo_main, server), 0);
	usleep(50000);
	fd = guest_connect(client, "10.0.0.2", 5000);
	guest_call(client, SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, ptr(&one), 4);
	start = host_now();
	for (; host_now() - start < SECONDS * 1000000000ull; count++) {
		EQUAL(guest_call(client, SYS_write, fd, ptr(&byte), 1), 1);
		EQUAL(guest_call(client, SYS_read, fd, ptr(&byte), 1), 1);
	}
	printf("round trip of 1 byte: %.2f us\n", (host_now() - start) / 1e3 / count);
	guest_call(client, SYS_close, fd);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "threads";

	if (argc > 2)
		chunk = strtoul(argv[2], NULL, 0);
	if (argc > 3)
		memory = strtoull(argv[3], NULL, 0) << 20;
	CHECK(chunk && chunk <= sizeof(out));
	if (!strcmp(mode, "threads"))
		threads();
	else if (!strcmp(mode, "one"))
		one(NULL);
	else if (!strcmp(mode, "virtual"))
		virtual_time();
	else
		round_trips();
	for (int i = 0; i < 2; i++)
		rumpel_kernel_free(sides[i]);
	return 0;
}
