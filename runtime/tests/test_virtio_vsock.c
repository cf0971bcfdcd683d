// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the vsock device; the host's programs are real unix sockets. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake.h"

#define CID 5u
#define HOST 2u
#define GUEST_ROOM 65536u /* what the driver of these tests says it has room for */
#define DEVICE_ROOM (256u << 10)
#define PACKET 4096u
#define RING 128

struct world {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queues[3]; /* receive, transmit, events */
	uint64_t rx, tx;
	char path[64];
};

/* A packet that the driver got. */
struct packet {
	struct virtio_vsock_hdr header;
	char data[PACKET];
};

static struct sockaddr_un address(const char *path, int port)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	if (port < 0)
		snprintf(name.sun_path, sizeof(name.sun_path), "%.80s", path);
	else
		snprintf(name.sun_path, sizeof(name.sun_path), "%.80s_%d", path, port);
	return name;
}

/* A buffer of the driver's; the ring has one page for each. */
static void add_rx(struct world *w)
{
	struct driver_queue *queue = &w->queues[0];
	uint16_t slot = queue->next_desc % RING;
	struct driver_buffer buffer = { w->rx + slot * 2ull * PACKET, PACKET, true };

	driver_add(queue, &buffer, 1);
}

static struct world up(bool with_buffers)
{
	struct world w = { .kernel = fake_kernel(false) };
	struct driver_buffer event = { 0 };
	static int number;

	snprintf(w.path, sizeof(w.path), "/tmp/rumpel-vsock-%d-%d", getpid(), number++);
	EQUAL(rumpel_vsock(w.path, CID, &w.device), 0);
	fake_attach(w.kernel, w.device);
	driver_up(w.device, w.queues, 3, RING);
	w.rx = fake_pages(w.kernel, RING * 2ul * PACKET);
	w.tx = fake_pages(w.kernel, DEVICE_ROOM + PACKET);
	event = (struct driver_buffer){ fake_pages(w.kernel, 4096), 4, true };
	driver_add(&w.queues[2], &event, 1);
	for (int i = 0; with_buffers && i < RING - 1; i++)
		add_rx(&w);
	driver_kick(&w.queues[0]);
	fake_run(w.kernel);
	return w;
}

static void down(struct world *w)
{
	fake_kernel_free(w->kernel);
	CHECK(access(w->path, F_OK) < 0);
}

static struct virtio_vsock_hdr packet(uint32_t host_port, uint32_t guest_port, uint16_t op,
				      uint32_t len)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID,
		.dst_cid = HOST,
		.src_port = guest_port,
		.dst_port = host_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = GUEST_ROOM,
	};
}

/* Sends a packet whose bytes are all `byte`, and lets the device serve it. */
static void transmit(struct world *w, struct virtio_vsock_hdr header, char byte)
{
	struct driver_buffer buffer = { w->tx, sizeof(header) + header.len, false };

	memcpy(fake_at(w->kernel, w->tx), &header, sizeof(header));
	memset(fake_at(w->kernel, w->tx + sizeof(header)), byte, header.len);
	driver_add(&w->queues[1], &buffer, 1);
	driver_kick(&w->queues[1]);
	fake_run(w->kernel);
	while (driver_used(&w->queues[1], NULL, NULL))
		;
}

/* The next packet from the device; false: there is none. */
static bool receive(struct world *w, struct packet *got)
{
	struct driver_queue *queue = &w->queues[0];
	uint32_t head, len;

	fake_run(w->kernel);
	if (!driver_used(queue, &head, &len))
		return false;
	CHECK(len >= sizeof(got->header));
	memcpy(got, fake_at(w->kernel, queue->desc[head].addr), len);
	EQUAL(got->header.len, len - sizeof(got->header));
	EQUAL(got->header.src_cid, HOST);
	EQUAL(got->header.dst_cid, CID);
	add_rx(w);
	driver_kick(queue);
	return true;
}

static struct packet expect(struct world *w, uint16_t op)
{
	struct packet got;

	CHECK(receive(w, &got));
	EQUAL(got.header.op, op);
	return got;
}

