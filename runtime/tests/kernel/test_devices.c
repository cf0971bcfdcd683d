// SPDX-License-Identifier: GPL-2.0-only
/* Devices with the kernel's own drivers: RUMPEL_IMAGE names the image. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "guest.h"

#define MS 1000000ull
#define CHUNK 65536
#define TOTAL (64u << 20)

/* Two kernels with one interface each. */
static struct rumpel_kernel *sides[2];
static struct rumpel_device *devices[2];

static void boot_both(struct rumpel_clock *clock)
{
	for (int i = 0; i < 2; i++) {
		sides[i] = guest_boot(clock, &devices[i], 1);
		guest_ifup(sides[i], "eth0", i ? "10.0.0.2" : "10.0.0.1");
	}
}

static void end_both(void)
{
	for (int i = 0; i < 2; i++)
		guest_end(sides[i]);
}

/* ---- TCP between two threads ---- */

static unsigned char pattern(uint64_t at)
{
	return at * 7 + (at >> 12);
}

static void fill(unsigned char *data, uint64_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = pattern(at + i);
}

struct sink {
	struct rumpel_task *task;
	long listener;
	uint64_t got;
};

static void *sink_main(void *argument)
{
	struct sink *sink = argument;
	static __thread unsigned char data[CHUNK], expected[CHUNK];
	long fd = guest_call(sink->task, SYS_accept, sink->listener, 0, 0), len;

	CHECK(fd >= 0);
	while ((len = guest_call(sink->task, SYS_read, fd, ptr(data), sizeof(data))) > 0) {
		fill(expected, sink->got, len);
		EQUAL(memcmp(data, expected, len), 0);
		sink->got += len;
	}
	EQUAL(len, 0);
	guest_call(sink->task, SYS_close, fd);
	return NULL;
}

/* From side `from` to the other; every byte is checked. */
static void transfer(int from, uint64_t total)
{
	static unsigned char data[CHUNK];
	struct sink sink = { 0 };
	struct rumpel_task *task;
	pthread_t thread;
	long fd;

	EQUAL(rumpel_task_create(sides[!from], 0, &sink.task), 0);
	EQUAL(rumpel_task_create(sides[from], 0, &task), 0);
	sink.listener = guest_listen(sink.task, "0.0.0.0", 5000);
	EQUAL(pthread_create(&thread, NULL, sink_main, &sink), 0);
	fd = guest_connect(task, from ? "10.0.0.1" : "10.0.0.2", 5000);
	for (uint64_t sent = 0; sent < total;) {
		long len;

		fill(data, sent, sizeof(data));
		len = guest_call(task, SYS_write, fd, ptr(data), sizeof(data));
		CHECK(len > 0);
		sent += len;
	}
	guest_call(task, SYS_close, fd);
	pthread_join(thread, NULL);
	CHECK(sink.got >= total);
	guest_call(sink.task, SYS_close, sink.listener);
	rumpel_task_free(sink.task);
	rumpel_task_free(task);
}

static void test_link(void)
{
	struct rumpel_device_stats stats;

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, devices), 0);
	boot_both(NULL);
	transfer(0, TOTAL);
	transfer(1, TOTAL);
	/* Frames crossed as a whole, none was lost but the first, to nobody. */
	rumpel_device_stats(devices[0], &stats);
	CHECK(stats.out_bytes > TOTAL && stats.out < TOTAL / 5000);
	EQUAL(stats.errors, 0);
	CHECK(stats.dropped < 5);
	end_both();
}

static void test_link_with_delay(void)
{
	EQUAL(rumpel_net_link(MS, 9000, NULL, NULL, devices), 0);
	boot_both(NULL);
	transfer(0, TOTAL / 8);
	end_both();
}

static void test_sockets(void)
{
	static const int kinds[] = { SOCK_SEQPACKET, SOCK_DGRAM };

	for (int kind = 0; kind < 2; kind++) {
		int fds[2];

		EQUAL(socketpair(AF_UNIX, kinds[kind], 0, fds), 0);
		for (int i = 0; i < 2; i++) {
			EQUAL(rumpel_net_fd(fds[i], NULL, kind ? 65000 : 1500, &devices[i]), 0);
			close(fds[i]);
		}
		boot_both(NULL);
		transfer(0, TOTAL / 8);
		transfer(1, TOTAL / 8);
		end_both();
	}
}

/* ---- a kernel that goes while the other sends to it ---- */

