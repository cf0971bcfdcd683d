// SPDX-License-Identifier: GPL-2.0-only
/* Promises of an interface whose cable is held by a program. */
#define _GNU_SOURCE
#include <unistd.h>

#include "nic.h"

static struct nic nic;
static uint8_t frame[NIC_FRAME], got[NIC_FRAME];

/* What came out, all frames behind each other. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t out[16 << 20];
static size_t out_len[4096], out_used;
static unsigned int out_count, out_calls;
static bool hold, echo; /* atomic */

static void on_frames(void *opaque, const struct iovec *frames, size_t count)
{
	EQUAL(opaque == &nic, true);
	CHECK(count);
	while (__atomic_load_n(&hold, __ATOMIC_SEQ_CST))
		usleep(100);
	pthread_mutex_lock(&lock);
	out_calls++;
	for (size_t i = 0; i < count; i++) {
		memcpy(out + out_used, frames[i].iov_base, frames[i].iov_len);
		out_used += out_len[out_count++] = frames[i].iov_len;
	}
	pthread_mutex_unlock(&lock);
	if (__atomic_load_n(&echo, __ATOMIC_SEQ_CST))
		EQUAL(rumpel_net_receive(nic.device, frames, count), count);
}

static void up(bool is_virtual, unsigned int mtu, size_t rx_size, unsigned int posted)
{
	struct rumpel_device *device;

	out_used = out_count = out_calls = 0;
	EQUAL(rumpel_net_callback(on_frames, &nic, NULL, mtu, &device), 0);
	EQUAL(rumpel_net_receive(device, NULL, 0), -ENETDOWN);
	nic_up(&nic, device, is_virtual, rx_size);
	nic_post(&nic, posted);
	fake_run(nic.kernel);
}

static void down(void)
{
	__atomic_store_n(&hold, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&echo, false, __ATOMIC_SEQ_CST);
	fake_kernel_free(nic.kernel);
}

static void await_frames(unsigned int count)
{
	unsigned int seen = 0;

	for (int i = 0; i < 20000 && seen < count; i++) {
		fake_run(nic.kernel);
		pthread_mutex_lock(&lock);
		seen = out_count;
		pthread_mutex_unlock(&lock);
		if (seen < count)
			usleep(1000);
	}
	EQUAL(seen, count);
}

static void send_pattern(size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	nic_send(&nic, frame, len);
}

static void expect(const uint8_t *bytes, size_t len, unsigned int seed)
{
	nic_pattern(frame, len, seed);
	EQUAL(memcmp(frame, bytes, len), 0);
}

static int give(size_t len, unsigned int seed)
{
	struct iovec iov = { frame, len };

	nic_pattern(frame, len, seed);
	return rumpel_net_receive(nic.device, &iov, 1);
}

static void test_both_ways(void)
{
	for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
		struct virtio_net_hdr_v1 header;

		up(is_virtual, 65535, 4096, 40);
		EQUAL(driver_offered(nic.device) & 1ull << VIRTIO_NET_F_CSUM, 0);
		send_pattern(14, 1);
		send_pattern(65549, 2);
		await_frames(2);
		EQUAL(nic_sent(&nic), 2);
		EQUAL(out_len[0], 14);
		EQUAL(out_len[1], 65549);
		expect(out, 14, 1);
		expect(out + 14, 65549, 2);
		EQUAL(give(14, 3), 1);
		EQUAL(give(65549, 4), 1);
		EQUAL(give(13, 4), 0);
		EQUAL(give(65558, 4), 0);
		fake_run(nic.kernel);
		EQUAL(nic_receive(&nic, &header, got), 14);
		EQUAL(header.flags | header.gso_type, 0);
		expect(got, 14, 3);
		EQUAL(nic_receive(&nic, NULL, got), 65549);
		expect(got, 65549, 4);
		EQUAL(fake_stats(nic.device).out_bytes, 65563);
		EQUAL(fake_stats(nic.device).in_bytes, 65563);
		EQUAL(fake_stats(nic.device).dropped, 2);
		down();
	}
}

/* On a virtual clock nothing is left to a thread. */
static void test_virtual_is_at_once(void)
{
	up(true, 0, 2048, 60);
	echo = true;
	for (int i = 0; i < 10; i++) {
		send_pattern(100 + i, i);
		EQUAL(out_count, i + 1);
		EQUAL(nic_receive(&nic, NULL, got), 100 + i);
		expect(got, 100 + i, i);
	}
	down();
}

/* The function is called with what came meanwhile, all at once. */
static void test_a_slow_function(void)
{
	unsigned int sent = 0, done = 0;

	up(false, 0, 2048, 0);
	hold = true;
	while (sent < 2000 && sent - done < 15) {
		send_pattern(1000, sent++);
		done += nic_sent(&nic);
	}
	/* Then frames wait in the transmit queue. */
	CHECK(sent < 2000 && done > 200);
	__atomic_store_n(&hold, false, __ATOMIC_SEQ_CST);
	await_frames(sent);
	EQUAL(done + nic_sent(&nic), sent);
	for (unsigned int i = 0; i < sent; i++)
		expect(out + 1000 * i, 1000, i);
	CHECK(out_calls < sent / 4);
	down();
}

