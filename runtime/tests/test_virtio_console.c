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

/* A descriptor that blocks must not block the kernel. */
static void test_full(void)
{
	static char text[8192], data[8192];
	size_t sent = 0, received = 0, done = 0;
	int fds[2];
	struct terminal t;

	EQUAL(pipe(fds), 0);
	t = up(fds[1]);
	for (; sent - done < 3; sent++) {
		memset(text, 'a' + sent % 26, sizeof(text));
		print(&t, text, sizeof(text));
		while (driver_used(&t.queue[1], NULL, NULL))
			done++;
		CHECK(sent < 100);
		/* What waits is in the buffer: each must have one of its own. */
		t.out += sizeof(text);
		t.out = t.out + sizeof(text) > t.in + 2 * ROOM ? t.in + ROOM : t.out;
	}
	while (received < sent * sizeof(text)) {
		ssize_t n = read(fds[0], data, sizeof(data));

		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			EQUAL(data[i], 'a' + (received + i) / sizeof(text) % 26);
		received += n;
		fake_run(t.kernel);
	}
	while (driver_used(&t.queue[1], NULL, NULL))
		done++;
	EQUAL(done, sent);
	EQUAL(t.kernel->watches->events & POLLOUT, 0);
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
	EQUAL(fake_stats(t.device).dropped, 2);
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
	static char text[4096];
	char data[16];

	for (int side = 0; side < 2; side++) {
		int inner, outer = open_terminal(&inner);
		struct terminal t = up(side ? inner : outer);
		unsigned int sent = 0, done = 0;

		offer(&t, 1, 16);
		EQUAL(write(side ? outer : inner, "typed", 5), 5);
		usleep(1000);
		EQUAL(input(&t, data), 5);
		for (; sent - done < 3; sent++) {
			CHECK(sent < 1000);
			print(&t, text, sizeof(text));
			while (driver_used(&t.queue[1], NULL, NULL))
				done++;
		}
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
	{ test_full, "output waits for a slow reader; none is lost" },
	{ test_no_buffers, "input waits for a slow driver" },
	{ test_end_of_input, "the end of input is not the end" },
	{ test_reader_gone, "a reader that goes away harms nobody" },
	{ test_file, "a file, and one direction only, will do" },
	{ test_terminal, "a terminal that nobody reads holds up nothing" },
	{ test_bad_rings, "bad buffers break the device" },
	{ test_arguments, "a descriptor that is none is refused" },
};

TEST_MAIN(tests)
