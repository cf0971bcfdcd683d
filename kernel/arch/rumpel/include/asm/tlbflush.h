/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

/* The host's mappings are the entries of a TLB, which software fills: mm/tlb.c. */
#define flush_tlb_all() rumpel_tlb_flush(0, ~0UL)
#define flush_tlb_mm(mm) ((void)(mm), flush_tlb_all())
#define flush_tlb_page(vma, address) flush_tlb_range(vma, address, (address) + 1)
#define flush_tlb_range(vma, start, end) ((void)(vma), rumpel_tlb_flush(start, end))
#define flush_tlb_kernel_range(start, end) rumpel_tlb_sync_kernel(start, end, 0)
