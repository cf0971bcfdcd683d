// SPDX-License-Identifier: GPL-2.0-only
/* Promises of interfaces between streams of packets, and of the formats that these have. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../virtio/net.h"
#include "../virtio/net_shared.h"
#include "../virtio/packets.h"
#include "nic.h"

static struct nic nic;
static int to_nic = -1, from_nic = -1, events = -1, report = -1;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];
static char text[1 << 20];

static void make_pipe(int *reader, int *writer)
{
	int fds[2];

	EQUAL(pipe2(fds, O_NONBLOCK), 0);
	/* Room for the longest packet. */
	EQUAL(fcntl(fds[0], F_SETPIPE_SZ, 1 << 18), 1 << 18);
	*reader = fds[0];
	*writer = fds[1];
}

/* An interface, and the other ends of its streams. */
static struct rumpel_device *make_of(struct rumpel_pipe config)
{
	struct rumpel_device *device;

	make_pipe(&config.in, &to_nic);
	make_pipe(&from_nic, &config.out);
	make_pipe(&events, &config.events);
	make_pipe(&report, &config.report);
	config.name = "test";
	EQUAL(rumpel_net_pipe(&config, NULL, 65535, &device), 0);
	close(config.in);
	close(config.out);
	close(config.events);
	close(config.report);
	return device;
}

static struct rumpel_device *make(enum rumpel_packets write, bool paused)
{
	return make_of((struct rumpel_pipe){ .write = write, .paused = paused });
}

static void start(struct rumpel_device *device, unsigned int posted)
{
	nic_up(&nic, device, false, 4096);
	nic_post(&nic, posted);
	fake_run(nic.kernel);
}

