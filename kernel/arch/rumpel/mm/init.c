// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: physical 0 is the first byte of what the host gave.
 */
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <asm/pgalloc.h>
#include <asm/sections.h>
#include <asm/setup.h>

pgd_t swapper_pg_dir[PTRS_PER_PGD] __page_aligned_bss;

void __init rumpel_memory_init(void)
{
	memblock_add(0, rumpel_params.memory_size);
	/* memblock says 0 for failure. The page has a use: nobody writes to it. */
	memblock_reserve(0, PAGE_SIZE);
	min_low_pfn = 1;
	max_low_pfn = max_pfn = PFN_DOWN(rumpel_params.memory_size);
	high_memory = __va(rumpel_params.memory_size);
	init_mm.start_code = (unsigned long)_stext;
	init_mm.end_code = (unsigned long)_etext;
	init_mm.end_data = (unsigned long)_edata;
	init_mm.brk = (unsigned long)_end;
#ifdef RUMPEL_BEFORE_7
	set_max_mapnr(max_pfn);
	free_area_init((unsigned long[MAX_NR_ZONES]){ [ZONE_NORMAL] = max_pfn });
#endif
}

void __init arch_setup_zero_pages(void)
{
	__zero_page = pfn_to_page(0);
}

#ifdef RUMPEL_BEFORE_7
struct page *__zero_page;

void __init mem_init(void)
{
	arch_setup_zero_pages();
	memblock_free_all();
}
#else
void __init arch_zone_limits_init(unsigned long *limits)
{
	limits[ZONE_NORMAL] = max_pfn;
}
#endif

/* The image is not in guest memory: nothing to give back. */
void free_initmem(void)
{
}

static const pgprot_t protection_map[16] = {
	[VM_NONE] = PAGE_NONE,
	[VM_READ] = PAGE_READONLY,
	[VM_WRITE] = PAGE_COPY,
	[VM_WRITE | VM_READ] = PAGE_COPY,
	[VM_EXEC] = PAGE_READONLY,
	[VM_EXEC | VM_READ] = PAGE_READONLY,
	[VM_EXEC | VM_WRITE] = PAGE_COPY,
	[VM_EXEC | VM_WRITE | VM_READ] = PAGE_COPY,
	[VM_SHARED] = PAGE_NONE,
	[VM_SHARED | VM_READ] = PAGE_READONLY,
	[VM_SHARED | VM_WRITE] = PAGE_SHARED,
	[VM_SHARED | VM_WRITE | VM_READ] = PAGE_SHARED,
	[VM_SHARED | VM_EXEC] = PAGE_READONLY,
	[VM_SHARED | VM_EXEC | VM_READ] = PAGE_READONLY,
	[VM_SHARED | VM_EXEC | VM_WRITE] = PAGE_SHARED,
	[VM_SHARED | VM_EXEC | VM_WRITE | VM_READ] = PAGE_SHARED,
};
DECLARE_VM_GET_PAGE_PROT