static void expect_nothing(struct world *w)
{
	struct packet got;

	CHECK(!receive(w, &got));
}

static int listen_at(struct world *w, int port)
{
	struct sockaddr_un name = address(w->path, port);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(name.sun_path);
	EQUAL(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	EQUAL(listen(fd, 8), 0);
	return fd;
}

static void stop_listening(struct world *w, int port, int fd)
{
	unlink(address(w->path, port).sun_path);
	close(fd);
}

/* The driver connects to port 53 of the host: the host's end. */
static int connect_out(struct world *w, uint32_t guest_port)
{
	int server = listen_at(w, 53), fd;

	transmit(w, packet(53, guest_port, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
	EQUAL(expect(w, VIRTIO_VSOCK_OP_RESPONSE).header.buf_alloc, DEVICE_ROOM);
	fd = accept(server, NULL, NULL);
	CHECK(fd >= 0);
	EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	stop_listening(w, 53, server);
	return fd;
}

static int greet(struct world *w, const char *line)
{
	struct sockaddr_un name = address(w->path, -1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	EQUAL(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	EQUAL(write(fd, line, strlen(line)), strlen(line));
	EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

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

/* The host's program does not read: the driver's credit ends, no byte is lost. */
static void test_slow_host(void)
{
	struct world w = up(true);
	int fd = connect_out(&w, 1000);
	uint32_t sent = 0, forwarded = 0;
	static char data[1 << 20];
	struct packet got;
	size_t all = 0;
	ssize_t len;

	/* As Linux does: as much as there is credit for. */
	for (;;) {
		uint32_t room = DEVICE_ROOM - (sent - forwarded);
		uint32_t part = room < 60000 ? room : 60000;

		if (!part)
			break;
		transmit(&w, packet(53, 1000, VIRTIO_VSOCK_OP_RW, part), 'b');
		sent += part;
		while (receive(&w, &got)) {
			EQUAL(got.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			forwarded = got.header.fwd_cnt;
		}
	}
	/* Who closes need not wait for the reader. */
	got.header = packet(53, 1000, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	got.header.flags = 3;
	transmit(&w, got.header, 0);
	expect(&w, VIRTIO_VSOCK_OP_RST);
	while ((len = read(fd, data, sizeof(data))) > 0) {
		all += len;
		fake_run(w.kernel);
	}
	EQUAL(len, 0);
	EQUAL(all, sent);
	CHECK(sent > DEVICE_ROOM);
	EQUAL(data[0], 'b');
	close(fd);
	down(&w);
}

static void test_too_much(void)
{
	struct world w = up(true);
	int fd = connect_out(&w, 1000);
	struct packet got;
	int packets = 0;

	/* A driver that does not care for its credit. */
	do {
		transmit(&w, packet(53, 1000, VIRTIO_VSOCK_OP_RW, 60000), 'c');
		CHECK(packets++ < 100);
	} while (!receive(&w, &got) || got.header.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	EQUAL(got.header.op, VIRTIO_VSOCK_OP_RST);
	EQUAL(fake_stats(w.device).errors, 1);
	close(fd);
	down(&w);
}

/* The driver has no room: the host's program waits, and no byte too much comes. */
static void test_slow_driver(void)
{
	struct world w = up(true);
	int fd = connect_out(&w, 1000);
	static char data[3 * GUEST_ROOM];
	struct virtio_vsock_hdr header;
	uint32_t got_bytes = 0;
	struct packet got;

	EQUAL(write(fd, data, sizeof(data)), sizeof(data));
	while (receive(&w, &got)) {
		EQUAL(got.header.op, VIRTIO_VSOCK_OP_RW);
		got_bytes += got.header.len;
	}
	EQUAL(got_bytes, GUEST_ROOM);
	header = packet(53, 1000, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	header.fwd_cnt = 1000;
	transmit(&w, header, 0);
	EQUAL(expect(&w, VIRTIO_VSOCK_OP_RW).header.len, 1000);
	expect_nothing(&w);
	/* Nonsense is no credit. */
	header.fwd_cnt = 0x80000000;
	transmit(&w, header, 0);
	expect_nothing(&w);
	header.fwd_cnt = GUEST_ROOM + 1000;
	transmit(&w, header, 0);
	while (receive(&w, &got))
		got_bytes += got.header.len;
	EQUAL(got_bytes, 2 * GUEST_ROOM);
	transmit(&w, packet(53, 1000, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0), 0);
	expect(&w, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	close(fd);
	down(&w);
}

static void test_halves(void)
{
	struct world w = up(true);
	int fd = connect_out(&w, 1000);
	struct virtio_vsock_hdr header = packet(53, 1000, VIRTIO_VSOCK_OP_SHUTDOWN, 0);
	char data[8];

	header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	transmit(&w, header, 0);
	EQUAL(read(fd, data, sizeof(data)), 0);
	EQUAL(write(fd, "still", 5), 5);
	EQUAL(expect(&w, VIRTIO_VSOCK_OP_RW).header.len, 5);
	EQUAL(shutdown(fd, SHUT_WR), 0);
	CHECK(expect(&w, VIRTIO_VSOCK_OP_SHUTDOWN).header.flags & VIRTIO_VSOCK_SHUTDOWN_SEND);
	/* A driver that sends after it said that it will not. */
	transmit(&w, packet(53, 1000, VIRTIO_VSOCK_OP_RW, 1), 'd');
	expect(&w, VIRTIO_VSOCK_OP_RST);
	close(fd);

	fd = connect_out(&w, 1001);
	EQUAL(shutdown(fd, SHUT_WR), 0);
	EQUAL(expect(&w, VIRTIO_VSOCK_OP_SHUTDOWN).header.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	transmit(&w, packet(53, 1001, VIRTIO_VSOCK_OP_RW, 5), 'e');
	EQUAL(read(fd, data, sizeof(data)), 5);
	close(fd);
	EQUAL(expect(&w, VIRTIO_VSOCK_OP_SHUTDOWN).header.flags, 3);
	down(&w);
}

static void test_strays(void)
{
	struct world w = up(false);
	struct virtio_vsock_hdr header = packet(1, 2, VIRTIO_VSOCK_OP_RW, 0);
	struct packet got;
	int resets = 0;

	/* More than can be kept while the driver has no buffers: the others wait in its ring. */
	for (int i = 0; i < RING - 8; i++) {
		header = packet(1, 2, VIRTIO_VSOCK_OP_RW, 0);
		if (i == 0)
			header.type = 7;
		if (i == 1)
			header.dst_cid = 77;
		if (i == 2)
			header.src_cid = 78;
		memcpy(fake_at(w.kernel, w.tx + i * 64), &header, sizeof(header));
		driver_add(&w.queues[1],
			   &(struct driver_buffer){ w.tx + i * 64, sizeof(header), false }, 1);
	}
	driver_kick(&w.queues[1]);
	fake_run(w.kernel);
	for (int i = 0; i < 100; i++)
		add_rx(&w);
	driver_kick(&w.queues[0]);
	fake_run(w.kernel);
	for (; driver_used(&w.queues[0], NULL, NULL); resets++)
		add_rx(&w);
	driver_kick(&w.queues[0]);
	fake_run(w.kernel);
	while (driver_used(&w.queues[0], NULL, NULL))
		resets++;
	EQUAL(resets, RING - 8);
	/* And a reset has no answer. */
	transmit(&w, packet(1, 2, VIRTIO_VSOCK_OP_RST, 0), 0);
	CHECK(!receive(&w, &got));
	down(&w);
}

static void test_most(void)
{
	struct world w = up(true);
	int server = listen_at(&w, 53), fds[700];
	int opened = 0, refused = 0;
	struct rlimit limit;
	struct packet got;

	/* Both ends of the connections are ours. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);

	for (uint32_t port = 0; port < 700; port++) {
		transmit(&w, packet(53, port, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
		CHECK(receive(&w, &got));
		if (got.header.op != VIRTIO_VSOCK_OP_RESPONSE) {
			refused++;
			continue;
		}
		fds[opened] = accept(server, NULL, NULL);
		CHECK(fds[opened++] >= 0);
	}
	EQUAL(opened, 512);
	EQUAL(refused, 188);
	/* One that ends makes room for another. */
	transmit(&w, packet(53, 7, VIRTIO_VSOCK_OP_RST, 0), 0);
	transmit(&w, packet(53, 699, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
	expect(&w, VIRTIO_VSOCK_OP_RESPONSE);
	/* A driver that resets the device has lost them all. */
	driver_write(w.device, VIRTIO_MMIO_STATUS, 0);
	fake_run(w.kernel);
	for (int i = 0; i < opened; i++) {
		char byte;

		EQUAL(recv(fds[i], &byte, 1, MSG_DONTWAIT), 0);
		close(fds[i]);
	}
	stop_listening(&w, 53, server);
	down(&w);
}

static void test_bad_packets(void)
{
	struct world w = up(true);
	struct virtio_vsock_hdr header = packet(1, 2, VIRTIO_VSOCK_OP_RW, 1000);
	struct driver_buffer buffer = { w.tx, sizeof(header), false };
	int fd = connect_out(&w, 1000);

	/* Less than it says, less than a header: nothing happens. */
	memcpy(fake_at(w.kernel, w.tx), &header, sizeof(header));
	driver_add(&w.queues[1], &buffer, 1);
	buffer.len = 20;
	driver_add(&w.queues[1], &buffer, 1);
	driver_kick(&w.queues[1]);
	expect_nothing(&w);
	EQUAL(fake_stats(w.device).errors, 2);
	/* What there is no name for, and a second request, end the connection. */
	transmit(&w, packet(53, 1000, 77, 0), 0);
	expect(&w, VIRTIO_VSOCK_OP_RST);
	close(fd);
	fd = connect_out(&w, 1001);
	transmit(&w, packet(53, 1001, VIRTIO_VSOCK_OP_REQUEST, 0), 0);
	expect(&w, VIRTIO_VSOCK_OP_RST);
	close(fd);
	/* A buffer in the wrong direction breaks the device. */
	buffer = (struct driver_buffer){ w.tx, sizeof(header), true };
	driver_add(&w.queues[1], &buffer, 1);
	driver_kick(&w.queues[1]);
	fake_run(w.kernel);
	CHECK(driver_read(w.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	down(&w);
}

/* A chain is no longer than a ring, also if the last of a few is a full table. */
static void test_long_chain(void)
{
	struct world w = up(false);
	struct driver_queue *queue = &w.queues[0];
	uint64_t table = fake_pages(w.kernel, 4096), page = fake_pages(w.kernel, 4096);
	struct vring_desc *desc = fake_at(w.kernel, table);

	for (int i = 0; i < 256; i++)
		desc[i] = (struct vring_desc){ page, 8, VRING_DESC_F_WRITE, 0 };
	for (int i = 0; i < 255; i++) {
		desc[i].flags |= VRING_DESC_F_NEXT;
		desc[i].next = i + 1;
	}
	queue->desc[0] = (struct vring_desc){ page, 64, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1 };
	queue->desc[1] = (struct vring_desc){ table, 4096, VRING_DESC_F_INDIRECT, 0 };
	driver_offer(queue, 0);
	driver_kick(queue);
	transmit(&w, packet(53, 9, VIRTIO_VSOCK_OP_RW, 0), 0);
	CHECK(driver_read(w.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
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
	{ test_slow_host, "a program that does not read holds up the driver, and gets all" },
	{ test_too_much, "a driver that sends more than it may is reset" },
	{ test_slow_driver, "a driver gets no more than it has room for" },
	{ test_halves, "either direction can be over alone" },
	{ test_strays, "packets of no connection are reset, however many" },
	{ test_most, "the number of connections is limited, and a reset ends all" },
	{ test_bad_packets, "packets that make no sense do no harm" },
	{ test_long_chain, "a chain that is too long breaks the device" },
	{ test_fork_without_kernel, "a fork's copy leaves the socket's name to the parent" },
	{ test_fork, "a copy of a kernel is told that its connections are gone" },
	{ test_refuses, "bad identifiers and paths are refused" },
};

TEST_MAIN(tests)
