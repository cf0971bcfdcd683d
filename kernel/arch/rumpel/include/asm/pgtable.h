/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * Page tables that only software walks. What they map in the range for vmalloc
 * and in that for callers is made real through host_ops.map (mm/tlb.c). Three
 * levels: 512 GiB, and what an address has above that is not looked at.
 */
#include <linux/mm_types.h>
#include <asm-generic/pgtable-nopud.h>

#define PMD_SHIFT 21
#define PGDIR_SHIFT 30
#define PMD_SIZE (1UL << PMD_SHIFT)
#define PMD_MASK (~(PMD_SIZE - 1))
#define PGDIR_SIZE (1UL << PGDIR_SHIFT)
#define PGDIR_MASK (~(PGDIR_SIZE - 1))
#define PTRS_PER_PTE 512
#define PTRS_PER_PMD 512
#define PTRS_PER_PGD 512

extern pgd_t swapper_pg_dir[PTRS_PER_PGD];

#define _PAGE_PRESENT 0x001
#define _PAGE_RW 0x002
#define _PAGE_USER 0x004
#define _PAGE_ACCESSED 0x008
#define _PAGE_DIRTY 0x010
#define _PAGE_SPECIAL 0x020
#define _PAGE_PROTNONE 0x040 /* when not present: still a page */
#define _PAGE_SWP_EXCLUSIVE 0x080 /* when not present: a swap entry's flag */
#define _PAGE_TABLE (_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED)
#define _PAGE_CHG_MASK (PAGE_MASK | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SPECIAL)

#define PAGE_NONE __pgprot(_PAGE_PROTNONE | _PAGE_ACCESSED)
#define PAGE_READONLY __pgprot(_PAGE_PRESENT | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_SHARED __pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED)
#define PAGE_KERNEL __pgprot(_PAGE_PRESENT | _PAGE_RW | _PAGE_DIRTY | _PAGE_ACCESSED)

#define VMALLOC_START (rumpel_params.vmalloc)
#define VMALLOC_END (rumpel_params.vmalloc + rumpel_params.vmalloc_size)

#ifdef RUMPEL_BEFORE_7
extern struct page *__zero_page;
void arch_setup_zero_pages(void);
#define ZERO_PAGE(vaddr) __zero_page
#define mk_pte(page, prot) pfn_pte(page_to_pfn(page), prot)
#endif

#define PFN_PTE_SHIFT PAGE_SHIFT
#define pte_pfn(pte) (pte_val(pte) >> PAGE_SHIFT)
#define pfn_pte(pfn, prot) __pte(((unsigned long)(pfn) << PAGE_SHIFT) | pgprot_val(prot))
#define pte_page(pte) pfn_to_page(pte_pfn(pte))

#define pte_none(pte) (!pte_val(pte))
#define pte_present(pte) (pte_val(pte) & (_PAGE_PRESENT | _PAGE_PROTNONE))
#define pte_clear(mm, addr, ptep) set_pte(ptep, __pte(0))
#define set_pte(ptep, pte) WRITE_ONCE(*(ptep), pte)

/* How to ask for a flag, to set and to clear it. */
#define PTE_FLAG(bit, test, set, clear)              \
	static inline int pte_##test(pte_t pte)      \
	{                                            \
		return !!(pte_val(pte) & (bit));     \
	}                                            \
	static inline pte_t pte_##set(pte_t pte)     \
	{                                            \
		return __pte(pte_val(pte) | (bit));  \
	}                                            \
	static inline pte_t pte_##clear(pte_t pte)   \
	{                                            \
		return __pte(pte_val(pte) & ~(bit)); \
	}

PTE_FLAG(_PAGE_RW, write, mkwrite_novma, wrprotect)
PTE_FLAG(_PAGE_DIRTY, dirty, mkdirty, mkclean)
PTE_FLAG(_PAGE_ACCESSED, young, mkyoung, mkold)
PTE_FLAG(_PAGE_SPECIAL, special, mkspecial, clear_special)
PTE_FLAG(_PAGE_SWP_EXCLUSIVE, swp_exclusive, swp_mkexclusive, swp_clear_exclusive)
#define pte_swp_exclusive pte_swp_exclusive

static inline pte_t pte_modify(pte_t pte, pgprot_t prot)
{
	return __pte((pte_val(pte) & _PAGE_CHG_MASK) | pgprot_val(prot));
}

#define pmd_none(x) (!pmd_val(x))
#define pmd_present(x) (pmd_val(x) & _PAGE_PRESENT)
#define pmd_bad(x) ((pmd_val(x) & ~PAGE_MASK) != _PAGE_TABLE)
#define set_pmd(ptr, x) WRITE_ONCE(*(ptr), x)
#define pmd_clear(ptr) set_pmd(ptr, __pmd(0))
#define pmd_pfn(x) (pmd_val(x) >> PAGE_SHIFT)
#define pmd_page(x) pfn_to_page(pmd_pfn(x))
#define pmd_page_vaddr(x) ((unsigned long)__va(pmd_val(x) & PAGE_MASK))

/* The folded levels above: an entry of the directory. */
#define pud_none(x) (!pud_val(x))
#define pud_present(x) (pud_val(x) & _PAGE_PRESENT)
#define pud_bad(x) ((pud_val(x) & ~PAGE_MASK) != _PAGE_TABLE)
#define set_pud(ptr, x) WRITE_ONCE(*(ptr), x)
#define pud_clear(ptr) set_pud(ptr, __pud(0))
#define pud_page(x) pfn_to_page(pud_val(x) >> PAGE_SHIFT)
#define pud_pgtable(x) ((pmd_t *)__va(pud_val(x) & PAGE_MASK))

#define pte_ERROR(e) pr_err("bad pte %016lx\n", pte_val(e))
#define pmd_ERROR(e) pr_err("bad pmd %016lx\n", pmd_val(e))
#define pgd_ERROR(e) pr_err("bad pgd %016lx\n", pgd_val(e))

/* Swap entries, of pages under migration for example: 5 bits of type, offset. */
#define __swp_type(x) (((x).val >> 1) & 0x1f)
#define __swp_offset(x) ((x).val >> PAGE_SHIFT)
#define __swp_entry(type, offset)                             \
	((swp_entry_t){ ((unsigned long)((type)&0x1f) << 1) | \
			((unsigned long)(offset) << PAGE_SHIFT) })
#define __pte_to_swp_entry(pte) ((swp_entry_t){ pte_val(pte) })
#define __swp_entry_to_pte(x) __pte((x).val)

/* A caller's page is there: see mm/tlb.c. */
void rumpel_tlb_preload(struct vm_area_struct *vma, unsigned long address, unsigned int pages);
#define update_mmu_cache(vma, address, ptep) rumpel_tlb_preload(vma, address, 1)
#define update_mmu_cache_range(vmf, vma, address, ptep, nr) rumpel_tlb_preload(vma, address, nr)
