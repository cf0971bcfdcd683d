/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/cpu.h>
#include <rumpel/host_ops.h>

struct task_struct;

extern struct rumpel_vcpu rumpel_vcpu;
extern union rumpel_private rumpel_private;
extern struct rumpel_boot_params rumpel_params;
extern unsigned long long rumpel_boot_clock;

/* host_call(print, text, len): one of host_ops. */
#define host_call(op, ...) (rumpel_private.ops.op(rumpel_private.ops.host, ##__VA_ARGS__))

void rumpel_leave(unsigned int why);
void rumpel_irq_deliver(void);
void rumpel_caller_loop(void) __attribute__((noreturn));
void rumpel_wake_requested(struct rumpel_caller *self);
int rumpel_fault(struct rumpel_fault *fault);
void rumpel_fault_entry(void);
long rumpel_fault_in(unsigned long address, int write);
int rumpel_tlb_load(unsigned long address, int write);
void rumpel_tlb_flush(unsigned long start, unsigned long end);
void rumpel_tlb_sync_kernel(unsigned long start, unsigned long end, int load);
long rumpel_device_plug(unsigned long slot);
long rumpel_device_unplug(unsigned long slot);

/*
 * The way to the host, on any kernel stack, until it enters again. Inline where
 * it is hot, so that the host's call of enter() returns where the CPU expects
 * it to; elsewhere rumpel_leave() will do.
 */
static __always_inline void rumpel_leave_inline(unsigned int why)
{
	rumpel_vcpu.exit = why;
	switch_stack(&rumpel_vcpu.kernel, &rumpel_vcpu.host);
}