static void up(enum rumpel_packets write, unsigned int posted)
{
	start(make(write, false), posted);
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void down(void)
{
	fake_kernel_free(nic.kernel);
	close_end(&to_nic);
	close_end(&from_nic);
	close_end(&events);
	close_end(&report);
}

static void send_pattern(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	nic_send(&nic, frame, len);
}

static void write_bytes(const void *bytes, size_t len)
{
	EQUAL(write(to_nic, bytes, len), len);
	fake_run(nic.kernel);
}

static void write_text(const char *line)
{
	write_bytes(line, strlen(line));
}

/* What there is to read, as a string: its length. */
static size_t read_all(int fd)
{
	size_t len = 0;
	ssize_t done;

	while ((done = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += done;
	text[len] = 0;
	return len;
}

static void driver_expects(size_t len, unsigned int seed)
{
	EQUAL(nic_receive(&nic, NULL, got), len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, got, len), 0);
}

static void expect_event(char event)
{
	char byte = 0;

	EQUAL(read(events, &byte, 1), event ? 1 : -1);
	EQUAL(byte, event);
}

/* What one interface writes another one reads, in each format. */
static void test_formats(void)
{
	static const size_t lens[] = { 14, 60, 61, 62, 63, 1514, 65549 };
	static const enum rumpel_packets formats[] = { RUMPEL_PACKETS_TEXT, RUMPEL_PACKETS_PCAP,
						       RUMPEL_PACKETS_PCAPNG };

	for (int f = 0; f < 3; f++) {
		size_t len;

		up(formats[f], 40);
		for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
			send_pattern(lens[i], i);
			fake_run(nic.kernel);
			len = read_all(from_nic);
			CHECK(len > lens[i]);
			for (size_t at = 0; at < len; at += 1000)
				write_bytes(text + at, len - at < 1000 ? len - at : 1000);
			driver_expects(lens[i], i);
			nic_post(&nic, 1);
		}
		EQUAL(fake_stats(nic.device).errors, 0);
		expect_event(0);
		down();
	}
}

static void test_text(void)
{
	static const char ping[] = "ffffffffffff0200000000010800"
				   "4500001c00000000400166df0a0000010a000002"
				   "0800f7fe00000001";
	char line[256];

	up(RUMPEL_PACKETS_TEXT, 8);
	/* Upper case, no summary, a carriage return. */
	snprintf(line, sizeof(line), "1.5 > %s\r\n", "FFFFFFFFFFFF0200000000010800AB");
	write_text(line);
	EQUAL(nic_receive(&nic, NULL, got), 15);
	EQUAL(got[14], 0xab);
	snprintf(line, sizeof(line), "0.000000001 < %s whatever this says\n", ping);
	write_text(line);
	EQUAL(nic_receive(&nic, NULL, got), 42);
	nic_send(&nic, got, 42);
	read_all(from_nic);
	CHECK(strstr(text, " > ffffffffffff02"));
	CHECK(strstr(text, " IP 10.0.0.1 > 10.0.0.2 ICMP echo request id 0 seq 1\n"));
	down();
}

/* A line that cannot be read is told by its number, and what follows is read. */
static void test_bad_lines(void)
{
	up(RUMPEL_PACKETS_TEXT, 8);
	write_text("# a remark\n1.0 > 0x\n1.0 > 123\n1.0 > 1234\n"
		   "1.0 > ffffffffffff0200000000010800\n");
	EQUAL(nic_receive(&nic, NULL, got), 14);
	read_all(report);
	CHECK(strstr(text, "test: line 2: "));
	CHECK(strstr(text, "test: line 3: the frame has an odd number"));
	CHECK(strstr(text, "test: line 4: the frame is shorter"));
	EQUAL(fake_stats(nic.device).errors, 3);
	/* One that never ends. */
	memset(text, 'x', 600000);
	for (int at = 0; at < 600000; at += 60000)
		write_bytes(text + at, 60000);
	write_text("\n1.0 > ffffffffffff0200000000010800\n");
	EQUAL(nic_receive(&nic, NULL, got), 14);
	read_all(report);
	CHECK(strstr(text, "test: line 6: the line is longer than any packet"));
	down();
}

static void test_ends(void)
{
	up(RUMPEL_PACKETS_TEXT, 8);
	write_text("1.0 > ffffffffffff0200000000010800");
	EQUAL(nic_receive(&nic, NULL, got), -1);
	close_end(&to_nic);
	fake_run(nic.kernel);
	EQUAL(nic_receive(&nic, NULL, got), 14);
	expect_event(RUMPEL_PIPE_END);
	/* Its own end comes when all is written. */
	send_pattern(100, 1);
	EQUAL(rumpel_net_pipe_end(nic.device), 0);
	fake_run(nic.kernel);
	CHECK(read_all(from_nic) > 200);
	EQUAL(read(from_nic, text, 1), 0);
	expect_event(RUMPEL_PIPE_DONE);
	/* Nobody minds what comes then. */
	send_pattern(100, 1);
	EQUAL(fake_stats(nic.device).dropped, 1);
	down();
}

static void test_broken(void)
{
	up(RUMPEL_PACKETS_TEXT, 8);
	close_end(&from_nic);
	send_pattern(100, 1);
	expect_event(RUMPEL_PIPE_BROKEN);
	send_pattern(100, 1);
	EQUAL(nic_sent(&nic), 2);
	down();
}

/* A capture that is cut off, or of something else, is an end with a reason. */
static void test_damaged(void)
{
	static const uint32_t raw[6] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 101 };
	static const uint32_t cut[10] = { 0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1, 0, 0, 60, 60 };
	static const uint32_t huge[10] = { 0xd4c3b2a1, 0x02000400, 0, 0,	  0,
					   0x01000000, 0,	   0, 0xffffffff, 0 };
	const struct {
		const void *bytes;
		size_t len;
		const char *why;
	} all[] = {
		{ raw, sizeof(raw), "something else than Ethernet" },
		{ cut, sizeof(cut), "ends in the middle" },
		{ huge, sizeof(huge), "would be too long" },
		{ raw, 10, "ends in the middle" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		up(RUMPEL_PACKETS_PCAP, 8);
		write_bytes(all[i].bytes, all[i].len);
		close_end(&to_nic);
		fake_run(nic.kernel);
		expect_event(RUMPEL_PIPE_DAMAGED);
		read_all(report);
		CHECK(strstr(text, all[i].why));
		EQUAL(nic_receive(&nic, NULL, got), -1);
		down();
	}
}

/* When the reader stands still, frames wait, and none is lost. */
static void test_slow_reader(void)
{
	unsigned int sent = 0, done = 0;
	size_t lines = 0;

	up(RUMPEL_PACKETS_TEXT, 8);
	while (sent - done < 10) {
		CHECK(sent < 2000);
		send_pattern(9000, sent++);
		done += nic_sent(&nic);
	}
	while (lines < sent) {
		size_t len = read_all(from_nic);

		for (size_t i = 0; i < len; i++)
			lines += text[i] == '\n';
		fake_run(nic.kernel);
	}
	EQUAL(done + nic_sent(&nic), sent);
	EQUAL(fake_stats(nic.device).out, sent);
	down();
}

/* With no buffers the lines wait, decoded once. */
static void test_slow_driver(void)
{
	up(RUMPEL_PACKETS_TEXT, 1);
	write_text("1.0 > ffffffffffff0200000000010801\n1.0 > ffffffffffff0200000000010802\n"
		   "1.0 > ffffffffffff0200000000010803\n");
	for (int i = 1; i <= 3; i++) {
		EQUAL(nic_receive(&nic, NULL, got), 14);
		EQUAL(got[13], i);
		nic_post(&nic, 1);
		fake_run(nic.kernel);
	}
	down();
}

/* A report that nobody reads holds up nobody. */
static void test_blocked_report(void)
{
	up(RUMPEL_PACKETS_TEXT, 8);
	EQUAL(fcntl(report, F_SETFL, 0), 0);
	for (int i = 0; i < 20000; i++)
		write_text("1.0 > 12\n");
	write_text("1.0 > ffffffffffff0200000000010801\n");
	EQUAL(nic_receive(&nic, NULL, got), 14);
	EQUAL(fake_stats(nic.device).errors, 20000);
	down();
}

/* Two interfaces of a kernel: what is no packet goes from one to the other. */
static void test_joined(void)
{
	struct rumpel_pipe config = { .events = -1, .report = -1, .write = RUMPEL_PACKETS_TEXT };
	struct rumpel_device *left = make(RUMPEL_PACKETS_TEXT, false), *right;
	unsigned int lines = 0, sent = 0;
	static struct nic other;
	int slow;

	config.in = -1;
	make_pipe(&slow, &config.out);
	EQUAL(rumpel_net_pipe(&config, NULL, 0, &right), 0);
	close(config.out);
	EQUAL(rumpel_net_join(left, right), 0);
	EQUAL(rumpel_net_join(left, right), -EINVAL);
	nic_up(&nic, left, false, 4096);
	fake_attach(nic.kernel, right);
	nic_start(&other, nic.kernel, right, ~0ull, 4096);
	nic_post(&nic, 8);
	/* More than fits anywhere, and its reader comes late. */
	for (ssize_t done = 1; done > 0; sent += done > 0) {
		done = write(to_nic, "# a line that is no packet\n", 27);
		fake_run(nic.kernel);
	}
	CHECK(sent > 20000);
	for (int idle = 0; idle < 3; idle++) {
		size_t len = read_all(slow);

		for (size_t i = 0; i < len; i++)
			lines += text[i] == '\n';
		if (len)
			idle = 0;
		fake_run(nic.kernel);
	}
	EQUAL(lines, sent);
	close(slow);
	down();
}

/* On a virtual clock others live before all of a long input has come. */
static void test_rests(void)
{
	struct rumpel_device *device = make(RUMPEL_PACKETS_TEXT, false);
	unsigned int received = 0, rests = 0;

	nic_up(&nic, device, true, 4096);
	nic_post(&nic, 8);
	for (int i = 0; i < 1000; i++)
		EQUAL(write(to_nic, "1.0 > ffffffffffff0200000000010801\n", 35), 35);
	close_end(&to_nic);
	for (;;) {
		unsigned int before = received;

		fake_run(nic.kernel);
		while (nic_receive(&nic, NULL, got) > 0) {
			received++;
			nic_post(&nic, 1);
			fake_run(nic.kernel);
		}
		if (received > before)
			continue;
		if (!nic.kernel->timers)
			break;
		CHECK(received % 256 == 0);
		nic.kernel->now = nic.kernel->timers->deadline;
		rests++;
	}
	EQUAL(received, 1000);
	EQUAL(rests, 3);
	expect_event(RUMPEL_PIPE_END);
	down();
}

static void test_paused(void)
{
	start(make(RUMPEL_PACKETS_TEXT, true), 8);
	write_text("1.0 > ffffffffffff0200000000010801\n");
	EQUAL(nic_receive(&nic, NULL, got), -1);
	EQUAL(rumpel_net_pipe_resume(nic.device), 0);
	fake_run(nic.kernel);
	EQUAL(nic_receive(&nic, NULL, got), 14);
	down();
}

/* Sockets carry both ways, and one of them can end before the other. */
static void test_socket(void)
{
	struct rumpel_pipe config = { .events = -1, .report = -1, .write = RUMPEL_PACKETS_TEXT };
	struct rumpel_device *device;
	int fds[2];

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	config.in = config.out = fds[0];
	EQUAL(rumpel_net_pipe(&config, NULL, 0, &device), 0);
	close(fds[0]);
	to_nic = from_nic = fds[1];
	start(device, 8);
	send_pattern(100, 1);
	EQUAL(rumpel_net_pipe_end(device), 0);
	fake_run(nic.kernel);
	CHECK(read_all(from_nic) > 200);
	EQUAL(read(from_nic, text, 1), 0);
	write_text("1.0 > ffffffffffff0200000000010801\n");
	EQUAL(nic_receive(&nic, NULL, got), 14);
	from_nic = -1;
	down();
}

/* ---- memory that both ends have ---- */

static struct net_shared peer; /* of the other end, with `kicks` */
static int kicks = -1;

static void up_shared(void)
{
	struct rumpel_pipe config = { .read = RUMPEL_PACKETS_VIRTIO,
				      .write = RUMPEL_PACKETS_VIRTIO };
	struct rumpel_device *device;
	int ends[2];

	config.shared = memfd_create("test", MFD_CLOEXEC);
	CHECK(config.shared > 0);
	EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	config.in = config.out = ends[0];
	kicks = ends[1];
	make_pipe(&events, &config.events);
	make_pipe(&report, &config.report);
	config.name = "test";
	peer = (struct net_shared){ 0 };
	EQUAL(net_shared_open(&peer, config.shared, true), 0);
	EQUAL(rumpel_net_pipe(&config, NULL, 65535, &device), 0);
	close(config.shared);
	close(config.in);
	close(config.events);
	close(config.report);
	start(device, NIC_RING);
}

static void down_shared(void)
{
	down();
	net_shared_close(&peer);
	close_end(&kicks);
}

/* How often we were told to look, since last asked. */
static int kicked(void)
{
	char bytes[64];
	ssize_t got = read(kicks, bytes, sizeof(bytes));

	return got < 0 ? 0 : (int)got;
}

static void kick(void)
{
	EQUAL(send(kicks, "", 1, MSG_NOSIGNAL), 1);
	fake_run(nic.kernel);
}

static bool peer_puts(size_t len, unsigned int seed)
{
	static const char header[RUMPEL_NET_HEADER];
	struct iovec iov[2] = { { (void *)header, sizeof(header) }, { frame, len } };

	nic_pattern(frame, len, seed);
	return net_shared_put(&peer, iov, 2, sizeof(header) + len);
}

static void peer_finds(size_t len, unsigned int seed)
{
	const char *bytes = NULL;
	uint32_t size = 0;

	EQUAL(net_shared_find(&peer, &bytes, &size), NET_SHARED_FRAME);
	EQUAL(size, RUMPEL_NET_HEADER + len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(bytes + RUMPEL_NET_HEADER, frame, len), 0);
	net_shared_take(&peer);
}

static void peer_finds_none(void)
{
	const char *bytes;
	uint32_t size;

	EQUAL(net_shared_find(&peer, &bytes, &size), NET_SHARED_EMPTY);
}

/* That a frame takes. */
static unsigned int buffers(size_t len)
{
	return (RUMPEL_NET_HEADER + len + nic.rx_size - 1) / nic.rx_size;
}

/* Small and large. */
static size_t some_len(unsigned int i)
{
	static const size_t lens[] = { 14, 66, 1514, 16384 - RUMPEL_NET_HEADER - 1, 20000, 65549 };

	return lens[i % 6];
}

static void test_shared(void)
{
	const size_t lens[] = { 1514, 20000 };

	for (int kind = 0; kind < 2; kind++) {
		unsigned int count = 0, more;

		up_shared();
		/* Who does not wait is not kicked. */
		do {
			send_pattern(lens[kind], count++);
		} while (nic_sent(&nic) && count < 1000);
		EQUAL(kicked(), 0);
		/* One is not there yet, and it is not told of room for a few. */
		CHECK(count > 8 && count < 1000);
		CHECK(rumpel_net_is_stalled(nic.device));
		for (more = 0; more < count - 1 && !net_shared_made_room(&peer); more++)
			peer_finds(lens[kind], more);
		CHECK(more > (count - 1) / 3 && more < count - 1);
		EQUAL(nic_sent(&nic), 0);
		kick();
		EQUAL(nic_sent(&nic), 1);
		CHECK(!rumpel_net_is_stalled(nic.device));
		for (; more < count; more++)
			peer_finds(lens[kind], more);
		peer_finds_none();
		CHECK(!net_shared_made_room(&peer));
		down_shared();
	}
}

/* All lengths, so that the ring ends anywhere; who waits is kicked once. */
static void test_shared_kicks(void)
{
	up_shared();
	for (unsigned int i = 0; i < 600; i++) {
		CHECK(!net_shared_wait_for_frames(&peer));
		send_pattern(some_len(i), i);
		send_pattern(some_len(i + 1), i + 1);
		EQUAL(nic_sent(&nic), 2);
		EQUAL(kicked(), 1);
		CHECK(net_shared_wait_for_frames(&peer));
		peer_finds(some_len(i), i);
		peer_finds(some_len(i + 1), i + 1);
	}
	/* Kicks that nobody reads do no harm. */
	for (unsigned int i = 0; i < 2000; i++) {
		CHECK(!net_shared_wait_for_frames(&peer));
		send_pattern(60, i);
		peer_finds(60, i);
	}
	EQUAL(fake_stats(nic.device).out, 3200);
	expect_event(0);
	down_shared();
}

static void test_shared_input(void)
{
	up_shared();
	for (unsigned int i = 0; i < 600; i++) {
		CHECK(peer_puts(some_len(i), i));
		/* It sleeps. */
		CHECK(net_shared_publish(&peer));
		CHECK(peer_puts(14, i));
		CHECK(!net_shared_publish(&peer));
		kick();
		driver_expects(some_len(i), i);
		driver_expects(14, i);
		nic_post(&nic, buffers(some_len(i)) + 1);
	}
	EQUAL(fake_stats(nic.device).errors, 0);
	down_shared();
}

/* Without buffers it takes nothing, and of what it takes then it tells who waits for room. */
static void test_shared_without_buffers(void)
{
	unsigned int put = 0, got_of = 0;

	up_shared();
	while (peer_puts(65549, put))
		put++;
	CHECK(!net_shared_wait_for_room(&peer));
	net_shared_publish(&peer);
	kick();
	EQUAL(kicked(), 0);
	while (got_of < put) {
		driver_expects(65549, got_of++);
		nic_post(&nic, buffers(65549));
		fake_run(nic.kernel);
	}
	EQUAL(kicked(), 1);
	CHECK(peer_puts(65549, 1));
	down_shared();
}

static void test_shared_end(void)
{
	up_shared();
	/* The writer ends: what it has put is still there. */
	CHECK(peer_puts(100, 1));
	net_shared_publish(&peer);
	net_shared_end(&peer);
	kick();
	driver_expects(100, 1);
	expect_event(RUMPEL_PIPE_END);
	/* It reads on, and hears of our end. */
	CHECK(!net_shared_wait_for_frames(&peer));
	send_pattern(200, 1);
	EQUAL(kicked(), 1);
	EQUAL(rumpel_net_pipe_end(nic.device), 0);
	fake_run(nic.kernel);
	expect_event(RUMPEL_PIPE_DONE);
	EQUAL(kicked(), 1);
	CHECK(net_shared_has_ended(&peer));
	peer_finds(200, 1);
	/* Both have: ours is closed. */
	EQUAL(read(kicks, text, 1), 0);
	down_shared();
}

static void test_shared_gone(void)
{
	up_shared();
	/* It dies: of what it has put nothing is lost. */
	CHECK(peer_puts(100, 1));
	net_shared_publish(&peer);
	close_end(&kicks);
	fake_run(nic.kernel);
	driver_expects(100, 1);
	expect_event(RUMPEL_PIPE_END);
	/* That nobody reads is told when there is something to be read. */
	expect_event(0);
	send_pattern(100, 1);
	EQUAL(nic_sent(&nic), 1);
	expect_event(RUMPEL_PIPE_BROKEN);
	EQUAL(fake_stats(nic.device).dropped, 1);
	down_shared();
	/* Also while something waits for it. */
	up_shared();
	for (unsigned int i = 0; !rumpel_net_is_stalled(nic.device); i++)
		send_pattern(20000, i);
	close_end(&kicks);
	fake_run(nic.kernel);
	expect_event(RUMPEL_PIPE_BROKEN);
	expect_event(RUMPEL_PIPE_END);
	CHECK(!rumpel_net_is_stalled(nic.device));
	down_shared();
}

/* Whatever the other end writes there, nothing is read that is elsewhere, and it comes to an end. */
static void test_shared_hostile(void)
{
	unsigned int seed = 1, damaged = 0;

	for (int i = 0; i < 300; i++) {
		uint32_t *words;
		long got_len;
		char byte;

		up_shared();
		/* Its own half: the head of it, and the records. */
		words = (uint32_t *)peer.out;
		for (int j = 0; j < 20; j++) {
			uint32_t value = rand_r(&seed) % 3 ? 16u * (rand_r(&seed) % 4096u)
							   : (uint32_t)rand_r(&seed) << 4;

			if (!(rand_r(&seed) % 8))
				memset((char *)words + 4096, rand_r(&seed), 4096);
			words[rand_r(&seed) % 2 ? 0 : rand_r(&seed) % 64] = value;
			words[1024 + rand_r(&seed) % 64] = rand_r(&seed) % 3 ? 0x1000 : value;
			/* And what it may change of ours. */
			((uint32_t *)peer.in)[16 + rand_r(&seed) % 64] = value;
			send_pattern(some_len(j), j);
			while ((got_len = nic_receive(&nic, NULL, got)) >= 0)
				nic_post(&nic, buffers(got_len));
			if (send(kicks, "", 1, MSG_NOSIGNAL) == 1)
				fake_run(nic.kernel);
		}
		while (read(events, &byte, 1) == 1)
			damaged += byte == RUMPEL_PIPE_DAMAGED;
		down_shared();
	}
	CHECK(damaged > 30);
}

/* Whatever the bytes are, nothing outside of them is touched, and it comes to an end. */
static void test_any_bytes(void)
{
	static const char *const begin[] = { "", "\xd4\xc3\xb2\xa1", "\n\r\r\n", "1.0 > ff" };
	unsigned int seed = 1;

	for (int round = 0; round < 20000; round++) {
		struct rumpel_packet_reader reader = { 0 };
		size_t len = rand_r(&seed) % 400, at = strlen(begin[round % 4]);
		char *bytes = malloc(len + 4), *summary = malloc(RUMPEL_PACKET_SUMMARY);
		struct rumpel_packet found;
		enum rumpel_packet_kind kind;

		for (size_t i = 0; i < len; i++)
			bytes[i] = rand_r(&seed) % (round % 3 ? 256 : 8);
		memcpy(bytes, begin[round % 4], at < len ? at : len);
		if (round % 5 == 0 && len > 13)
			memcpy(bytes + 12, round % 2 ? "\x08\x00\x45" : "\x86\xdd\x60", 3);
		CHECK(rumpel_packet_summary(bytes, len, summary) < RUMPEL_PACKET_SUMMARY);
		for (size_t done = 0; done < len; done += found.used) {
			kind = rumpel_packet_read(&reader, bytes + done, len - done, true, &found);
			CHECK(kind != RUMPEL_PACKET_MORE && found.used && found.used <= len - done);
			CHECK(kind != RUMPEL_PACKET_FRAME || found.len >= RUMPEL_FRAME_MIN);
			if (kind == RUMPEL_PACKET_LOST)
				break;
		}
		free(bytes);
		free(summary);
	}
}

static const struct test tests[] = {
	{ test_formats, "frames come back as they were, in each format, in whatever pieces" },
	{ test_text, "text is what people write, and says what tcpdump would" },
	{ test_bad_lines, "lines that cannot be read are told by their numbers" },
	{ test_ends, "the end of a stream passes through, behind all frames" },
	{ test_broken, "nobody who reads is an event" },
	{ test_damaged, "a damaged capture is an end with a reason" },
	{ test_slow_reader, "a slow reader loses nothing" },
	{ test_slow_driver, "a slow driver loses nothing" },
	{ test_blocked_report, "a report that nobody reads holds up nobody" },
	{ test_joined, "lines that are no packets go straight through, and none is lost" },
	{ test_rests, "on a virtual clock others live before all of a long input has come" },
	{ test_paused, "nothing is read before it is asked for" },
	{ test_socket, "a socket carries both directions" },
	{ test_shared, "frames are put into memory that both ends have, until it is full" },
	{ test_shared_kicks, "whoever sleeps is told of them, once" },
	{ test_shared_input, "they are read from there" },
	{ test_shared_without_buffers, "which may take its time, and makes room" },
	{ test_shared_end, "each direction ends by itself" },
	{ test_shared_gone, "the other end may go at any time" },
	{ test_shared_hostile, "and write anything there" },
	{ test_any_bytes, "any bytes are read to an end" },
};

TEST_MAIN(tests)
