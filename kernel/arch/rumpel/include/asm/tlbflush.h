/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_TLBFLUSH_H
#define _ASM_RUMPEL_TLBFLUSH_H

#include <asm/host.h>

struct mm_struct;
struct vm_area_struct;

/* User mappings are never real, so there is nothing to flush for them. */
static inline void flush_tlb_all(void)
{
}
static inline void flush_tlb_mm(struct mm_struct *mm)
{
}
static inline void flush_tlb_page(struct vm_area_struct *vma, unsigned long address)
{
}
static inline void flush_tlb_range(struct vm_area_struct *vma, unsigned long start,
				   unsigned long end)
{
}
static inline void flush_tlb_kernel_range(unsigned long start, unsigned long end)
{
	rumpel_mmu_sync(start, end);
}

#endif
