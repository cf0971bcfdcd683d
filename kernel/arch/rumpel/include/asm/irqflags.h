/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/compiler.h>
#include <asm/host.h>

/*
 * Interrupts are bits in rumpel_vcpu.pending that any thread may set. They
 * are delivered here and nowhere else: when interrupts become enabled. So all
 * other code is atomic with respect to them, and needs no masking.
 */
#define ARCH_IRQ_DISABLED 1UL
#define ARCH_IRQ_ENABLED 0UL
extern unsigned long rumpel_irq_flags;

static __always_inline unsigned long arch_local_save_flags(void)
{
	return rumpel_irq_flags;
}

static __always_inline void arch_local_irq_restore(unsigned long flags)
{
	barrier();
	rumpel_irq_flags = flags;
	barrier();
	if (unlikely(READ_ONCE(rumpel_vcpu.pending)) && !flags)
		rumpel_irq_deliver();
}

#include <asm-generic/irqflags.h>
