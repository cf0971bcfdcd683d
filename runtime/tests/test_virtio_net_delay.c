// SPDX-License-Identifier: GPL-2.0-only
/* Promises of a cable with delay, on a virtual clock that both kernels share. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "nic.h"

#define MS 1000000ull
#define DELAY (3 * MS)

static struct nic a, b;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];

static void cable_up(unsigned int posted)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(DELAY, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], true, 4096);
	nic_up(&b, device[1], true, 4096);
	a.kernel->now = b.kernel->now = 1000 * MS;
	nic_post(&a, 8);
	nic_post(&b, posted);
	fake_run(a.kernel);
	fake_run(b.kernel);
}

static void cable_down(void)
{
	fake_kernel_free(a.kernel);
	fake_kernel_free(b.kernel);
}

static void run_both(void)
{
	while (fake_step(a.kernel) | fake_step(b.kernel))
		;
}

static uint64_t next_deadline(void)
{
	uint64_t next = RUMPEL_NO_DEADLINE;

	if (a.kernel->timers)
		next = a.kernel->timers->deadline;
	if (b.kernel->timers && b.kernel->timers->deadline < next)
		next = b.kernel->timers->deadline;
	return next;
}

/* What a virtual clock does: jumps to the next deadline. False: there is none. */
static bool jump(void)
{
	uint64_t next;

	run_both();
	next = next_deadline();
	if (next == RUMPEL_NO_DEADLINE)
		return false;
	a.kernel->now = b.kernel->now = next;
	run_both();
	return true;
}

static void send_tagged(struct nic *nic, uint8_t tag)
{
	nic_pattern(frame, 200, tag);
	nic_send(nic, frame, 200);
}

static void expect_tagged(struct nic *nic, uint8_t tag)
{
	EQUAL(nic_receive(nic, NULL, got), 200);
	nic_pattern(frame, 200, tag);
	EQUAL(memcmp(frame, got, 200), 0);
}

static void test_exact(void)
{
	cable_up(8);
	send_tagged(&a, 1);
	/* The sender's buffers are its own again at once. */
	EQUAL(nic_sent(&a), 1);
	run_both();
	a.kernel->now = b.kernel->now += MS;
	send_tagged(&a, 2);
	send_tagged(&a, 3);
	EQUAL(nic_receive(&b, NULL, got), -1);
	CHECK(jump());
	EQUAL(b.kernel->now, 1003 * MS);
	expect_tagged(&b, 1);
	EQUAL(nic_receive(&b, NULL, got), -1);
	CHECK(jump());
	EQUAL(b.kernel->now, 1004 * MS);
	expect_tagged(&b, 2);
	expect_tagged(&b, 3);
	CHECK(!jump());
	cable_down();
}

static void test_not_a_bit_early(void)
{
	cable_up(8);
	send_tagged(&a, 1);
	run_both();
	a.kernel->now = b.kernel->now += DELAY - 1;
	run_both();
	EQUAL(nic_receive(&b, NULL, got), -1);
	a.kernel->now = b.kernel->now += 1;
	run_both();
	expect_tagged(&b, 1);
	cable_down();
}

/* The cable remembers frames whose sender is gone. */
static void test_sender_gone(void)
{
	cable_up(8);
	send_tagged(&a, 1);
	fake_kernel_free(a.kernel);
	fake_run(b.kernel);
	fake_advance(b.kernel, DELAY);
	fake_run(b.kernel);
	expect_tagged(&b, 1);
	fake_kernel_free(b.kernel);
}

/* But not those whose receiver is. */
static void test_receiver_gone(void)
{
	cable_up(8);
	send_tagged(&a, 1);
	run_both();
	driver_write(b.device, VIRTIO_MMIO_STATUS, 0);
	CHECK(!b.kernel->timers);
	EQUAL(fake_stats(b.device).dropped, 1);
	nic_start(&b, b.kernel, b.device, ~0ull, 4096);
	nic_post(&b, 8);
	send_tagged(&a, 2);
	while (jump())
		;
	expect_tagged(&b, 2);
	EQUAL(nic_receive(&b, NULL, got), -1);
	/* Now for good, with a frame on the cable. */
	send_tagged(&a, 3);
	run_both();
	fake_kernel_free(b.kernel);
	send_tagged(&a, 4);
	EQUAL(nic_sent(&a), 4);
	EQUAL(fake_stats(a.device).dropped, 1);
	fake_kernel_free(a.kernel);
}

