// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which addresses are text of files: only that is rewritten. What a program makes
 * itself it may change, or copy, at any time.
 */
#include <linux/mman.h>

#include "files.h"
#include "patch.h"
#include "policy.h"

#define RANGES 512

struct range {
	uint64_t begin, end;
};

static uint32_t lock_word;
static struct range ranges[RANGES];
static int count;
static uint64_t lowest = ~0ul,
		highest; /* of what was ever there: most calls are about other memory */

void code_hold(void)
{
	lock(&lock_word);
}

void code_unlock(void)
{
	unlock(&lock_word);
}

bool code_lock(uint64_t at, uint64_t *begin, uint64_t *end)
{
	lock(&lock_word);
	for (int i = 0; i < count; i++) {
		if (at >= ranges[i].begin && at < ranges[i].end) {
			*begin = ranges[i].begin;
			*end = ranges[i].end;
			return true;
		}
	}
	unlock(&lock_word);
	return false;
}

static void add(uint64_t begin, uint64_t end)
{
	if (begin >= end || count == RANGES)
		return;
	ranges[count++] = (struct range){ begin, end };
	if (begin < lowest)
		lowest = begin;
	if (end > highest)
		highest = end;
}

static void remove(uint64_t begin, uint64_t end)
{
	for (int i = count - 1; i >= 0; i--) {
		struct range old = ranges[i];

		if (end <= old.begin || begin >= old.end)
			continue;
		ranges[i] = ranges[--count];
		/* Those that take its place have been looked at, or are parts of it. */
		if (old.begin < begin)
			add(old.begin, begin);
		if (end < old.end)
			add(end, old.end);
	}
}

void code_add(uint64_t begin, uint64_t end)
{
	lock(&lock_word);
	add(begin, end);
	unlock(&lock_word);
}

void code_remove(uint64_t begin, uint64_t end)
{
	if (begin >= highest || end <= lowest)
		return;
	lock(&lock_word);
	remove(begin, end);
	unlock(&lock_word);
}

static uint64_t page_up(uint64_t at)
{
	return (at + PAGE - 1) & -PAGE;
}

/* The agent reads what it rewrites. */
static bool is_text(int prot)
{
	return (prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) == (PROT_READ | PROT_EXEC);
}

long call_mmap(struct thread *t)
{
	int prot = (int)t->regs.rdx, flags = (int)t->regs.r10;
	long at;

	if (policy_active && !(flags & MAP_ANONYMOUS) && files_owned(t->files, (int)t->regs.r8))
		return kernel_call(t);
	/* What was there is gone even before the host says so. */
	if (flags & MAP_FIXED)
		code_remove(t->regs.rdi, page_up(t->regs.rdi + t->regs.rsi));
	at = call_through(t);
	if (!is_error(at) && is_text(prot) && (flags & MAP_TYPE) == MAP_PRIVATE &&
	    !(flags & MAP_ANONYMOUS))
		code_add(at, page_up(at + t->regs.rsi));
	return at;
}

/* An address of a kernel's mappings. Programs may have some not far from there (V8 does). */
static bool is_kernels(const struct thread *t)
{
	return kernel_present && t->regs.rdi - RUMPEL_SHARED_MAPPINGS < RUMPEL_SHARED_MAPPINGS_SIZE;
}

long call_munmap(struct thread *t)
{
	if (is_kernels(t))
		return kernel_call(t);
	code_remove(t->regs.rdi, page_up(t->regs.rdi + t->regs.rsi));
	return call_through(t);
}

/* Of calls that change no text. */
long call_mapped(struct thread *t)
{
	return is_kernels(t) ? kernel_call(t) : call_through(t);
}

long call_mremap(struct thread *t)
{
	if (is_kernels(t))
		return kernel_call(t);
	code_remove(t->regs.rdi, page_up(t->regs.rdi + t->regs.rsi));
	if (t->regs.r10 & 2) /* MREMAP_FIXED */
		code_remove(t->regs.r8, page_up(t->regs.r8 + t->regs.rdx));
	return call_through(t);
}

/* And pkey_mprotect, whose first arguments are the same. */
long call_mprotect(struct thread *t)
{
	if (is_kernels(t))
		return kernel_call(t);
	/* Made writable, to be written to; the agent's own part in it would come as a surprise. */
	if (!is_text((int)t->regs.rdx))
		code_remove(t->regs.rdi, page_up(t->regs.rdi + t->regs.rsi));
	return call_through(t);
}
