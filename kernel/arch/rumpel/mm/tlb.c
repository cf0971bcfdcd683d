// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the page tables say is made real by the host, which maps the same guest
 * memory a second time. Its mappings are entries of a TLB that software fills when
 * the tables change, and when a caller's page is touched that was flushed: as far
 * as the entry allows then (a page that is clean is not writable, so that the
 * kernel hears of the first write). flush_tlb_*() takes them away.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>
#include <asm/host.h>
#include <asm/tlbflush.h>

#define TLB_AROUND (16 * PAGE_SIZE)

static pte_t lookup(struct mm_struct *mm, unsigned long address, unsigned long *skip)
{
	pud_t *pud = pud_offset(p4d_offset(pgd_offset(mm, address), address), address);
	pmd_t *pmd;

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

static int prot_of(pte_t pte)
{
	if (!(pte_val(pte) & _PAGE_PRESENT) || !pte_young(pte))
		return 0;
	return RUMPEL_PROT_READ | (pte_write(pte) && pte_dirty(pte) ? RUMPEL_PROT_WRITE : 0);
}

static int apply(unsigned long start, unsigned long end, unsigned long pa, int prot, bool load)
{
	if (end > start && !prot && !load)
		return host_call(unmap, start, end - start);
	if (end > start && prot && load)
		return host_call(map, start, pa, end - start, prot);
	return 0;
}

/*
 * Loads what the tables map in [start, end), or takes away what they do not: a
 * flush of vmalloc is for a range that may have other mappings in between.
 */
static int sync(struct mm_struct *mm, unsigned long start, unsigned long end, bool load)
{
	/* What is alike and lies together is one call. */
	unsigned long run = 0, run_pa = 0, run_end = 0, skip, next, address;
	int run_prot = 0, error = 0;

	for (address = start; address < end && !error; address = next) {
		pte_t pte = lookup(mm, address, &skip);
		unsigned long pa = pte_val(pte) & PAGE_MASK;
		int prot = prot_of(pte);

		next = min((address & ~(skip - 1)) + skip, end);
		if (run_end != address || prot != run_prot ||
		    (prot && pa != run_pa + (address - run))) {
			error = apply(run, run_end, run_pa, run_prot, load);
			run = address;
			run_pa = pa;
			run_prot = prot;
		}
		run_end = next;
	}
	return error ?: apply(run, run_end, run_pa, run_prot, load);
}

void rumpel_tlb_sync_kernel(unsigned long start, unsigned long end, int load)
{
	sync(&init_mm, max(start, VMALLOC_START) & PAGE_MASK, min(PAGE_ALIGN(end), VMALLOC_END),
	     load);
}

static int load(struct mm_struct *mm, unsigned long start, unsigned long end)
{
	int error = sync(mm, start, end, true);

	if (error) { /* the host has too many mappings */
		flush_tlb_all();
		error = sync(mm, start, end, true);
	}
	return error;
}

static bool is_mapping(unsigned long address)
{
	return address >= TASK_UNMAPPED_BASE && address < STACK_TOP;
}

/*
 * A caller's page that was touched and is in the tables, and those behind it.
 * -EFAULT: the tables do not allow it; -EINVAL: the address is no mapping's.
 */
int rumpel_tlb_load(unsigned long address, int write)
{
	int needed = write ? RUMPEL_PROT_WRITE : RUMPEL_PROT_READ;
	unsigned long skip;

	address &= PAGE_MASK;
	if (!is_mapping(address) || !current->mm)
		return -EINVAL;
	if (!(prot_of(lookup(current->mm, address, &skip)) & needed))
		return -EFAULT;
	return load(current->mm, address, round_down(address, TLB_AROUND) + TLB_AROUND);
}

/*
 * At once, and not when it is touched: no device writes to it yet, so that a host
 * that has to move a page before it can map it twice may do so.
 */
void rumpel_tlb_preload(struct vm_area_struct *vma, unsigned long address, unsigned int pages)
{
	if (is_mapping(address) && vma->vm_mm == current->mm)
		load(current->mm, address & PAGE_MASK, (address & PAGE_MASK) + pages * PAGE_SIZE);
}

void rumpel_tlb_flush(unsigned long start, unsigned long end)
{
	start = max(start & PAGE_MASK, TASK_UNMAPPED_BASE);
	end = PAGE_ALIGN(min(end, STACK_TOP));
	/* To take a part away may be too much for the host; all is not. */
	if (start < end && host_call(unmap, start, end - start))
		host_call(unmap, TASK_UNMAPPED_BASE, rumpel_params.mappings_size);
}
