// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the console. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "fake.h"

#define ROOM 65536

struct terminal {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queue[2];
	uint64_t in, out;
};

static struct terminal up(int fd)
{
	struct terminal t = { .kernel = fake_kernel(false) };

	EQUAL(rumpel_console(fd, &t.device), 0);
	fake_attach(t.kernel, t.device);
	driver_up(t.device, t.queue, 2, 64);
	t.in = fake_pages(t.kernel, ROOM);
	t.out = fake_pages(t.kernel, ROOM);
	return t;
}

/* Room for input: `count` buffers of `len` bytes. */
static void offer(struct terminal *t, unsigned int count, size_t len)
{
	for (unsigned int i = 0; i < count; i++) {
		struct driver_buffer buffer = { t->in + i * len, len, true };

		driver_add(&t->queue[0], &buffer, 1);
	}
	driver_kick(&t->queue[0]);
	fake_run(t->kernel);
}

static void print(struct terminal *t, const void *text, size_t len)
{
	struct driver_buffer buffers[] = {
		{ t->out, len / 2, false },
		{ t->out + len / 2, len - len / 2, false },
	};

	memcpy(fake_at(t->kernel, t->out), text, len);
	driver_add(&t->queue[1], buffers, 2);
	driver_kick(&t->queue[1]);
	fake_run(t->kernel);
}

static size_t input(struct terminal *t, void *data)
{
	uint32_t head, len;

	fake_run(t->kernel);
	if (!driver_used(&t->queue[0], &head, &len))
		return 0;
	memcpy(data, fake_at(t->kernel, t->queue[0].desc[head].addr), len);
	return len;
}

static void test_socket(void)
{
	char data[100];
	int fds[2];
	struct terminal t;

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	t = up(fds[0]);
	offer(&t, 4, 16);
	fake_interrupts(t.device);
	print(&t, "hello", 5);
	CHECK(fake_interrupts(t.device));
	EQUAL(read(fds[1], data, sizeof(data)), 5);
	EQUAL(memcmp(data, "hello", 5), 0);
	EQUAL(write(fds[1], "a longer answer than 16", 23), 23);
	EQUAL(input(&t, data), 16);
	EQUAL(input(&t, data + 16), 7);
	EQUAL(memcmp(data, "a longer answer than 16", 23), 0);
	EQUAL(fake_stats(t.device).out_bytes, 5);
	EQUAL(fake_stats(t.device).in_bytes, 23);
	fake_kernel_free(t.kernel);
	close(fds[0]);
	close(fds[1]);
}

/* Prints 8 KiB of one letter, which the device takes at once. */
static void print_page(struct terminal *t, unsigned int number)
{
	static char text[8192];

	memset(text, 'a' + number % 26, sizeof(text));
	print(t, text, sizeof(text));
	CHECK(driver_used(&t->queue[1], NULL, NULL));
}

/* The driver spins until its output is taken: no reader may keep it waiting. */
static void test_slow_reader(void)
{
	static char data[8192];
	size_t received = 0, pages = 100;
	int fds[2];
	struct terminal t;

	EQUAL(pipe(fds), 0);
	t = up(fds[1]);
	for (size_t i = 0; i < pages; i++)
		print_page(&t, i);
	while (received < pages * sizeof(data)) {
		ssize_t n = read(fds[0], data, sizeof(data));

		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			EQUAL(data[i], 'a' + (received + i) / sizeof(data) % 26);
		received += n;
		fake_run(t.kernel);
	}
	EQUAL(t.kernel->watches->events & POLLOUT, 0);
	EQUAL(fake_stats(t.device).dropped, 0);
	fake_kernel_free(t.kernel);
	close(fds[0]);
	close(fds[1]);
}

/* What nobody reads is lost from some point on. */
static void test_no_reader(void)
{
	struct rumpel_device_stats stats;
	char byte;
	int fds[2];
	struct terminal t;

	EQUAL(pipe(fds), 0);
	t = up(fds[1]);
	for (int i = 0; i < 200; i++)
		print_page(&t, i);
	stats = fake_stats(t.device);
	EQUAL(stats.out + stats.dropped, 200);
	CHECK(stats.dropped > 50 && stats.out > 100);
	/* A driver that goes does not take back what it printed. */
	driver_write(t.device, VIRTIO_MMIO_STATUS, 0);
	for (uint64_t i = 0; i < stats.out * 8192; i++) {
		EQUAL(read(fds[0], &byte, 1), 1);
		EQUAL(byte, 'a' + i / 8192 % 26);
		if (i % 4096 == 0)
			fake_run(t.kernel);
	}
	fake_kernel_free(t.kernel);
	close(fds[0]);
	close(fds[1]);
}

