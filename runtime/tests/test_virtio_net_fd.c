// SPDX-License-Identifier: GPL-2.0-only
/* Promises of an interface whose frames go to a socket. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic.h"

static struct nic nic;
static int peer;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];

static void up(int type, unsigned int mtu, size_t rx_size, unsigned int posted)
{
	struct rumpel_device *device;
	int fds[2], size = 1 << 20;

	EQUAL(socketpair(AF_UNIX, type, 0, fds), 0);
	for (int i = 0; i < 2; i++)
		EQUAL(setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	EQUAL(rumpel_net_fd(fds[0], NULL, mtu, &device), 0);
	close(fds[0]);
	peer = fds[1];
	nic_up(&nic, device, false, rx_size);
	nic_post(&nic, posted);
	fake_run(nic.kernel);
}

static void down(void)
{
	fake_kernel_free(nic.kernel);
	if (peer >= 0)
		close(peer);
}

static void send_pattern(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	nic_send(&nic, frame, len);
}

/* The peer's next message is this frame. */
static void peer_expects(size_t len, unsigned int seed)
{
	EQUAL(recv(peer, got, sizeof(got), MSG_DONTWAIT), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void peer_sends(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	EQUAL(send(peer, frame, len, MSG_DONTWAIT), len);
}

static void driver_expects(size_t len, unsigned int seed)
{
	EQUAL(nic_receive(&nic, NULL, got), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static const int kinds[] = { SOCK_SEQPACKET, SOCK_DGRAM };

static void test_both_ways(void)
{
	for (int i = 0; i < 2; i++) {
		struct virtio_net_hdr_v1 header;

		up(kinds[i], 0, 2048, 8);
		CHECK(!(driver_offered(nic.device) & 1ull << VIRTIO_NET_F_CSUM));
		fake_interrupts(nic.device);
		send_pattern(14, 1);
		send_pattern(1514, 2);
		peer_expects(14, 1);
		peer_expects(1514, 2);
		EQUAL(nic_sent(&nic), 2);
		CHECK(fake_interrupts(nic.device));
		driver_write(nic.device, VIRTIO_MMIO_INTERRUPT_ACK, 3);
		peer_sends(14, 3);
		peer_sends(1522, 4);
		fake_run(nic.kernel);
		CHECK(fake_interrupts(nic.device));
		nic_pattern(frame, 14, 3);
		EQUAL(nic_receive(&nic, &header, got), 14);
		EQUAL(memcmp(frame, got, 14), 0);
		EQUAL(header.flags | header.gso_type | header.gso_size | header.csum_start, 0);
		driver_expects(1522, 4);
		EQUAL(fake_stats(nic.device).out, 2);
		EQUAL(fake_stats(nic.device).out_bytes, 1528);
		EQUAL(fake_stats(nic.device).in, 2);
		EQUAL(fake_stats(nic.device).in_bytes, 1536);
		down();
	}
}

static void test_large(void)
{
	up(SOCK_SEQPACKET, 65535, 4096, 40);
	for (int i = 0; i < 5; i++) {
		send_pattern(65549, i);
		peer_expects(65549, i);
		peer_sends(65549, i);
		fake_run(nic.kernel);
		driver_expects(65549, i);
		nic_post(&nic, 17);
	}
	down();
}

/* More than one system call takes, with buffers on the way. */
static void test_many(void)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	unsigned int received = 0, sent = 0;

	up(SOCK_SEQPACKET, 0, 2048, NIC_RING - 4);
	while (received < 1000) {
		for (int i = 0; i < 15; i++) {
			nic_pattern(frame, 100 + i, sent++);
			nic_queue(&nic, &header, frame, 100 + i);
		}
		driver_kick(&nic.tx);
		fake_run(nic.kernel);
		EQUAL(nic_sent(&nic), 15);
		for (int i = 0; i < 15; i++) {
			peer_expects(100 + i, received + i);
			peer_sends(100 + i, received + i);
		}
		fake_run(nic.kernel);
		for (int i = 0; i < 15; i++)
			driver_expects(100 + i, received + i);
		received += 15;
		nic_post(&nic, 15);
	}
	down();
}

static void test_full_socket(void)
{
	for (int kind = 0; kind < 2; kind++) {
		unsigned int sent = 0, received = 0, done = 0;

		up(kinds[kind], 0, 2048, 4);
		/* Until frames stay in the queue. */
		for (; sent - done < 10; sent++) {
			CHECK(sent < 100000);
			send_pattern(1000, sent);
			done += nic_sent(&nic);
		}
		CHECK(done > 5);
		/* They go when the peer reads, in order and complete. */
		while (received < sent) {
			peer_expects(1000, received++);
			fake_run(nic.kernel);
		}
		EQUAL(nic_sent(&nic), sent - done);
		EQUAL(fake_stats(nic.device).out, sent);
		EQUAL(fake_stats(nic.device).dropped, 0);
		/* Nobody looks at room in the socket now. */
		EQUAL(nic.kernel->watches->events, POLLIN);
		down();
	}
}

static void test_no_buffers(void)
{
	up(SOCK_SEQPACKET, 0, 2048, 2);
	for (int i = 0; i < 100; i++)
		peer_sends(100 + i, i);
	fake_run(nic.kernel);
	driver_expects(100, 0);
	driver_expects(101, 1);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	EQUAL(nic.kernel->watches->events, 0);
	for (int i = 2; i < 100; i++) {
		nic_post(&nic, 1);
		fake_run(nic.kernel);
		driver_expects(100 + i, i);
	}
	EQUAL(fake_stats(nic.device).dropped, 0);
	nic_post(&nic, 1);
	fake_run(nic.kernel);
	EQUAL(nic.kernel->watches->events, POLLIN);
	down();
}

static void test_no_frames(void)
{
	struct driver_buffer buffers[2];

	up(SOCK_DGRAM, 1500, 2048, 8);
	/* From the peer: too long, too short, empty; then a good one. */
	peer_sends(1500 + 14 + 9, 1);
	peer_sends(13, 1);
	peer_sends(0, 1);
	peer_sends(1500 + 14 + 8, 2);
	fake_run(nic.kernel);
	driver_expects(1500 + 14 + 8, 2);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	EQUAL(fake_stats(nic.device).errors, 3);
	/* From the driver: too short, too long, not to be read; then a good one. */
	send_pattern(13, 1);
	send_pattern(65535 + 14 + 8 + 1, 1);
	buffers[0] = (struct driver_buffer){ nic.tx_pa, 100, false };
	buffers[1] = (struct driver_buffer){ nic.tx_pa + 4096, 100, true };
	driver_add(&nic.tx, buffers, 2);
	send_pattern(60, 3);
	peer_expects(60, 3);
	EQUAL(nic_sent(&nic), 4);
	EQUAL(fake_stats(nic.device).errors, 6);
	EQUAL(fake_stats(nic.device).out, 1);
	down();
}

static void test_peer_gone(void)
{
	for (int kind = 0; kind < 2; kind++) {
		up(kinds[kind], 0, 2048, 8);
		peer_sends(60, 1);
		close(peer);
		peer = -1;
		fake_run(nic.kernel);
		/* What it had said is still heard. */
		driver_expects(60, 1);
		send_pattern(60, 2);
		send_pattern(60, 3);
		EQUAL(nic_sent(&nic), 2);
		EQUAL(fake_stats(nic.device).dropped, 2);
		EQUAL(nic.kernel->watches->events, 0);
		down();
	}
}

/* Frames in a full socket, and then nobody to read them. */
static void test_peer_gone_while_full(void)
{
	unsigned int sent = 0, done = 0;

	up(SOCK_SEQPACKET, 0, 2048, 4);
	for (; sent - done < 10; sent++) {
		send_pattern(1000, sent);
		done += nic_sent(&nic);
	}
	close(peer);
	peer = -1;
	fake_run(nic.kernel);
	EQUAL(nic_sent(&nic), 10);
	EQUAL(fake_stats(nic.device).dropped, 10);
	down();
}

/* Errors of a network are no end: its next datagram may get through. */
static void test_refused_by_the_network(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct rumpel_device *device;
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), port = socket(AF_INET, SOCK_DGRAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	EQUAL(bind(port, (struct sockaddr *)&address, len), 0);
	EQUAL(getsockname(port, (struct sockaddr *)&address, &len), 0);
	EQUAL(connect(fd, (struct sockaddr *)&address, len), 0);
	close(port);
	EQUAL(rumpel_net_fd(fd, NULL, 0, &device), 0);
	close(fd);
	peer = -1;
	nic_up(&nic, device, false, 2048);
	nic_post(&nic, 4);
	for (int i = 0; i < 4; i++)
		send_pattern(60, i);
	EQUAL(nic_sent(&nic), 4);
	port = socket(AF_INET, SOCK_DGRAM, 0);
	EQUAL(bind(port, (struct sockaddr *)&address, len), 0);
	/* At most one hears of the refusals before. */
	send_pattern(60, 5);
	send_pattern(60, 6);
	peer = port;
	if (fake_stats(device).out == 6)
		peer_expects(60, 5);
	peer_expects(60, 6);
	down();
}

static void test_reset(void)
{
	up(SOCK_SEQPACKET, 0, 2048, 1);
	for (int i = 0; i < 3; i++)
		peer_sends(60, i);
	fake_run(nic.kernel);
	driver_write(nic.device, VIRTIO_MMIO_STATUS, 0);
	fake_run(nic.kernel);
	EQUAL(fake_stats(nic.device).dropped, 2);
	peer_sends(60, 4);
	nic_start(&nic, nic.kernel, nic.device, ~0ull, 2048);
	nic_post(&nic, 4);
	fake_run(nic.kernel);
	driver_expects(60, 4);
	down();
}

static void test_bad_ring(void)
{
	struct driver_buffer buffer;

	up(SOCK_SEQPACKET, 0, 2048, 0);
	buffer = (struct driver_buffer){ nic.rx_pa, 2048, false };
	driver_add(&nic.rx, &buffer, 1);
	driver_kick(&nic.rx);
	peer_sends(60, 1);
	fake_run(nic.kernel);
	CHECK(driver_read(nic.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	down();
}

static void test_arguments(void)
{
	struct rumpel_device *device;
	int fds[2], null = open("/dev/null", O_RDWR);

	EQUAL(rumpel_net_fd(null, NULL, 0, &device), -ENOTSOCK);
	EQUAL(rumpel_net_fd(9999, NULL, 0, &device), -EBADF);
	EQUAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	EQUAL(rumpel_net_fd(fds[0], NULL, 67, &device), -EINVAL);
	close(fds[0]);
	close(fds[1]);
	close(null);
}

static const struct test tests[] = {
	{ test_both_ways, "frames cross both ways, over both kinds of socket" },
	{ test_large, "up to the largest MTU" },
	{ test_many, "in batches, none lost, none twice" },
	{ test_full_socket, "with a full socket, frames wait in the queue" },
	{ test_no_buffers, "without receive buffers, they wait in the socket" },
	{ test_no_frames, "what is no frame is an error, and holds up nothing" },
	{ test_peer_gone, "a peer that goes is not waited for" },
	{ test_peer_gone_while_full, "also one that left the socket full" },
	{ test_refused_by_the_network, "an error of the network is no end" },
	{ test_reset, "what was read for a driver that goes is forgotten" },
	{ test_bad_ring, "bad receive buffers break the device" },
	{ test_arguments, "other descriptors are refused" },
};

TEST_MAIN(tests)
