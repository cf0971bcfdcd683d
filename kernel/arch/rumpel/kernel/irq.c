// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts: bits of rumpel_vcpu.pending, delivered when they get enabled.
 */
#include <linux/hardirq.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/irqdesc.h>
#include <asm/irq_regs.h>

unsigned long rumpel_irq_flags = ARCH_IRQ_DISABLED;

void rumpel_irq_deliver(void)
{
	static struct pt_regs kernel_regs;
	unsigned long pending;
	struct pt_regs *old;

	rumpel_irq_flags = ARCH_IRQ_DISABLED;
	trace_hardirqs_off();
	old = set_irq_regs(&kernel_regs);
	while ((pending = __atomic_exchange_n(&rumpel_vcpu.pending, 0, __ATOMIC_ACQ_REL))) {
		irq_enter();
		for (; pending; pending &= pending - 1)
			generic_handle_irq(__ffs(pending));
		irq_exit();
	}
	set_irq_regs(old);
	trace_hardirqs_on();
	rumpel_irq_flags = ARCH_IRQ_ENABLED;
}

void __init init_IRQ(void)
{
	for (unsigned int irq = 0; irq < NR_IRQS; irq++)
		irq_set_chip_and_handler(irq, &dummy_irq_chip, handle_simple_irq);
}
