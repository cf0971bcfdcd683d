/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

/* New kernel mappings become real here: see mm/tlb.c. */
#define flush_cache_vmap(start, end) rumpel_tlb_sync_kernel(start, end, 1)
#define flush_cache_vmap_early(start, end) rumpel_tlb_sync_kernel(start, end, 1)

#include <asm-generic/cacheflush.h>
