// SPDX-License-Identifier: GPL-2.0-only
/* Promises of what is written about frames: what Wireshark would read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nic.h"

static struct nic a, b;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];

struct pcap {
	struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snaplen, link;
	} header;
	uint8_t records[1 << 20];
};

static void cable_up(void)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], false, 4096);
	nic_up(&b, device[1], false, 4096);
	nic_post(&a, 30);
	nic_post(&b, 30);
}

static void cable_down(void)
{
	fake_kernel_free(a.kernel);
	fake_kernel_free(b.kernel);
}

/* Checks one record, and goes on to the next. */
static void expect(const uint8_t **at, uint64_t when, size_t len, unsigned int seed)
{
	uint32_t record[4];

	memcpy(record, *at, sizeof(record));
	EQUAL(record[0], when / 1000000000);
	EQUAL(record[1], when % 1000000000);
	EQUAL(record[2], len);
	EQUAL(record[3], len);
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(*at + sizeof(record), frame, len), 0);
	*at += sizeof(record) + len;
}

static void test_file(void)
{
	static struct pcap pcap;
	int fd = memfd_create("pcap", 0);
	const uint8_t *at = pcap.records;
	ssize_t len;

	cable_up();
	EQUAL(rumpel_net_capture(a.device, fd, 0, NULL), 0);
	a.kernel->now = 1234567890123456789ull;
	nic_pattern(frame, 100, 1);
	nic_send(&a, frame, 100);
	a.kernel->now += 1;
	nic_pattern(frame, 9000, 2);
	nic_send(&b, frame, 9000);
	a.kernel->now += 1;
	nic_pattern(frame, 60000, 3);
	nic_send(&a, frame, 60000);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);
	nic_send(&a, frame, 100);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);

	len = pread(fd, &pcap, sizeof(pcap), 0);
	EQUAL(pcap.header.magic, 0xa1b23c4d);
	EQUAL(pcap.header.major, 2);
	EQUAL(pcap.header.minor, 4);
	EQUAL(pcap.header.zone | pcap.header.accuracy, 0);
	CHECK(pcap.header.snaplen >= NIC_FRAME);
	EQUAL(pcap.header.link, 1);
	expect(&at, 1234567890123456789ull, 100, 1);
	expect(&at, 1234567890123456790ull, 9000, 2);
	expect(&at, 1234567890123456791ull, 60000, 3);
	EQUAL(len, at - (const uint8_t *)&pcap);
	cable_down();
	close(fd);
}

/* A frame that nobody took was sent all the same; nonsense was not. */
static void test_what_counts(void)
{
	static struct pcap pcap;
	int fd = memfd_create("pcap", 0);
	const uint8_t *at = pcap.records;
	ssize_t len;

	cable_up();
	EQUAL(rumpel_net_capture(a.device, fd, 0, NULL), 0);
	driver_write(b.device, VIRTIO_MMIO_STATUS, 0);
	nic_pattern(frame, 100, 1);
	nic_send(&a, frame, 13);
	nic_send(&a, frame, 100);
	/* The end of the kernel is the end of the file. */
	cable_down();
	len = pread(fd, &pcap, sizeof(pcap), 0);
	expect(&at, 0, 100, 1);
	EQUAL(len, at - (const uint8_t *)&pcap);
	close(fd);
}

static uint64_t host_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void test_nobody_reads(void)
{
	uint64_t start = host_now();
	uint64_t got_bytes;
	int fds[2];

	EQUAL(pipe(fds), 0);
	cable_up();
	driver_write(b.device, VIRTIO_MMIO_STATUS, 0);
	EQUAL(rumpel_net_capture(a.device, fds[1], 0, NULL), 0);
	for (int i = 0; i < 1000; i++) {
		nic_send(&a, frame, 60000);
		EQUAL(nic_sent(&a), 1);
	}
	got_bytes = fake_stats(a.device).errors;
	CHECK(got_bytes > 100 && got_bytes < 900);
	cable_down();
	CHECK(host_now() - start < 20000000000ull);
	close(fds[0]);
	close(fds[1]);
}

