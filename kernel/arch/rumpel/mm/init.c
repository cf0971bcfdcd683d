// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: physical 0 is the first byte of what the host gave.
 */
#include <linux/init.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
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
	setup_initial_init_mm(_stext, _etext, _edata, _end);
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

/* Elsewhere is the host's memory: a hint is not taken. */
unsigned long arch_get_unmapped_area(struct file *file, unsigned long addr, unsigned long len,
				     unsigned long pgoff, unsigned long flags, vm_flags_t vm_flags)
{
	bool inside = addr >= TASK_UNMAPPED_BASE && addr < STACK_TOP && len <= STACK_TOP - addr;

	if (!inside && (flags & MAP_FIXED))
		return -ENOMEM;
	return generic_get_unmapped_area(file, inside ? addr : 0, len, pgoff, flags, vm_flags);
}

pgprot_t vm_get_page_prot(unsigned long vm_flags)
{
	if (!(vm_flags & VM_ACCESS_FLAGS))
		return PAGE_NONE;
	/* Private pages are copied when they are written to. */
	return (~vm_flags & (VM_SHARED | VM_WRITE)) ? PAGE_READONLY : PAGE_SHARED;
}
