// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the vsock device: who is connected; the host's programs are real unix sockets. */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_driver.h"

static void test_out(void)
{
	struct world w = up(true);
	char data[100];
	int fd = connect_out(&w, 1000);
	struct packet got;

	transmit(&w, packet(53, 1000, VIRTIO_VSOCK_OP_RW, 20), 'a');
	EQUAL(read(fd, data, sizeof(data)), 20);
	EQUAL(data[19], 'a');
	EQUAL(write(fd, "answer", 6), 6);
	got = expect(&w, VIRTIO_VSOCK_OP_RW);
	EQUAL(got.header.len, 6);
	EQUAL(got.header.src_port, 53);
	EQUAL(got.header.dst_port, 1000);
	EQUAL(got.header.fwd_cnt, 20);
	CHECK(!memcmp(got.data, "answer", 6));
	/* The driver closes: the host reads the end, the driver is told at once. */
	got.header = packet(53, 1000, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	got.header.flags = 3;
	transmit(&w, got.header, 0);
	expect(&w, VIRTIO_VSOCK_OP_RST);
	EQUAL(read(fd, data, sizeof(data)), 0);
	EQUAL(fake_stats(w.device).in_bytes, 6);
	EQUAL(fake_stats(w.device).out_bytes, 20);
	close(fd);
	down(&w);
}

static void test_in(void)
{
	struct world w = up(true);
	int fd = greet(&w, "CONNECT 52\nand more");
	struct packet got = expect(&w, VIRTIO_VSOCK_OP_REQUEST);
	char data[100];

	EQUAL(got.header.dst_port, 52);
	EQUAL(read(fd, data, sizeof(data)), -1);
	transmit(&w, packet(got.header.src_port, 52, VIRTIO_VSOCK_OP_RESPONSE, 0), 0);
	CHECK(read(fd, data, sizeof(data)) > 4);
	CHECK(!memcmp(data, "OK ", 3));
	got = expect(&w, VIRTIO_VSOCK_OP_RW);
	EQUAL(got.header.len, 8);
	CHECK(!memcmp(got.data, "and more", 8));
	/* The host's program ends: so does the connection, in both directions. */
	close(fd);
	EQUAL(expect(&w, VIRTIO_VSOCK_OP_SHUTDOWN).header.flags, 3);
	transmit(&w, packet(got.header.src_port, 52, VIRTIO_VSOCK_OP_RST, 0), 0);
	expect_nothing(&w);
	down(&w);
}

static void test_refused(void)
{
	struct world w = up(true);
	struct packet got;
	char data[8];
	int fd;

	transmit(&w, packet(99, 1000, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
	got = expect(&w, VIRTIO_VSOCK_OP_RST);
	EQUAL(got.header.src_port, 99);
	EQUAL(got.header.dst_port, 1000);
	fd = greet(&w, "CONNECT 52\n");
	got = expect(&w, VIRTIO_VSOCK_OP_REQUEST);
	transmit(&w, packet(got.header.src_port, 52, VIRTIO_VSOCK_OP_RST, 0), 0);
	EQUAL(read(fd, data, sizeof(data)), 0);
	close(fd);
	expect_nothing(&w);
	down(&w);
}

static void test_greetings(void)
{
	static const char *const bad[] = {
		"HELLO\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT -1\n",
		"CONNECT 1 2\n",
		"CONNECT 4294967295\n",
		"CONNECT 4294967348\n",
		"connect 52\n",
		"CONNECT +52\n",
		"CONNECT 0000000000000000000000000000000",
	};
	struct world w = up(true);
	char data[8];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = greet(&w, bad[i]);

		expect_nothing(&w);
		/* The end, or that not all was read. */
		CHECK(read(fd, data, sizeof(data)) == 0 || errno == ECONNRESET);
		close(fd);
	}
	/* In pieces it is as good. */
	for (int fd = greet(&w, "CONN"); fd >= 0; fd = -1) {
		expect_nothing(&w);
		EQUAL(write(fd, "ECT 52\n", 7), 7);
		expect(&w, VIRTIO_VSOCK_OP_REQUEST);
		close(fd);
	}
	down(&w);
}

/* Who goes in the middle of the line uses up no place, however many they are. */
static void test_half_greetings(void)
{
	struct world w = up(true);
	char data[8];
	int fd;

	for (int i = 0; i < 600; i++) {
		fd = greet(&w, "CONN");
		expect_nothing(&w);
		if (i % 2) {
			/* It waits for an answer to what it will never say. */
			EQUAL(shutdown(fd, SHUT_WR), 0);
			expect_nothing(&w);
			CHECK(read(fd, data, sizeof(data)) == 0 || errno == ECONNRESET);
		}
		close(fd);
		expect_nothing(&w);
	}
	/* Who has said it all may shut it down. */
	fd = greet(&w, "CONNECT 52\n");
	EQUAL(shutdown(fd, SHUT_WR), 0);
	expect(&w, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	EQUAL(fake_stats(w.device).dropped, 0);
	down(&w);
}

static void test_no_descriptors(void)
{
	struct world w = up(true);
	struct rlimit limit, none;
	int fd = greet(&w, "CONNECT 52\n");

	/* The next one to be had would be `fd + 1`, for what it has connected to. */
	EQUAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ fd + 1, limit.rlim_max };
	EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
	expect_nothing(&w);
	fake_advance(w.kernel, 1000000000);
	expect_nothing(&w);
	EQUAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
	/* Nobody else comes. */
	fake_advance(w.kernel, 1000000000);
	expect(&w, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	down(&w);
}

static void test_fork_without_kernel(void)
{
	char path[64];
	struct rumpel_device *device;

	snprintf(path, sizeof(path), "/tmp/rumpel-vsock-fork-%d", getpid());
	EQUAL(rumpel_vsock(path, CID, &device), 0);
	fake_free_in_child(device, path);
}

static void test_fork(void)
{
	struct world w = up(true);
	int fd = connect_out(&w, 1000), server = listen_at(&w, 53);
	struct virtio_vsock_event event;
	uint32_t head, len;
	char byte;

	w.device->ops->fork(w.device, RUMPEL_FORK_PREPARE);
	w.device->ops->fork(w.device, RUMPEL_FORK_CHILD);
	CHECK(driver_used(&w.queues[2], &head, &len));
	EQUAL(len, sizeof(event));
	memcpy(&event, fake_at(w.kernel, w.queues[2].desc[head].addr), sizeof(event));
	EQUAL(event.id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	EQUAL(read(fd, &byte, 1), 0);
	/* Whoever listens, listens for the parent. */
	transmit(&w, packet(53, 1001, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
	expect(&w, VIRTIO_VSOCK_OP_RST);
	close(fd);
	stop_listening(&w, 53, server);
	/* The socket's name is the parent's. */
	EQUAL(access(w.path, F_OK), 0);
	unlink(w.path);
	down(&w);
}

static void test_refuses(void)
{
	struct rumpel_device *device;
	char path[200];

	EQUAL(rumpel_vsock("/tmp/x", 2, &device), -EINVAL);
	EQUAL(rumpel_vsock("/tmp/x", 0xffffffff, &device), -EINVAL);
	EQUAL(rumpel_vsock("", 3, &device), -EINVAL);
	EQUAL(rumpel_vsock("/nowhere/at/all", 3, &device), -ENOENT);
	memset(path, 'x', sizeof(path));
	path[100] = '\0';
	EQUAL(rumpel_vsock(path, 3, &device), -ENAMETOOLONG);
	path[0] = '/';
	path[199] = '\0';
	EQUAL(rumpel_vsock(path, 3, &device), -ENAMETOOLONG);
}

static const struct test tests[] = {
	{ test_out, "the kernel connects to a program of the host" },
	{ test_in, "a program of the host connects to the kernel" },
	{ test_refused, "where nobody listens, connections are refused" },
	{ test_greetings, "who does not name a port is not connected" },
	{ test_half_greetings, "who goes while it greets leaves nothing behind" },
	{ test_no_descriptors, "who comes when there are no descriptors is connected later" },
	{ test_fork_without_kernel, "a fork's copy leaves the socket's name to the parent" },
	{ test_fork, "a copy of a kernel is told that its connections are gone" },
	{ test_refuses, "bad identifiers and paths are refused" },
};

TEST_MAIN(tests)
