// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the source of random numbers. */
#include "fake.h"

#define ROOM 65536

struct source {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queue;
	uint64_t data;
};

static struct source up(bool is_virtual)
{
	struct source s = { .kernel = fake_kernel(is_virtual) };

	EQUAL(rumpel_entropy(&s.device), 0);
	fake_attach(s.kernel, s.device);
	driver_up(s.device, &s.queue, 1, 64);
	s.data = fake_pages(s.kernel, ROOM);
	return s;
}

/* Asks for `len` bytes in two pieces; returns what was written. */
static uint32_t ask(struct source *s, uint32_t len)
{
	struct driver_buffer buffers[] = {
		{ s->data, len / 3, true },
		{ s->data + len / 3, len - len / 3, true },
	};
	uint32_t written;

	memset(fake_at(s->kernel, s->data), 0, ROOM);
	driver_add(&s->queue, buffers, 2);
	driver_kick(&s->queue);
	fake_run(s->kernel);
	CHECK(driver_used(&s->queue, NULL, &written));
	for (uint32_t i = written; i < ROOM; i++)
		EQUAL(*(uint8_t *)fake_at(s->kernel, s->data + i), 0);
	return written;
}

/* No byte value is far from its share. */
static void expect_even(const uint8_t *data, size_t len)
{
	unsigned int seen[256] = { 0 };

	for (size_t i = 0; i < len; i++)
		seen[data[i]]++;
	for (int i = 0; i < 256; i++)
		CHECK(seen[i] < 4 * len / 256);
}

static void test_fills(void)
{
	for (int is_virtual = 0; is_virtual < 2; is_virtual++) {
		struct source s = up(is_virtual);
		uint8_t first[4096];

		EQUAL(ask(&s, 64), 64);
		EQUAL(ask(&s, 4096), 4096);
		memcpy(first, fake_at(s.kernel, s.data), sizeof(first));
		expect_even(first, sizeof(first));
		/* A driver gets less than it asks for, rather than wait. */
		EQUAL(ask(&s, 20000), 4096);
		CHECK(memcmp(first, fake_at(s.kernel, s.data), 64));
		CHECK(fake_interrupts(s.device));
		EQUAL(fake_stats(s.device).in, 3);
		EQUAL(fake_stats(s.device).in_bytes, 64 + 2 * 4096);
		fake_kernel_free(s.kernel);
	}
}

static void test_repeats(void)
{
	uint8_t runs[2][4][1000];

	for (int host = 0; host < 2; host++) {
		for (int run = 0; run < 2; run++) {
			struct source s = up(!host);

			for (int i = 0; i < 4; i++) {
				EQUAL(ask(&s, 1000), 1000);
				memcpy(runs[run][i], fake_at(s.kernel, s.data), 1000);
			}
			fake_kernel_free(s.kernel);
		}
		CHECK(!memcmp(runs[0], runs[1], sizeof(runs[0])) == !host);
	}
}

static void test_bad_ring(void)
{
	struct driver_buffer buffer;
	struct source s = up(false);

	buffer = (struct driver_buffer){ s.data, 64, false };
	driver_add(&s.queue, &buffer, 1);
	driver_kick(&s.queue);
	fake_run(s.kernel);
	CHECK(driver_read(s.device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
	fake_kernel_free(s.kernel);
}

static const struct test tests[] = {
	{ test_fills, "buffers are filled evenly, and nothing but them" },
	{ test_repeats, "with a virtual clock runs are identical, else they are not" },
	{ test_bad_ring, "bad buffers break the device" },
};

TEST_MAIN(tests)