static void *flood(void *argument)
{
	struct rumpel_task *task = argument;
	struct sockaddr_in to = guest_address("10.0.0.2", 9);
	static char data[1400];
	long fd = guest_call(task, SYS_socket, AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	uint64_t end = host_now() + 300 * MS;

	while (host_now() < end)
		guest_call(task, SYS_sendto, fd, ptr(data), sizeof(data), 0, ptr(&to), sizeof(to));
	guest_call(task, SYS_close, fd);
	return NULL;
}

static void test_plug_is_pulled(void)
{
	for (int halt = 0; halt < 2; halt++) {
		pthread_t thread;

		EQUAL(rumpel_net_link(0, 0, NULL, NULL, devices), 0);
		boot_both(NULL);
		EQUAL(pthread_create(&thread, NULL, flood, rumpel_kernel_init(sides[0])), 0);
		usleep(100000);
		if (halt)
			EQUAL(rumpel_halt(sides[1]), 0);
		rumpel_kernel_free(sides[1]);
		pthread_join(thread, NULL);
		guest_end(sides[0]);
	}
}

/* ---- virtual time, one thread ---- */

/* A datagram there and back, each way taking the cable's time. */
static uint64_t round_trip(long fds[2])
{
	struct rumpel_task *tasks[2] = { rumpel_kernel_init(sides[0]),
					 rumpel_kernel_init(sides[1]) };
	struct sockaddr_in to = guest_address("10.0.0.2", 7), from = { 0 };
	socklen_t from_len = sizeof(from);
	uint64_t start = rumpel_kernel_now(sides[0]);
	char data[100] = "ping", back[100];

	EQUAL(guest_call(tasks[0], SYS_sendto, fds[0], ptr(data), 5, 0, ptr(&to), sizeof(to)), 5);
	EQUAL(guest_call(tasks[1], SYS_recvfrom, fds[1], ptr(back), sizeof(back), 0, ptr(&from),
			 ptr(&from_len)),
	      5);
	EQUAL(guest_call(tasks[1], SYS_sendto, fds[1], ptr(back), 5, 0, ptr(&from), from_len), 5);
	EQUAL(guest_call(tasks[0], SYS_recvfrom, fds[0], ptr(back), sizeof(back)), 5);
	return rumpel_kernel_now(sides[0]) - start;
}

static void test_exact_delay(void)
{
	struct sockaddr_in echo = guest_address("10.0.0.2", 7);
	struct rumpel_clock *clock;
	long fds[2];

	EQUAL(rumpel_clock_create(1000 * MS, 0, &clock), 0);
	EQUAL(rumpel_net_link(7 * MS, 0, NULL, NULL, devices), 0);
	boot_both(clock);
	for (int i = 0; i < 2; i++)
		fds[i] = guest_call(rumpel_kernel_init(sides[i]), SYS_socket, AF_INET, SOCK_DGRAM,
				    0);
	EQUAL(guest_call(rumpel_kernel_init(sides[1]), SYS_bind, fds[1], ptr(&echo), sizeof(echo)),
	      0);
	/* The first one asks for the address, too. */
	EQUAL(round_trip(fds), 28 * MS);
	for (int i = 0; i < 5; i++)
		EQUAL(round_trip(fds), 14 * MS);
	end_both();
	rumpel_clock_free(clock);
}

/* TCP over a cable, driven by one thread; what passed is in a file. */
static void simulate(int trace)
{
	static const uint8_t macs[2][6] = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };
	static unsigned char out[CHUNK], in[CHUNK];
	struct rumpel_task *writer, *reader;
	uint64_t sent = 0, got = 0, total = 4 << 20;
	struct rumpel_clock *clock;
	long from, to, listener, result;
	bool busy = false;

	EQUAL(rumpel_clock_create(1000 * MS, 0, &clock), 0);
	EQUAL(rumpel_net_link(MS, 0, macs[0], macs[1], devices), 0);
	EQUAL(rumpel_net_capture(devices[0], trace, 0, NULL), 0);
	boot_both(clock);
	writer = rumpel_kernel_init(sides[0]);
	reader = rumpel_kernel_init(sides[1]);
	listener = guest_listen(reader, "0.0.0.0", 5000);
	from = guest_connect(writer, "10.0.0.2", 5000);
	to = guest_call(reader, SYS_accept, listener, 0, 0);
	CHECK(to >= 0);
	while (got < total) {
		const unsigned long args[6] = { from, ptr(out), sizeof(out) };

		if (!busy && sent < total) {
			int done = rumpel_task_submit(writer, 0, SYS_write, args, &result);

			CHECK(done >= 0);
			busy = !done;
			sent += done ? result : 0;
		}
		/* While it waits, this drives both kernels. */
		got += guest_call(reader, SYS_read, to, ptr(in), sizeof(in));
		if (busy && rumpel_task_wait(writer, 0, &result) == 1) {
			busy = false;
			sent += result;
		}
	}
	EQUAL(got, total);
	end_both();
	rumpel_clock_free(clock);
}