static void test_no_buffers(void)
{
	char data[64];
	int fds[2];
	struct terminal t;

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	t = up(fds[0]);
	offer(&t, 1, 4);
	EQUAL(write(fds[1], "12345678", 8), 8);
	EQUAL(input(&t, data), 4);
	EQUAL(input(&t, data), 0);
	EQUAL(t.kernel->watches->events, 0);
	offer(&t, 1, 4);
	EQUAL(input(&t, data), 4);
	EQUAL(memcmp(data, "5678", 4), 0);
	fake_kernel_free(t.kernel);
	close(fds[0]);
	close(fds[1]);
}

/* Its end of input is not the end of its output, and nobody spins. */
static void test_end_of_input(void)
{
	char data[64];
	int fds[2];
	struct terminal t;

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	t = up(fds[0]);
	offer(&t, 4, 16);
	EQUAL(write(fds[1], "end", 3), 3);
	EQUAL(shutdown(fds[1], SHUT_WR), 0);
	EQUAL(input(&t, data), 3);
	EQUAL(input(&t, data), 0);
	EQUAL(t.kernel->watches->events, 0);
	print(&t, "still here", 10);
	EQUAL(read(fds[1], data, sizeof(data)), 10);
	fake_kernel_free(t.kernel);
	close(fds[0]);
	close(fds[1]);
}

/* A pipe without a reader: output is lost, no signal kills anybody. */
static void test_reader_gone(void)
{
	int fds[2];
	struct terminal t;

	EQUAL(pipe(fds), 0);
	t = up(fds[1]);
	close(fds[0]);
	print(&t, "one", 3);
	print(&t, "two", 3);
	CHECK(driver_used(&t.queue[1], NULL, NULL));
	CHECK(driver_used(&t.queue[1], NULL, NULL));
	/* The first one was taken before it was known. */
	EQUAL(fake_stats(t.device).dropped, 1);
	fake_kernel_free(t.kernel);
	close(fds[1]);
}

static void test_file(void)
{
	char data[16];
	int fd = memfd_create("log", 0), null = open("/dev/null", O_RDONLY);
	struct terminal t = up(fd);

	print(&t, "to a file", 9);
	EQUAL(pread(fd, data, sizeof(data), 0), 9);
	fake_kernel_free(t.kernel);
	close(fd);
	/* One direction only. */
	t = up(null);
	offer(&t, 1, 16);
	print(&t, "nowhere", 7);
	CHECK(driver_used(&t.queue[1], NULL, NULL));
	EQUAL(input(&t, data), 0);
	fake_kernel_free(t.kernel);
	close(null);
}

static int open_terminal(int *inner)
{
	int outer = posix_openpt(O_RDWR | O_NOCTTY);
	struct termios raw;

	CHECK(outer >= 0 && !grantpt(outer) && !unlockpt(outer));
	*inner = open(ptsname(outer), O_RDWR | O_NOCTTY);
	CHECK(*inner >= 0 && !tcgetattr(*inner, &raw));
	cfmakeraw(&raw);
	EQUAL(tcsetattr(*inner, TCSANOW, &raw), 0);
	return outer;
}

/* Either side of a terminal that nobody reads; the caller's stays as it was. */
static void test_terminal(void)
{
	char data[16];

	for (int side = 0; side < 2; side++) {
		int inner, outer = open_terminal(&inner);
		struct terminal t = up(side ? inner : outer);

		offer(&t, 1, 16);
		EQUAL(write(side ? outer : inner, "typed", 5), 5);
		usleep(1000);
		EQUAL(input(&t, data), 5);
		for (int i = 0; i < 100; i++)
			print_page(&t, i);
		EQUAL(fcntl(inner, F_GETFL) & O_NONBLOCK, 0);
		fake_kernel_free(t.kernel);
		close(inner);
		close(outer);
	}
}

static void test_bad_rings(void)
{
	struct driver_buffer buffer;
	struct terminal t;
	int fds[2];

	for (int which = 0; which < 2; which++) {
		EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		t = up(fds[0]);
		/* Input to read, output to write. */
		buffer = (struct driver_buffer){ t.in, 16, which == 1 };
		driver_add(&t.queue[which], &buffer, 1);
		driver_kick(&t.queue[which]);
		fake_run(t.kernel);
		CHECK(driver_read(t.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		fake_kernel_free(t.kernel);
		close(fds[0]);
		close(fds[1]);
	}
}

static void test_arguments(void)
{
	struct rumpel_device *device;

	EQUAL(rumpel_console(9999, &device), -EBADF);
}

static const struct test tests[] = {
	{ test_socket, "bytes go both ways" },
	{ test_slow_reader, "output is taken at once, and none is lost to a slow reader" },
	{ test_no_reader, "what nobody reads is lost, but for a mebibyte" },
	{ test_no_buffers, "input waits for a slow driver" },
	{ test_end_of_input, "the end of input is not the end" },
	{ test_reader_gone, "a reader that goes away harms nobody" },
	{ test_file, "a file, and one direction only, will do" },
	{ test_terminal, "a terminal that nobody reads holds up nothing" },
	{ test_bad_rings, "bad buffers break the device" },
	{ test_arguments, "a descriptor that is none is refused" },
};

TEST_MAIN(tests)
