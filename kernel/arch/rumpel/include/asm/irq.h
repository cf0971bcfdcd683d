/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* One for each bit of rumpel_vcpu.pending. */
#define NR_IRQS 64
