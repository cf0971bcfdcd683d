// SPDX-License-Identifier: GPL-2.0-only
/* Promises of interfaces over unix sockets: streams of frames, and datagrams by name. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nic.h"

#define SECOND 1000000000ull

static struct nic nic;
static int peer = -1;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];
static char here[64], there[64];

static void start(struct rumpel_device *device, size_t rx_size, unsigned int posted)
{
	nic_up(&nic, device, false, rx_size);
	nic_post(&nic, posted);
	fake_run(nic.kernel);
}

/* A connected pair. */
static void up(unsigned int mtu, size_t rx_size, unsigned int posted)
{
	struct rumpel_device *device;
	int fds[2];

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	EQUAL(rumpel_net_fd(fds[0], NULL, mtu, &device), 0);
	close(fds[0]);
	peer = fds[1];
	start(device, rx_size, posted);
}

static void down(void)
{
	fake_kernel_free(nic.kernel);
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void send_pattern(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	nic_send(&nic, frame, len);
}

static void peer_reads(void *data, size_t len)
{
	EQUAL(recv(peer, data, len, MSG_WAITALL | MSG_DONTWAIT), len);
}

static void peer_expects(size_t len, unsigned int seed)
{
	uint32_t prefix;

	peer_reads(&prefix, 4);
	EQUAL(ntohl(prefix), len);
	peer_reads(got, len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void peer_writes(const void *data, size_t len)
{
	EQUAL(send(peer, data, len, MSG_DONTWAIT | MSG_NOSIGNAL), len);
}

static void peer_sends(size_t len, unsigned int seed)
{
	uint32_t prefix = htonl(len);

	nic_pattern(frame, len, seed);
	peer_writes(&prefix, 4);
	peer_writes(frame, len);
}

static void driver_expects(size_t len, unsigned int seed)
{
	EQUAL(nic_receive(&nic, NULL, got), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void expect_silence(void)
{
	EQUAL(recv(peer, got, 1, MSG_DONTWAIT), -1);
	EQUAL(errno, EAGAIN);
}

/* Is the peer's connection over? */
static void expect_end(void)
{
	EQUAL(recv(peer, got, sizeof(got), MSG_DONTWAIT), 0);
}

static void test_both_ways(void)
{
	up(65535, 4096, 40);
	EQUAL(driver_offered(nic.device) & 1ull << VIRTIO_NET_F_CSUM, 0);
	send_pattern(14, 1);
	send_pattern(65549, 2);
	peer_expects(14, 1);
	peer_expects(65549, 2);
	EQUAL(nic_sent(&nic), 2);
	peer_sends(14, 3);
	peer_sends(65549, 4);
	fake_run(nic.kernel);
	driver_expects(14, 3);
	driver_expects(65549, 4);
	EQUAL(fake_stats(nic.device).out_bytes, 65563);
	EQUAL(fake_stats(nic.device).in_bytes, 65563);
	down();
}

/* In whatever pieces the bytes come. */
static void test_pieces(void)
{
	static const size_t cuts[] = { 1, 2, 3, 5, 7, 100, 1000, 4000 };
	uint8_t bytes[2 * 4 + 14 + 1514];
	uint32_t prefix;

	for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
		up(0, 2048, 8);
		prefix = htonl(14);
		memcpy(bytes, &prefix, 4);
		nic_pattern(bytes + 4, 14, 1);
		prefix = htonl(1514);
		memcpy(bytes + 18, &prefix, 4);
		nic_pattern(bytes + 22, 1514, 2);
		for (size_t at = 0; at < sizeof(bytes); at += cuts[i]) {
			size_t left = sizeof(bytes) - at;

			peer_writes(bytes + at, left < cuts[i] ? left : cuts[i]);
			fake_run(nic.kernel);
		}
		driver_expects(14, 1);
		driver_expects(1514, 2);
		down();
	}
}

/* The socket takes a part of a frame; the peer reads byte after byte. */
static void test_full_socket(void)
{
	unsigned int sent = 0, done = 0, received = 0;
	uint32_t prefix;

	up(9000, 2048, 8);
	while (sent - done < 10) {
		CHECK(sent < 10000);
		send_pattern(9000, sent++);
		done += nic_sent(&nic);
	}
	CHECK(done > 5);
	while (received < sent) {
		size_t at = 0;

		peer_reads(&prefix, 4);
		EQUAL(ntohl(prefix), 9000);
		for (; at < 9000; at += 1500) {
			fake_run(nic.kernel);
			peer_reads(got + at, 1500);
		}
		nic_pattern(frame, 9000, received++);
		EQUAL(memcmp(frame, got, 9000), 0);
		fake_run(nic.kernel);
	}
	EQUAL(done + nic_sent(&nic), sent);
	EQUAL(fake_stats(nic.device).out, sent);
	expect_silence();
	down();
}

static void test_no_buffers(void)
{
	up(0, 2048, 1);
	for (int i = 0; i < 5; i++)
		peer_sends(500, i);
	fake_run(nic.kernel);
	driver_expects(500, 0);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	for (int i = 1; i < 5; i++) {
		nic_post(&nic, 1);
		fake_run(nic.kernel);
		driver_expects(500, i);
	}
	down();
}

/* Lengths of no frame are skipped; one that is beyond any frame ends it. */
static void test_hostile_lengths(void)
{
	static const uint32_t beyond[] = { 65558, 0x7fffffff, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		uint32_t prefix = htonl(beyond[i]);

		up(0, 2048, 8);
		peer_sends(0, 1);
		peer_sends(13, 1);
		peer_sends(20, 2);
		peer_writes(&prefix, 4);
		fake_run(nic.kernel);
		driver_expects(20, 2);
		EQUAL(fake_stats(nic.device).errors, 3);
		expect_end();
		/* What is sent from now on is lost. */
		send_pattern(100, 1);
		EQUAL(nic_sent(&nic), 1);
		EQUAL(fake_stats(nic.device).dropped, 1);
		EQUAL(fake_step(nic.kernel), false);
		down();
	}
}

static void test_peer_gone(void)
{
	up(0, 2048, 8);
	peer_sends(100, 1);
	peer_writes("\0\0", 2);
	close(peer);
	peer = -1;
	fake_run(nic.kernel);
	driver_expects(100, 1);
	send_pattern(100, 2);
	EQUAL(nic_sent(&nic), 1);
	EQUAL(fake_stats(nic.device).dropped, 1);
	EQUAL(fake_step(nic.kernel), false);
	down();
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(address.sun_path, path);
	return address;
}

static int bound(int type, const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int connected(int type, const char *path)
{
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);

	EQUAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* One peer at a time; after it, the next one. */
static void test_listen(void)
{
	struct rumpel_device *device;
	int second;

	EQUAL(rumpel_net_unix(here, RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), 0);
	start(device, 2048, 30);
	send_pattern(100, 1);
	EQUAL(fake_stats(device).dropped, 1);
	for (int i = 0; i < 3; i++) {
		peer = connected(SOCK_STREAM, here);
		fake_run(nic.kernel);
		send_pattern(200, i);
		peer_expects(200, i);
		peer_sends(300, i);
		fake_run(nic.kernel);
		driver_expects(300, i);
		/* It waits for its turn. */
		second = connected(SOCK_STREAM, here);
		fake_run(nic.kernel);
		EQUAL(send(second,
			   "\0\0\0\x10"
			   "0123456789abcdef",
			   20, 0),
		      20);
		fake_run(nic.kernel);
		EQUAL(nic_receive(&nic, NULL, got), -1);
		close(peer);
		fake_run(nic.kernel);
		EQUAL(nic_receive(&nic, NULL, got), 16);
		close(second);
		peer = -1;
		fake_run(nic.kernel);
	}
	down();
	CHECK(access(here, F_OK));
}

/* It is tried again until there is somebody, also after that has gone. */
static void test_connect(void)
{
	struct rumpel_device *device;
	int listener;

	EQUAL(rumpel_net_unix(there, 0, 0, NULL, 0, &device), -ENOENT);
	EQUAL(rumpel_net_unix(there, 0, SECOND, NULL, 0, &device), 0);
	start(device, 2048, 30);
	for (int i = 0; i < 3; i++) {
		fake_advance(nic.kernel, 10 * SECOND);
		fake_run(nic.kernel);
		send_pattern(100, 1);
		EQUAL(fake_stats(device).dropped, i + 1);
		listener = bound(SOCK_STREAM, there);
		EQUAL(listen(listener, 1), 0);
		fake_advance(nic.kernel, SECOND);
		fake_run(nic.kernel);
		peer = accept(listener, NULL, NULL);
		CHECK(peer >= 0);
		send_pattern(200, i);
		peer_expects(200, i);
		peer_sends(300, i);
		fake_run(nic.kernel);
		driver_expects(300, i);
		close(listener);
		close(peer);
		peer = -1;
		unlink(there);
		fake_run(nic.kernel);
	}
	EQUAL(fake_step(nic.kernel), false);
	down();
}

/* A name that a dead process left makes way, a living one's does not. */
static void test_names(void)
{
	struct rumpel_device *device;
	char path[200] = "/";
	int fd = bound(SOCK_STREAM, here);

	EQUAL(listen(fd, 1), 0);
	EQUAL(rumpel_net_unix(here, RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), -EADDRINUSE);
	close(fd);
	EQUAL(rumpel_net_unix(here, RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), 0);
	CHECK(!access(here, F_OK));
	rumpel_device_free(device);
	CHECK(access(here, F_OK));
	fd = open(here, O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	EQUAL(rumpel_net_unix(here, RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), -EADDRINUSE);
	EQUAL(unlink(here), 0);
	memset(path, 'x', 150);
	EQUAL(rumpel_net_unix(path, 0, 0, NULL, 0, &device), -ENAMETOOLONG);
	EQUAL(rumpel_net_unix("", 0, 0, NULL, 0, &device), -EINVAL);
	EQUAL(rumpel_net_unix("@rumpel-test-abstract", RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), 0);
	EQUAL(rumpel_net_unix("@rumpel-test-abstract", 0, 0, NULL, 67, &device), -EINVAL);
	rumpel_device_free(device);
	EQUAL(rumpel_net_unix("@rumpel-test-abstract", 0, 0, NULL, 0, &device), -ECONNREFUSED);
}

/* Datagrams: a peer that comes, is full, goes, and comes again. */
static void test_datagrams(void)
{
	struct rumpel_device *device;
	struct sockaddr_un address = address_of(here);
	unsigned int sent = 0, done = 0;

	EQUAL(rumpel_net_datagram(here, there, NULL, 0, &device), 0);
	start(device, 2048, 30);
	send_pattern(100, 1);
	EQUAL(fake_stats(device).dropped, 1);
	EQUAL(nic_sent(&nic), 1);
	for (int i = 0; i < 3; i++) {
		peer = bound(SOCK_DGRAM, there);
		send_pattern(200, i);
		EQUAL(recv(peer, got, sizeof(got), 0), 200);
		nic_pattern(frame, 300, i);
		EQUAL(sendto(peer, frame, 300, 0, (struct sockaddr *)&address, sizeof(address)),
		      300);
		fake_run(nic.kernel);
		driver_expects(300, i);
		close(peer);
		unlink(there);
		peer = -1;
		send_pattern(200, i);
		EQUAL(fake_stats(device).dropped, i + 2);
		nic_sent(&nic);
	}
	peer = bound(SOCK_DGRAM, there);
	while (sent - done < 15) {
		send_pattern(1000, sent++);
		done += nic_sent(&nic);
		CHECK(sent < 10000);
	}
	EQUAL(fake_step(nic.kernel), false);
	for (unsigned int i = 0; i < sent; i++) {
		EQUAL(recv(peer, got, sizeof(got), 0), 1000);
		nic_pattern(frame, 1000, i);
		EQUAL(memcmp(frame, got, 1000), 0);
		fake_run(nic.kernel);
	}
	unlink(there);
	down();
	CHECK(access(here, F_OK));
}

/* A name stays for as long as the device does. */
static void test_fork_without_kernel(void)
{
	struct rumpel_device *device;

	EQUAL(rumpel_net_unix(here, RUMPEL_UNIX_LISTEN, 0, NULL, 0, &device), 0);
	fake_free_in_child(device, here);
	EQUAL(rumpel_net_datagram(here, there, NULL, 0, &device), 0);
	fake_free_in_child(device, here);
}

static const struct test tests[] = {
	{ test_both_ways, "frames cross both ways behind their lengths" },
	{ test_pieces, "in whatever pieces they come" },
	{ test_full_socket, "a full socket takes frames in parts, none is lost" },
	{ test_no_buffers, "without receive buffers, they wait" },
	{ test_hostile_lengths, "a length beyond any frame ends the connection" },
	{ test_peer_gone, "a peer that goes is not waited for" },
	{ test_listen, "who listens takes one peer after the other" },
	{ test_connect, "who connects tries again" },
	{ test_names, "names of sockets" },
	{ test_fork_without_kernel, "a fork's copy leaves the names to the parent" },
	{ test_datagrams, "datagrams to a peer that comes and goes" },
};

int main(int argc, char **argv)
{
	char directory[] = "/tmp/rumpel-stream-XXXXXX";
	int result;

	CHECK(mkdtemp(directory));
	snprintf(here, sizeof(here), "%s/here", directory);
	snprintf(there, sizeof(there), "%s/there", directory);
	result = test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
	rmdir(directory);
	return result;
}