static void test_same_trace(void)
{
	char *traces[2];
	struct stat stat[2];

	for (int i = 0; i < 2; i++) {
		int fd = memfd_create("trace", 0);

		simulate(fd);
		EQUAL(fstat(fd, &stat[i]), 0);
		traces[i] = mmap(NULL, stat[i].st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		CHECK(traces[i] != MAP_FAILED);
		close(fd);
	}
	CHECK(stat[0].st_size > 4 << 20);
	EQUAL(stat[0].st_size, stat[1].st_size);
	EQUAL(memcmp(traces[0], traces[1], stat[0].st_size), 0);
}

/* ---- disks, console, entropy: where the image has the drivers ---- */

/* A device file, or -1 if this image has no driver for it. */
static long open_node(struct rumpel_kernel *kernel, const char *path, int flags)
{
	long fd = guest_call(rumpel_kernel_init(kernel), SYS_open, ptr(path), flags, 0);

	if (fd == -ENOENT) {
		printf("    no %s in this image: not tested\n", path);
		return -1;
	}
	CHECK(fd >= 0);
	return fd;
}

static void test_disk(void)
{
	static unsigned char data[1 << 20], back[1 << 20];
	int file = memfd_create("disk", 0);
	struct rumpel_kernel *kernel;
	struct rumpel_device *disk;
	struct rumpel_task *task;
	char path[32];
	long fd;

	EQUAL(ftruncate(file, 16 << 20), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	EQUAL(rumpel_block_file(path, 0, &disk), 0);
	kernel = guest_boot(NULL, &disk, 1);
	task = rumpel_kernel_init(kernel);
	fd = open_node(kernel, "/dev/vda", O_RDWR);
	if (fd >= 0) {
		EQUAL(guest_call(task, SYS_lseek, fd, 0, SEEK_END), 16 << 20);
		fill(data, 1, sizeof(data));
		EQUAL(guest_call(task, SYS_pwrite64, fd, ptr(data), sizeof(data), 512 * 7),
		      sizeof(data));
		EQUAL(guest_call(task, SYS_fsync, fd), 0);
		EQUAL(pread(file, back, sizeof(back), 512 * 7), sizeof(back));
		EQUAL(memcmp(data, back, sizeof(data)), 0);
		/* What was not read before comes from the file. */
		fill(data, 2, sizeof(data));
		EQUAL(pwrite(file, data, sizeof(data), 8 << 20), sizeof(data));
		EQUAL(guest_call(task, SYS_pread64, fd, ptr(back), sizeof(back), 8 << 20),
		      sizeof(back));
		EQUAL(memcmp(data, back, sizeof(data)), 0);
		guest_call(task, SYS_close, fd);
	}
	guest_end(kernel);
	close(file);
}

/* What the kernel has to say goes to its console, too. */
static void expect_output(int fd, const char *text)
{
	static char data[1 << 20];
	size_t got = 0;

	do {
		ssize_t n = read(fd, data + got, sizeof(data) - got - 1);

		CHECK(n > 0);
		got += n;
		data[got] = 0;
	} while (!strstr(data, text));
}

static void test_console(void)
{
	struct rumpel_kernel *kernel;
	struct rumpel_device *console;
	struct rumpel_task *task;
	char text[100];
	int fds[2];
	long fd;

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	EQUAL(rumpel_console(fds[0], &console), 0);
	kernel = guest_boot(NULL, &console, 1);
	task = rumpel_kernel_init(kernel);
	fd = open_node(kernel, "/dev/hvc0", O_RDWR | O_NOCTTY);
	if (fd >= 0) {
		EQUAL(guest_call(task, SYS_write, fd, ptr("hello\n"), 6), 6);
		expect_output(fds[1], "hello\r\n");
		EQUAL(write(fds[1], "typed\n", 6), 6);
		EQUAL(guest_call(task, SYS_read, fd, ptr(text), sizeof(text)), 6);
		EQUAL(memcmp(text, "typed\n", 6), 0);
		guest_call(task, SYS_close, fd);
	}
	guest_end(kernel);
	close(fds[0]);
	close(fds[1]);
}

static bool read_entropy(struct rumpel_clock *clock, unsigned char data[64])
{
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	long fd;

	EQUAL(rumpel_entropy(&device), 0);
	kernel = guest_boot(clock, &device, 1);
	fd = open_node(kernel, "/dev/hwrng", O_RDONLY);
	if (fd >= 0)
		EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_read, fd, ptr(data), 64), 64);
	guest_end(kernel);
	return fd >= 0;
}

static void test_entropy(void)
{
	unsigned char data[4][64];

	for (int i = 0; i < 4; i++) {
		struct rumpel_clock *clock = NULL;

		if (i >= 2)
			EQUAL(rumpel_clock_create(1000 * MS, 0, &clock), 0);
		if (!read_entropy(clock, data[i]))
			return;
		rumpel_clock_free(clock);
	}
	CHECK(memcmp(data[0], data[1], 64));
	EQUAL(memcmp(data[2], data[3], 64), 0);
}

static const struct test tests[] = {
	{ test_link, "TCP over a link, both ways, whole frames" },
	{ test_link_with_delay, "TCP over a link with delay" },
	{ test_sockets, "TCP over both kinds of socket" },
	{ test_plug_is_pulled, "a kernel that goes leaves the other well" },
	{ test_exact_delay, "with a virtual clock a frame takes exactly the cable's time" },
	{ test_same_trace, "two simulations have one trace" },
	{ test_disk, "a disk is written and read" },
	{ test_console, "a console prints and takes input" },
	{ test_entropy, "random numbers, the same ones in virtual time" },
};

TEST_MAIN(tests)
