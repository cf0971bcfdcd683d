// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's clock by the CPU's cycle counter, which takes a third of the time
 * that asking the host does. Every 100 us the host is asked all the same, so
 * that neither the counter's rate nor the host's adjustments matter.
 */
#include "core.h"

#include <cpuid.h>
#include <fcntl.h>
#include <unistd.h>

#define INTERVAL (NS_PER_SEC / 10000)
/* For so long the counter is watched until its rate is known. */
#define MEASURE (NS_PER_SEC / 500)
/* The counter's time runs late by this part, so that it is never ahead of the host's. */
#define LATE 1024
/* A look that took more cycles was interrupted, and says nothing exact. */
#define LOOK_CYCLES 1000

/* No CPU counts faster or slower: 16 and 1/4 GHz, in ns for 2^32 cycles. */
#define RATE_MIN ((1ull << 32) / 16)
#define RATE_MAX ((1ull << 32) * 4)

static uint64_t read_counter(void)
{
	return __builtin_ia32_rdtsc();
}

/* Counters of CPUs that differ are none of the host's clock sources. */
static bool is_same_everywhere(void)
{
	char sources[256];
	ssize_t len;
	int fd = open("/sys/devices/system/clocksource/clocksource0/available_clocksource",
		      O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return true; /* the host does not say */
	len = read(fd, sources, sizeof(sources) - 1);
	close(fd);
	sources[len > 0 ? len : 0] = '\0';
	return strstr(sources, "tsc");
}

/* Does it count at one rate, whatever the CPU does, and whichever it is? */
static bool is_steady(struct rumpel_cycles *cycles)
{
	unsigned int a, b, c, d;

	if (!cycles->steady)
		cycles->steady = __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1 << 8 &&
						 is_same_everywhere()
					 ? 1
					 : -1;
	return cycles->steady > 0;
}

static uint64_t by_counter(const struct rumpel_vcpu *vcpu, uint64_t cycles)
{
	return vcpu->clock_base + (cycles * vcpu->cycle_mult >> 32);
}

static void measure(struct rumpel_kernel *kernel, uint64_t cycles, uint64_t now)
{
	struct rumpel_cycles *first = &kernel->cycles;
	uint64_t ns = now - first->first_ns;

	if (!first->first_cycles) {
		first->first_ns = now;
		first->first_cycles = is_steady(first) ? cycles : NEVER;
	} else if (first->first_cycles != NEVER && ns >= MEASURE && ns < NS_PER_SEC) {
		uint64_t mult = (ns << 32) / (cycles - first->first_cycles);

		/* It has jumped: again. */
		if (mult < RATE_MIN || mult > RATE_MAX)
			first->first_cycles = 0;
		else
			kernel->vcpu->cycle_mult = mult - mult / LATE;
	} else if (ns >= NS_PER_SEC) {
		first->first_cycles = 0; /* too long for the numbers: again */
	}
}

uint64_t rumpel_cycles_look(struct rumpel_kernel *kernel)
{
	struct rumpel_vcpu *vcpu = kernel->vcpu;
	uint64_t before, after, now, latest, elapsed;

	if (kernel->clock)
		return kernel->clock->now;
	before = read_counter();
	now = rumpel_host_now() + kernel->ahead;
	after = read_counter();
	elapsed = before - vcpu->cycle_base;
	latest = by_counter(vcpu, elapsed < vcpu->cycle_limit ? elapsed : vcpu->cycle_limit);
	vcpu->clock_base = now > latest ? now : latest;
	vcpu->cycle_base = after;
	vcpu->cycle_limit = 0;
	if (after - before < LOOK_CYCLES) {
		if (vcpu->cycle_mult)
			vcpu->cycle_limit = (INTERVAL << 32) / vcpu->cycle_mult;
		else
			measure(kernel, after, now);
	}
	return vcpu->clock_base;
}

uint64_t rumpel_cycles_now(struct rumpel_kernel *kernel)
{
	const struct rumpel_vcpu *vcpu = kernel->vcpu;
	uint64_t cycles = read_counter() - vcpu->cycle_base;

	return cycles < vcpu->cycle_limit ? by_counter(vcpu, cycles) : rumpel_cycles_look(kernel);
}
