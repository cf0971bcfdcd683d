// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the vsock device: slow and hostile ends hold up nobody. */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vsock_driver.h"

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

static const struct test tests[] = {
	{ test_slow_host, "a program that does not read holds up the driver, and gets all" },
	{ test_too_much, "a driver that sends more than it may is reset" },
	{ test_slow_driver, "a driver gets no more than it has room for" },
	{ test_halves, "either direction can be over alone" },
	{ test_strays, "packets of no connection are reset, however many" },
	{ test_most, "the number of connections is limited, and a reset ends all" },
	{ test_bad_packets, "packets that make no sense do no harm" },
	{ test_long_chain, "a chain that is too long breaks the device" },
};

TEST_MAIN(tests)