/* A reader that comes late finds a whole file, header first. */
static void test_pipe(void)
{
	static struct pcap pcap;
	const uint8_t *at = pcap.records;
	size_t len = 0;
	ssize_t done;
	int fds[2];

	EQUAL(pipe(fds), 0);
	cable_up();
	EQUAL(rumpel_net_capture(a.device, fds[1], 0, NULL), 0);
	close(fds[1]);
	EQUAL(read(fds[0], &pcap.header, sizeof(pcap.header)), sizeof(pcap.header));
	for (int i = 0; i < 10; i++) {
		nic_pattern(frame, 20000, i);
		nic_send(&a, frame, 20000);
		for (int n = nic_receive(&b, NULL, got) / 4096 + 1; n; n--)
			nic_post(&b, 1);
	}
	/* 200 KB do not fit in a pipe: the rest is written as it is read. */
	while (len < 10 * 20016) {
		done = read(fds[0], pcap.records + len, sizeof(pcap.records) - len);
		CHECK(done > 0);
		len += done;
	}
	cable_down();
	EQUAL(read(fds[0], pcap.records + len, 1), 0);
	for (int i = 0; i < 10; i++)
		expect(&at, 0, 20000, i);
	close(fds[0]);
}

/* Neither this process nor the interface dies of a reader that went away. */
static void test_reader_gone(void)
{
	int fds[2], null;

	EQUAL(pipe(fds), 0);
	cable_up();
	EQUAL(rumpel_net_capture(a.device, fds[1], 0, NULL), 0);
	close(fds[0]);
	for (int i = 0; i < 20; i++) {
		nic_send(&a, frame, 1000);
		usleep(100);
	}
	EQUAL(nic_sent(&a), 20);
	/* Another file, in its place. */
	null = open("/dev/null", O_WRONLY);
	EQUAL(rumpel_net_capture(a.device, null, 0, NULL), 0);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);
	cable_down();
	close(fds[1]);
	close(null);
}

static void test_arguments(void)
{
	struct rumpel_device *disk;
	int fd = open("/dev/null", O_RDONLY);

	EQUAL(rumpel_block_memory(NULL, 4096, 0, &disk), 0);
	EQUAL(rumpel_net_capture(disk, 1, 0, NULL), -EINVAL);
	rumpel_device_free(disk);
	cable_up();
	EQUAL(rumpel_net_capture(a.device, 9999, 0, NULL), -EBADF);
	EQUAL(rumpel_net_capture(a.device, fd, 0, NULL), -EBADF);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);
	cable_down();
	close(fd);
}

/* The child of a fork has no thread that writes: it must not wait for it. */
static void test_fork(void)
{
	int fd = memfd_create("pcap", 0), status;
	struct stat stat;
	pid_t child;

	cable_up();
	EQUAL(rumpel_net_capture(a.device, fd, 0, NULL), 0);
	nic_send(&a, frame, 1000);
	child = fork();
	if (!child) {
		EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);
		_exit(0);
	}
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
	nic_send(&a, frame, 1000);
	cable_down();
	EQUAL(fstat(fd, &stat), 0);
	EQUAL(stat.st_size, 24 + 2 * 1016);
	close(fd);
}

/* Whoever stops it is told, once. */
static void test_full_disk(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	cable_up();
	EQUAL(rumpel_net_capture(a.device, fd, 0, NULL), 0);
	nic_send(&a, frame, 1000);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), -ENOSPC);
	EQUAL(rumpel_net_capture(a.device, -1, 0, NULL), 0);
	cable_down();
	close(fd);
}

static const struct test tests[] = {
	{ test_file, "a file has all frames of both directions, to the nanosecond" },
	{ test_what_counts, "frames that nobody took are there, nonsense is not" },
	{ test_nobody_reads, "a pipe that nobody reads holds up nothing, not even the end" },
	{ test_pipe, "a pipe gets its header before the first frame, and then all of them" },
	{ test_reader_gone, "a reader that goes away harms nobody" },
	{ test_full_disk, "a full disk is told" },
	{ test_arguments, "what cannot be written to, or is no interface, is refused" },
	{ test_fork, "the child of a fork can end what its parent began" },
};

TEST_MAIN(tests)
