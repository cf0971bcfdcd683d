// SPDX-License-Identifier: GPL-2.0-only
/* Promises of a cable whose other end has no room, no driver, or a hostile one. */
#include "cable.h"

/* ---- back-pressure and patience ---- */

static void test_back_pressure(void)
{
	cable_up(0, 2048, 2);
	for (int i = 0; i < 10; i++)
		send_pattern(&a, 100 + i, i);
	EQUAL(nic_sent(&a), 2);
	for (int i = 0; i < 2; i++)
		expect_pattern(&b, 100 + i, i);
	/* Three more: the receiver's notification reaches the sender. */
	nic_post(&b, 3);
	run_both();
	for (int i = 2; i < 5; i++)
		expect_pattern(&b, 100 + i, i);
	EQUAL(nic_sent(&a), 3);
	nic_post(&b, 20);
	run_both();
	for (int i = 5; i < 10; i++)
		expect_pattern(&b, 100 + i, i);
	EQUAL(nic_sent(&a), 5);
	EQUAL(fake_stats(a.device).dropped, 0);
	/* Nobody waits any more. */
	CHECK(!a.kernel->timers && !b.kernel->timers);
	cable_down();
}

/* A frame for which there are some buffers, but not enough, waits for the rest. */
static void test_partial_room(void)
{
	cable_up(0, 1024, 2);
	send_pattern(&a, 3000, 5);
	EQUAL(nic_receive(&b, NULL, got), -1);
	nic_post(&b, 1);
	run_both();
	expect_pattern(&b, 3000, 5);
	cable_down();
}

/* Two that wait for each other do it quietly. */
static void test_both_starved(void)
{
	cable_up(0, 2048, 1);
	nic_post(&a, 1);
	for (int i = 0; i < 3; i++) {
		send_pattern(&a, 60, i);
		send_pattern(&b, 60, 10 + i);
	}
	run_both();
	nic_post(&a, 2);
	run_both();
	for (int i = 0; i < 3; i++)
		expect_pattern(&a, 60, 10 + i);
	EQUAL(nic_sent(&a), 1);
	nic_post(&b, 2);
	run_both();
	for (int i = 0; i < 3; i++)
		expect_pattern(&b, 60, i);
	cable_down();
}

static void test_patience(void)
{
	cable_up(0, 2048, 1);
	for (int i = 0; i < 5; i++)
		send_pattern(&a, 60, i);
	EQUAL(nic_sent(&a), 1);
	fake_advance(a.kernel, SECOND - 1);
	fake_run(a.kernel);
	EQUAL(nic_sent(&a), 0);
	fake_advance(a.kernel, 1);
	fake_run(a.kernel);
	EQUAL(nic_sent(&a), 4);
	EQUAL(fake_stats(a.device).dropped, 4);
	/* From now on nothing waits... */
	send_pattern(&a, 60, 6);
	EQUAL(nic_sent(&a), 1);
	CHECK(!a.kernel->timers);
	/* ... until the receiver takes part again. */
	expect_pattern(&b, 60, 0);
	nic_post(&b, 2);
	run_both();
	for (int i = 7; i < 10; i++)
		send_pattern(&a, 60, i);
	EQUAL(nic_sent(&a), 2);
	expect_pattern(&b, 60, 7);
	expect_pattern(&b, 60, 8);
	CHECK(a.kernel->timers);
	nic_post(&b, 1);
	run_both();
	expect_pattern(&b, 60, 9);
	cable_down();
}

/* A receiver that is slow, but takes a frame now and then, loses none. */
static void test_patience_with_the_slow(void)
{
	cable_up(0, 2048, 1);
	for (int i = 0; i < 10; i++)
		send_pattern(&a, 60, i);
	for (int i = 0; i < 10; i++) {
		expect_pattern(&b, 60, i);
		fake_advance(a.kernel, SECOND - 1);
		run_both();
		nic_post(&b, 1);
		run_both();
	}
	EQUAL(nic_sent(&a), 10);
	EQUAL(fake_stats(a.device).dropped, 0);
	cable_down();
}

/* ---- nobody there ---- */

static void test_nobody(void)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], true, 2048);
	/* Not in a kernel. */
	send_pattern(&a, 60, 1);
	EQUAL(nic_sent(&a), 1);
	/* In one without a driver, then with one that has opened nothing. */
	b.kernel = fake_kernel(true);
	fake_attach(b.kernel, device[1]);
	send_pattern(&a, 60, 2);
	EQUAL(nic_sent(&a), 1);
	nic_start(&b, b.kernel, device[1], ~0ull, 2048);
	send_pattern(&a, 60, 3);
	EQUAL(nic_sent(&a), 1);
	EQUAL(fake_stats(a.device).dropped, 3);
	CHECK(!a.kernel->timers);
	nic_post(&b, 1);
	send_pattern(&a, 60, 4);
	expect_pattern(&b, 60, 4);
	cable_down();
}