static void test_receiver_breaks(void)
{
	cable_up(0);
	send_tagged(&a, 1);
	nic_post(&b, 1);
	send_tagged(&a, 1);
	send_tagged(&a, 2);
	run_both();
	b.rx.avail->idx += NIC_RING + 1;
	while (jump())
		;
	CHECK(driver_read(b.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	send_tagged(&a, 3);
	CHECK(!jump());
	EQUAL(nic_sent(&a), 4);
	cable_down();
}

static void test_no_buffers(void)
{
	cable_up(1);
	for (int i = 0; i < 4; i++)
		send_tagged(&a, i);
	while (jump())
		;
	expect_tagged(&b, 0);
	EQUAL(nic_receive(&b, NULL, got), -1);
	/* They have arrived and wait at the socket. */
	a.kernel->now = b.kernel->now += 5 * MS;
	nic_post(&b, 2);
	run_both();
	expect_tagged(&b, 1);
	expect_tagged(&b, 2);
	nic_post(&b, 1);
	run_both();
	expect_tagged(&b, 3);
	EQUAL(fake_stats(b.device).dropped, 0);
	cable_down();
}

static void test_full_cable(void)
{
	const unsigned int len = 65000, room = (64u << 20) / len;

	cable_up(1);
	for (unsigned int i = 0; i < room + 10; i++) {
		nic_send(&a, frame, len);
		EQUAL(nic_sent(&a), 1);
	}
	CHECK(fake_stats(a.device).dropped >= 10);
	CHECK(fake_stats(a.device).dropped < 20);
	cable_down();
}

/* Both sides talk, each answers what it gets: the trace of it, as a file. */
static void talk(int capture)
{
	unsigned int state = 12345;

	cable_up(8);
	EQUAL(rumpel_net_capture(a.device, capture, 0, NULL), 0);
	for (int round = 0; round < 200; round++) {
		struct nic *nic = round & 1 ? &a : &b;

		state = state * 1103515245 + 12345;
		nic_send(nic, frame, 60 + (state >> 16) % 1000);
		if (state >> 20 & 1)
			jump();
		for (int side = 0; side < 2; side++) {
			struct nic *end = side ? &a : &b;
			long len;

			while ((len = nic_receive(end, NULL, got)) >= 0) {
				nic_post(end, 1);
				if (len > 500)
					nic_send(end, got, len / 2);
			}
		}
		nic_sent(&a);
		nic_sent(&b);
	}
	while (jump())
		;
	cable_down();
}

static void test_same_every_time(void)
{
	static char trace[2][1 << 20];
	ssize_t len[2];

	for (int i = 0; i < 2; i++) {
		int fd = memfd_create("trace", 0);

		talk(fd);
		len[i] = pread(fd, trace[i], sizeof(trace[i]), 0);
		close(fd);
	}
	CHECK(len[0] > 20000);
	EQUAL(len[0], len[1]);
	EQUAL(memcmp(trace[0], trace[1], len[0]), 0);
}

static const struct test tests[] = {
	{ test_exact, "frames arrive in order, each when it is due" },
	{ test_not_a_bit_early, "not a nanosecond early" },
	{ test_sender_gone, "frames on the cable outlive their sender" },
	{ test_receiver_gone, "but not their receiver" },
	{ test_receiver_breaks, "a broken receiver loses frames, and nobody spins" },
	{ test_no_buffers, "without receive buffers they wait; none is lost" },
	{ test_full_cable, "a full cable loses what is sent" },
	{ test_same_every_time, "two runs have one trace" },
};

TEST_MAIN(tests)
