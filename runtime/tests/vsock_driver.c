// SPDX-License-Identifier: GPL-2.0-only
/* A driver of a vsock device, for tests. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vsock_driver.h"

static struct sockaddr_un address(const char *path, int port)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };

	if (port < 0)
		snprintf(name.sun_path, sizeof(name.sun_path), "%.80s", path);
	else
		snprintf(name.sun_path, sizeof(name.sun_path), "%.80s_%d", path, port);
	return name;
}

void add_rx(struct world *w)
{
	struct driver_queue *queue = &w->queues[0];
	uint16_t slot = queue->next_desc % RING;
	struct driver_buffer buffer = { w->rx + slot * 2ull * PACKET, PACKET, true };

	driver_add(queue, &buffer, 1);
}

struct world up(bool with_buffers)
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

void down(struct world *w)
{
	fake_kernel_free(w->kernel);
	CHECK(access(w->path, F_OK) < 0);
}

struct virtio_vsock_hdr packet(uint32_t host_port, uint32_t guest_port, uint16_t op, uint32_t len)
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

void transmit(struct world *w, struct virtio_vsock_hdr header, char byte)
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

bool receive(struct world *w, struct packet *got)
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

struct packet expect(struct world *w, uint16_t op)
{
	struct packet got;

	CHECK(receive(w, &got));
	EQUAL(got.header.op, op);
	return got;
}

void expect_nothing(struct world *w)
{
	struct packet got;

	CHECK(!receive(w, &got));
}

int listen_at(struct world *w, int port)
{
	struct sockaddr_un name = address(w->path, port);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	unlink(name.sun_path);
	EQUAL(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	EQUAL(listen(fd, 8), 0);
	return fd;
}

void stop_listening(struct world *w, int port, int fd)
{
	unlink(address(w->path, port).sun_path);
	close(fd);
}

int connect_out(struct world *w, uint32_t guest_port)
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

int greet(struct world *w, const char *line)
{
	struct sockaddr_un name = address(w->path, -1);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	EQUAL(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	EQUAL(write(fd, line, strlen(line)), strlen(line));
	EQUAL(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}