/* The receiver's driver goes while frames wait for it: they are lost, at once. */
static void test_reset_of_the_receiver(void)
{
	for (int how = 0; how < 3; how++) {
		cable_up(0, 2048, 1);
		for (int i = 0; i < 4; i++)
			send_pattern(&a, 60, i);
		EQUAL(nic_sent(&a), 1);
		if (how == 0)
			driver_write(b.device, VIRTIO_MMIO_STATUS, 0);
		if (how == 1)
			fake_kernel_free(b.kernel);
		if (how == 2) {
			driver_write(b.device, VIRTIO_MMIO_QUEUE_SEL, 0);
			driver_write(b.device, VIRTIO_MMIO_QUEUE_READY, 0);
		}
		fake_run(a.kernel);
		EQUAL(nic_sent(&a), 3);
		EQUAL(fake_stats(a.device).dropped, 3);
		CHECK(!a.kernel->timers);
		fake_kernel_free(a.kernel);
		if (how != 1)
			fake_kernel_free(b.kernel);
	}
}

static void test_reset_of_the_sender(void)
{
	cable_up(0, 2048, 1);
	for (int i = 0; i < 4; i++)
		send_pattern(&a, 60, i);
	driver_write(a.device, VIRTIO_MMIO_STATUS, 0);
	CHECK(!a.kernel->timers);
	expect_pattern(&b, 60, 0);
	nic_post(&b, 4);
	run_both();
	EQUAL(nic_receive(&b, NULL, got), -1);
	/* With its next driver it sends again. */
	nic_start(&a, a.kernel, a.device, ~0ull, 2048);
	send_pattern(&a, 60, 9);
	expect_pattern(&b, 60, 9);
	cable_down();
}

static void test_one_kernel(void)
{
	struct rumpel_device *device[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, device), 0);
	nic_up(&a, device[0], true, 2048);
	fake_attach(a.kernel, device[1]);
	nic_start(&b, a.kernel, device[1], ~0ull, 2048);
	nic_post(&b, 1);
	send_pattern(&a, 60, 1);
	send_pattern(&a, 60, 2);
	expect_pattern(&b, 60, 1);
	nic_post(&b, 1);
	fake_run(a.kernel);
	expect_pattern(&b, 60, 2);
	fake_kernel_free(a.kernel);
}

/* ---- economy ---- */

static void test_few_interrupts(void)
{
	const struct virtio_net_hdr_v1 header = { 0 };
	unsigned int interrupts;

	cable_up(0, 2048, 60);
	fake_interrupts(a.device);
	fake_interrupts(b.device);
	for (int i = 0; i < 20; i++)
		nic_queue(&a, &header, sent, 1500);
	driver_kick(&a.tx);
	fake_run(a.kernel);
	/* One is open until the driver acknowledges it. */
	EQUAL(fake_interrupts(b.device), 1);
	EQUAL(fake_interrupts(a.device), 1);
	driver_write(b.device, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	driver_write(a.device, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	EQUAL(nic_sent(&a), 20);
	/* A driver that polls gets none. */
	a.tx.avail->flags = b.rx.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	for (int i = 0; i < 20; i++)
		nic_queue(&a, &header, sent, 1500);
	driver_kick(&a.tx);
	fake_run(a.kernel);
	interrupts = fake_interrupts(a.device) + fake_interrupts(b.device);
	EQUAL(interrupts, 0);
	/* Nor need the receiver tell of buffers, while there are some. */
	nic_post(&b, 20);
	CHECK(!b.device->notified);
	cable_down();
}

/* ---- hostile receivers ---- */

static void test_bad_receive_buffers(void)
{
	for (int kind = 0; kind < 2; kind++) {
		struct driver_buffer buffer = { 0, kind ? 2048 : NIC_HEADER - 1, !kind };

		cable_up(0, 2048, 0);
		buffer.pa = b.rx_pa;
		driver_add(&b.rx, &buffer, 1);
		driver_kick(&b.rx);
		fake_run(b.kernel);
		send_pattern(&a, 60, 1);
		send_pattern(&a, 60, 2);
		EQUAL(nic_sent(&a), 2);
		CHECK(driver_read(b.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		CHECK(!(driver_read(a.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
		nic_start(&b, b.kernel, b.device, ~0ull, 2048);
		nic_post(&b, 1);
		send_pattern(&a, 60, 3);
		expect_pattern(&b, 60, 3);
		cable_down();
	}
}

static void test_bad_transmit_ring(void)
{
	cable_up(0, 2048, 4);
	a.tx.avail->idx += NIC_RING + 1;
	driver_kick(&a.tx);
	fake_run(a.kernel);
	CHECK(driver_read(a.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	nic_post(&a, 1);
	send_pattern(&b, 60, 1);
	EQUAL(nic_sent(&b), 1);
	EQUAL(fake_stats(b.device).dropped, 1);
	cable_down();
}

static const struct test tests[] = {
	{ test_back_pressure, "without receive buffers, frames wait; none is lost" },
	{ test_partial_room, "a frame waits for all the buffers it needs" },
	{ test_both_starved, "two that wait for each other do it quietly" },
	{ test_patience, "after a second without any buffer, frames are dropped" },
	{ test_patience_with_the_slow, "who takes a frame now and then loses none" },
	{ test_nobody, "frames for nobody are lost at once" },
	{ test_reset_of_the_receiver, "frames that wait for a driver that goes are lost at once" },
	{ test_reset_of_the_sender, "frames of a driver that goes are forgotten" },
	{ test_one_kernel, "a cable may have both ends in one kernel" },
	{ test_few_interrupts, "a batch is announced once, to those who want to hear" },
	{ test_bad_receive_buffers, "bad receive buffers break the receiver, not the sender" },
	{ test_bad_transmit_ring,
	  "a bad transmit ring breaks the sender; others lose frames to it" },
};

TEST_MAIN(tests)
