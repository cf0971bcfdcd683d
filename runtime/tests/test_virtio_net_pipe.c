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

/* The other end of a stream whose large frames are in memory. */
static void up_shared(struct net_shared *peer)
{
	int memory = memfd_create("test", MFD_CLOEXEC);

	CHECK(memory > 0);
	*peer = (struct net_shared){ 0 };
	EQUAL(net_shared_open(peer, memory, true), 0);
	start(make_of((struct rumpel_pipe){ .read = RUMPEL_PACKETS_VIRTIO,
					    .write = RUMPEL_PACKETS_VIRTIO,
					    .shared = memory }),
	      8);
	close(memory);
}

/* Reads a place, or the size of a frame in the stream. */
static uint32_t read_place(struct net_shared_place *place)
{
	EQUAL(read(from_nic, place, sizeof(place->size)), sizeof(place->size));
	if (place->size & NET_SHARED)
		EQUAL(read(from_nic, (char *)place + sizeof(place->size),
			   sizeof(*place) - sizeof(place->size)),
		      sizeof(*place) - sizeof(place->size));
	return place->size;
}

static void test_shared(void)
{
	const size_t len = 20000, size = RUMPEL_NET_HEADER + len;
	struct net_shared_place place;
	struct net_shared peer;
	unsigned int count = 0;

	up_shared(&peer);
	/* As long as nobody takes them there is room for some, and the rest is in the stream. */
	do {
		const char *at;

		send_pattern(len, count);
		if (!(read_place(&place) & NET_SHARED))
			break;
		EQUAL(place.size & ~NET_SHARED, size);
		at = net_shared_get(&peer, &place);
		CHECK(at);
		nic_pattern(frame, len, count);
		EQUAL(memcmp(at + RUMPEL_NET_HEADER, frame, len), 0);
	} while (count++ < 1000);
	CHECK(count > 4 && count < 1000);
	EQUAL(place.size, size);
	EQUAL(read(from_nic, got, size), size);
	nic_pattern(frame, len, count);
	EQUAL(memcmp(got + RUMPEL_NET_HEADER, frame, len), 0);
	/* Then there is room again, and small ones never go there. */
	net_shared_done(&peer, peer.put);
	send_pattern(100, 1);
	EQUAL(read_place(&place), RUMPEL_NET_HEADER + 100);
	EQUAL(read(from_nic, got, place.size), place.size);
	down();
	net_shared_close(&peer);
}

static void test_shared_input(void)
{
	static const char header[RUMPEL_NET_HEADER];
	struct net_shared_place place;
	struct net_shared peer;

	up_shared(&peer);
	for (unsigned int i = 0; i < 200; i++) {
		struct iovec iov[2] = { { (void *)header, sizeof(header) }, { frame, 3000 + i } };

		nic_pattern(frame, 3000 + i, i);
		/* Who has taken all has given back all. */
		CHECK(net_shared_put(&peer, iov, 2, sizeof(header) + 3000 + i, &place));
		/* Wherever the stream was cut. */
		write_bytes(&place, i % sizeof(place));
		write_bytes((char *)&place + i % sizeof(place), sizeof(place) - i % sizeof(place));
		driver_expects(3000 + i, i);
		nic_post(&nic, 1);
		fake_run(nic.kernel);
	}
	/* Nothing is read that is elsewhere. */
	place.at = 1 << 30;
	write_bytes(&place, sizeof(place));
	expect_event(RUMPEL_PIPE_DAMAGED);
	down();
	net_shared_close(&peer);
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
	{ test_shared, "large frames are put into memory that both ends have, if there is room" },
	{ test_shared_input, "and read from there, wherever the stream was cut" },
	{ test_any_bytes, "any bytes are read to an end" },
};

TEST_MAIN(tests)
