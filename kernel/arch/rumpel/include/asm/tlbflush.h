/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

/* User mappings are never real, so there is nothing to flush for them. */
#define flush_tlb_all() ((void)0)
#define flush_tlb_mm(mm) ((void)(mm))
#define flush_tlb_page(vma, address) ((void)(vma), (void)(address))
#define flush_tlb_range(vma, start, end) ((void)(vma), (void)(start), (void)(end))

static inline void flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	rumpel_mmu_sync(start, end, 0);
}
