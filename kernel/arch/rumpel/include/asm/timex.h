/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

/* The host's clock, without a call of the host if that is possible. */
static __always_inline unsigned long long rumpel_clock(void)
{
	unsigned long long cycles = cpu_cycles() - rumpel_vcpu.cycle_base;

	if (__builtin_expect(cycles < rumpel_vcpu.cycle_limit, 1))
		return rumpel_vcpu.clock_base + (cycles * rumpel_vcpu.cycle_mult >> 32);
	return host_call(clock);
}

typedef unsigned long cycles_t;
#define get_cycles() ((cycles_t)rumpel_clock())
