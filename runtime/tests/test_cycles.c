// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the clock by the cycle counter, with a counter and a host's clock of the test's. */
#include <stdint.h>

static uint64_t counter, host_ns;

#define __builtin_ia32_rdtsc() (counter)
#include "../cycles.c"

#include "check.h"

uint64_t rumpel_host_now(void)
{
	return host_ns;
}

static struct rumpel_vcpu vcpu;
static struct rumpel_kernel kernel;

/* Both go on, at 3 GHz. */
static void pass(uint64_t ns)
{
	counter += 3 * ns;
	host_ns += ns;
}

/* Reads the clock, which never goes back. */
static uint64_t look(void)
{
	static uint64_t last;
	uint64_t now = rumpel_cycles_now(&kernel);

	CHECK(now >= last);
	last = now;
	return now;
}

/* A kernel that has found out the counter's rate. */
static void up(void)
{
	vcpu = (struct rumpel_vcpu){ 0 };
	kernel = (struct rumpel_kernel){ .vcpu = &vcpu };
	host_ns = look() + NS_PER_SEC;
	counter = 1ull << 40;
	for (int i = 0; i < 100; i++) {
		pass(INTERVAL);
		look();
	}
	CHECK(vcpu.cycle_mult || !is_steady(&kernel.cycles));
}

static void expect_near(uint64_t now)
{
	CHECK(now <= host_ns + INTERVAL);
	CHECK(now + INTERVAL >= host_ns);
}

static void test_steady(void)
{
	up();
	for (int i = 0; i < 100000; i++) {
		pass(777);
		CHECK(look() <= host_ns);
		expect_near(look());
	}
}

/* A virtual machine that was moved. (Hosts whose CPUs count differently do not use the counter.) */
static void test_counter_jumps(void)
{
	static const int64_t jumps[] = {
		1ll << 20,    -(1ll << 20), 1ll << 32,	  -(1ll << 32), 1ll << 45,
		-(1ll << 45), 1ll << 62,    -(1ll << 62), INT64_MAX,
	};

	up();
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		counter += jumps[i];
		for (int j = 0; j < 1000; j++) {
			pass(500);
			expect_near(look());
		}
	}
	counter = 0;
	for (int j = 0; j < 1000; j++) {
		pass(500);
		expect_near(look());
	}
}

/* A process that was stopped, a machine that slept. */
static void test_host_jumps(void)
{
	up();
	for (uint64_t seconds = 1; seconds < 40ull * 365 * 86400; seconds *= 7) {
		/* The counter may have stood still meanwhile, or not. */
		host_ns += seconds * NS_PER_SEC;
		if (seconds & 2)
			counter += 3 * seconds * NS_PER_SEC;
		pass(INTERVAL + INTERVAL / 512);
		expect_near(look());
	}
}

/* It never should, but if it does the clock goes on, slower, until the host's is there. */
static void test_host_goes_back(void)
{
	uint64_t before, ahead;

	up();
	before = look();
	host_ns -= NS_PER_SEC / 100;
	ahead = look() - host_ns;
	for (int i = 0; i < 2000; i++)
		pass(10000), look();
	if (is_steady(&kernel.cycles))
		CHECK(look() > before + 2000 * 10000ull / 2);
	CHECK(look() - host_ns < ahead);
	/* A second later it is made good. */
	for (int i = 0; i < 100000; i++)
		pass(10000), look();
	expect_near(look());
}

/* While its rate is measured the counter may do anything. */
static void test_jumps_while_measuring(void)
{
	for (int jump = 0; jump < 64; jump++) {
		vcpu = (struct rumpel_vcpu){ 0 };
		kernel = (struct rumpel_kernel){ .vcpu = &vcpu };
		host_ns = look() + NS_PER_SEC;
		counter = 1ull << 63;
		look();
		pass(NS_PER_SEC / 1000);
		counter += 1ull << jump;
		/* A wrong rate is at most wrong by a factor, for a tenth of a millisecond. */
		for (int i = 0; i < 10000; i++) {
			pass(1000);
			CHECK(look() <= host_ns + INTERVAL);
			CHECK(look() + 16 * INTERVAL >= host_ns);
		}
	}
}

static const struct test tests[] = {
	{ test_steady, "the clock is that of the host, never ahead" },
	{ test_counter_jumps, "a counter that jumps does not lead it astray" },
	{ test_host_jumps, "it jumps with the host's" },
	{ test_host_goes_back, "it does not go back" },
	{ test_jumps_while_measuring, "nor does it if the counter jumps while it is measured" },
};

TEST_MAIN(tests)
