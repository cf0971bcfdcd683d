// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of init_mm in the vmalloc range, made real by the host, which maps
 * the same guest memory a second time.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <asm/host.h>

static pte_t lookup(unsigned long address, unsigned long *skip)
{
	pgd_t *pgd = pgd_offset_k(address);
	p4d_t *p4d = p4d_offset(pgd, address);
	pud_t *pud;
	pmd_t *pmd;

	*skip = PGDIR_SIZE;
	if (p4d_none(*p4d))
		return __pte(0);
	pud = pud_offset(p4d, address);
	*skip = PUD_SIZE;
	if (pud_none(*pud))
		return __pte(0);
	pmd = pmd_offset(pud, address);
	*skip = PMD_SIZE;
	if (pmd_none(*pmd))
		return __pte(0);
	*skip = PAGE_SIZE;
	return *pte_offset_kernel(pmd, address);
}

static void apply(unsigned long start, unsigned long end, unsigned long pa, int prot, int new)
{
	if (end > start && !prot)
		host_call(unmap, start, end - start);
	else if (end > start && new)
		host_call(map, start, pa, end - start, prot);
}

/*
 * Brings the host's mappings of [start, end) in line with the page tables. A
 * flush is for what is gone (new: 0), over a range that may have other
 * mappings in between: these are there already.
 */
void rumpel_mmu_sync(unsigned long start, unsigned long end, int new)
{
	/* What is alike and lies together is one call. */
	unsigned long run = 0, run_pa = 0, run_end = 0, skip, next, address;
	int run_prot = 0;

	start = max(start, VMALLOC_START) & PAGE_MASK;
	end = min(PAGE_ALIGN(end), VMALLOC_END);
	for (address = start; address < end; address = next) {
		pte_t pte = lookup(address, &skip);
		unsigned long pa = pte_val(pte) & PAGE_MASK;
		int prot = 0;

		next = min((address & ~(skip - 1)) + skip, end);
		if (pte_present(pte))
			prot = RUMPEL_PROT_READ | (pte_write(pte) ? RUMPEL_PROT_WRITE : 0);
		if (run_end != address || prot != run_prot ||
		    (prot && pa != run_pa + (address - run))) {
			apply(run, run_end, run_pa, run_prot, new);
			run = address;
			run_pa = pa;
			run_prot = prot;
		}
		run_end = next;
	}
	apply(run, run_end, run_pa, run_prot, new);
}
