/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_IRQ_H
#define _ASM_RUMPEL_IRQ_H

/* One for each bit of rumpel_vcpu.pending. */
#define NR_IRQS 64

#endif