static void test_no_buffers(void)
{
	up(false, 0, 2048, 1);
	for (int i = 0; i < 5; i++)
		EQUAL(give(500, i), 1);
	fake_run(nic.kernel);
	EQUAL(nic_receive(&nic, NULL, got), 500);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	for (int i = 1; i < 5; i++) {
		nic_post(&nic, 1);
		fake_run(nic.kernel);
		EQUAL(nic_receive(&nic, NULL, got), 500);
		expect(got, 500, i);
	}
	/* There is an end to what may wait. */
	while (give(60000, 0) && fake_stats(nic.device).dropped < 2)
		CHECK(fake_stats(nic.device).dropped == 0);
	EQUAL(fake_stats(nic.device).dropped, 1);
	down();
}

static void test_reset(void)
{
	up(false, 0, 2048, 1);
	for (int i = 0; i < 3; i++)
		give(500, i);
	fake_run(nic.kernel);
	driver_write(nic.device, VIRTIO_MMIO_STATUS, 0);
	EQUAL(fake_stats(nic.device).dropped, 2);
	nic_start(&nic, nic.kernel, nic.device, ~0ull, 2048);
	nic_post(&nic, 8);
	fake_run(nic.kernel);
	give(100, 7);
	fake_run(nic.kernel);
	EQUAL(nic_receive(&nic, NULL, got), 100);
	down();
}

/* What comes in waits while the function of the joined one keeps what goes out. */
static void test_joined(void)
{
	struct rumpel_device *device, *joined;
	unsigned int sent = 0, done = 0;
	static struct nic other;

	out_used = out_count = out_calls = 0;
	EQUAL(rumpel_net_callback(on_frames, &nic, NULL, 0, &device), 0);
	EQUAL(rumpel_net_callback(on_frames, &nic, NULL, 0, &joined), 0);
	EQUAL(rumpel_net_join(device, joined), 0);
	nic_up(&nic, device, false, 2048);
	fake_attach(nic.kernel, joined);
	nic_start(&other, nic.kernel, joined, ~0ull, 2048);
	nic_post(&nic, 8);
	__atomic_store_n(&hold, true, __ATOMIC_SEQ_CST);
	while (sent < 2000 && !rumpel_net_is_stalled(joined)) {
		nic_pattern(frame, 1000, sent++);
		nic_send(&other, frame, 1000);
		fake_run(nic.kernel);
		done += nic_sent(&other);
	}
	CHECK(rumpel_net_is_stalled(joined) && done < sent);
	EQUAL(give(500, 1), 1);
	fake_run(nic.kernel);
	EQUAL(nic_receive(&nic, NULL, got), -1);
	__atomic_store_n(&hold, false, __ATOMIC_SEQ_CST);
	await_frames(sent);
	fake_run(nic.kernel);
	EQUAL(rumpel_net_is_stalled(joined), false);
	EQUAL(nic_receive(&nic, NULL, got), 500);
	down();
}

static unsigned int givers; /* atomic */

static void *giver(void *argument)
{
	unsigned int *taken = argument;

	for (unsigned int i = 0; i < 20000; i++) {
		struct iovec iov = { &(uint8_t[64]){ i }, 64 };

		*taken += rumpel_net_receive(nic.device, &iov, 1);
	}
	__atomic_sub_fetch(&givers, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Frames from several threads, while the kernel runs and the function is called. */
static void test_threads(void)
{
	unsigned int taken[2] = { 0 }, received = 0, sent = 0, done = 0;
	pthread_t threads[2];
	bool any, more;

	up(false, 0, 2048, NIC_RING - 2);
	givers = 2;
	for (int i = 0; i < 2; i++)
		EQUAL(pthread_create(&threads[i], NULL, giver, &taken[i]), 0);
	do {
		more = __atomic_load_n(&givers, __ATOMIC_SEQ_CST);
		any = false;
		fake_run(nic.kernel);
		while (nic_receive(&nic, NULL, got) > 0) {
			received++;
			nic_post(&nic, 1);
			any = true;
		}
		if (sent < 1000 && sent - done < 15)
			send_pattern(200, sent++);
		done += nic_sent(&nic);
	} while (more || any || sent < 1000);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EQUAL(received, taken[0] + taken[1]);
	await_frames(1000);
	down();
}

static void test_addresses(void)
{
	uint8_t mac[2][6];

	for (int i = 0; i < 2; i++) {
		up(true, 0, 2048, 0);
		for (int at = 0; at < 6; at++)
			mac[i][at] =
				nic.device->ops->mmio_read(nic.device, VIRTIO_MMIO_CONFIG + at, 1);
		down();
	}
	/* The first kernel of either clock, its first slot. */
	EQUAL(memcmp(mac[0], mac[1], 6), 0);
	EQUAL(memcmp(mac[0], (uint8_t[]){ 2, 0x72, 0, 0, 1, 0 }, 6), 0);
	up(false, 0, 2048, 0);
	for (int at = 0; at < 6; at++)
		mac[0][at] = nic.device->ops->mmio_read(nic.device, VIRTIO_MMIO_CONFIG + at, 1);
	CHECK(memcmp(mac[0], mac[1], 6) && (mac[0][0] & 3) == 2);
	down();
}

static const struct test tests[] = {
	{ test_both_ways, "frames go both ways, in a thread or at once" },
	{ test_virtual_is_at_once, "on a virtual clock the function is called at once" },
	{ test_a_slow_function, "a slow function gets what came meanwhile, in order" },
	{ test_no_buffers, "frames wait for receive buffers, up to a limit" },
	{ test_joined, "what comes in waits for what the joined one has to send" },
	{ test_reset, "a reset drops what waits" },
	{ test_threads, "any thread may give frames" },
	{ test_addresses, "made-up addresses repeat on a virtual clock only" },
};

TEST_MAIN(tests)
