// SPDX-License-Identifier: GPL-2.0-only
/*
 * Callers' mappings: a range of addresses from which the kernel serves mmap(). Its
 * pages are mapped here as they are touched, as a TLB is filled (mm/tlb.c of the
 * port). A touch of host code is a fault (fault.c), which a task of the kernel
 * serves like any system call.
 *
 * The range outlives its kernel for as long as somebody holds it, and what was not
 * mapped when the kernel ended reads as zeroes.
 */
#include "core.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#define MAPPINGS_SIZE (16ull << 30)
/* The kernel maps pages in groups that are aligned. */
#define MAPPINGS_ALIGNMENT (2ull << 20)
/* Enough to choose from, whatever the host gives. */
#define RESERVED (2 * MAPPINGS_SIZE + MAPPINGS_ALIGNMENT)
/*
 * Pieces that are mapped at a time; the kernel flushes all when there are more. Each may
 * cost two of the 65,530 mappings that the host gives a process, which has other uses for
 * them (vm.max_map_count).
 */
#define MAPPINGS_PIECES 16000

struct rumpel_mappings {
	char *base;
	size_t size;
	uint32_t holders; /* atomic */
	uint32_t pieces; /* mapped since all was flushed */
};

/* In place of what is there. 0 or -errno. */
static int lay(char *at, size_t len, int prot)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	return mmap(at, len, prot, flags, -1, 0) == MAP_FAILED ? -errno : 0;
}

int rumpel_mappings_create(struct rumpel_mappings **result, char *at)
{
	struct rumpel_mappings *mappings = calloc(1, sizeof(*mappings));
	size_t before;

	if (!mappings)
		return -ENOMEM;
	at = rumpel_reserve(at, RESERVED);
	if (at == MAP_FAILED) {
		free(mappings);
		return -errno;
	}
	before = -(uintptr_t)at % MAPPINGS_ALIGNMENT;
	before = rumpel_in_one_table((uintptr_t)at + before, MAPPINGS_SIZE) - (uintptr_t)at;
	if (before)
		munmap(at, before);
	munmap(at + before + MAPPINGS_SIZE, RESERVED - MAPPINGS_SIZE - before);
	mappings->base = at + before;
	mappings->size = MAPPINGS_SIZE;
	mappings->holders = 1;
	*result = mappings;
	return 0;
}

void rumpel_mappings_range(const struct rumpel_mappings *mappings, uint64_t *start, uint64_t *size)
{
	*start = (uint64_t)mappings->base;
	*size = mappings->size;
}

struct rumpel_mappings *rumpel_mappings_hold(struct rumpel_kernel *kernel)
{
	__atomic_fetch_add(&kernel->mappings->holders, 1, __ATOMIC_SEQ_CST);
	return kernel->mappings;
}

void rumpel_mappings_release(struct rumpel_mappings *mappings)
{
	if (__atomic_sub_fetch(&mappings->holders, 1, __ATOMIC_SEQ_CST))
		return;
	munmap(mappings->base, mappings->size);
	free(mappings);
}

void rumpel_mappings_end(struct rumpel_mappings *mappings)
{
	if (!mappings)
		return;
	/* Guest memory goes: nothing may show it any more. */
	lay(mappings->base, mappings->size, PROT_READ | PROT_WRITE);
	rumpel_mappings_release(mappings);
}

int rumpel_mappings_flush(struct rumpel_mappings *mappings)
{
	int error = mappings->pieces ? lay(mappings->base, mappings->size, PROT_NONE) : 0;

	if (!error)
		mappings->pieces = 0;
	/* The process has too many mappings even for that; what must not be seen is not. */
	return error ? mprotect(mappings->base, mappings->size, PROT_NONE) : 0;
}

bool rumpel_mappings_has(const struct rumpel_mappings *mappings, uint64_t va, uint64_t len)
{
	uint64_t offset = va - (uint64_t)mappings->base;

	return offset < mappings->size && len <= mappings->size - offset;
}

int rumpel_mappings_map(struct rumpel_mappings *mappings, struct rumpel_arena *arena, uint64_t va,
			uint64_t pa, uint64_t len, int prot)
{
	if (mappings->pieces == MAPPINGS_PIECES)
		return -ENOMEM;
	mappings->pieces++;
	return rumpel_arena_map(arena, va, pa, len, prot);
}

int rumpel_mappings_unmap(struct rumpel_mappings *mappings, uint64_t va, uint64_t len)
{
	return len == mappings->size ? rumpel_mappings_flush(mappings)
				     : lay((char *)va, len, PROT_NONE);
}

/* A task that has nothing else to do: any thread of pid 1 will, all share its memory. */
static int take_pager(struct rumpel_kernel *kernel, struct rumpel_task **pager)
{
	rumpel_token_take(kernel);
	*pager = kernel->pagers;
	if (*pager)
		kernel->pagers = (*pager)->next_pager;
	rumpel_leave(kernel, true);
	return *pager ? 0 : rumpel_task_create(kernel, 0, pager);
}

static void give_pager(struct rumpel_kernel *kernel, struct rumpel_task *pager)
{
	rumpel_token_take(kernel);
	pager->next_pager = kernel->pagers;
	kernel->pagers = pager;
	rumpel_leave(kernel, false);
}

int rumpel_mappings_fault(struct rumpel_kernel *kernel, uint64_t address, bool write)
{
	struct rumpel_task *pager;
	long result;

	/* The runtime's own code, with the token: nobody could serve it. */
	if (rumpel_token_is_mine(kernel))
		return SIGSEGV;
	result = take_pager(kernel, &pager);
	if (!result) {
		result = task_call(pager, RUMPEL_CALL_FAULT, address, write);
		give_pager(kernel, pager);
	}
	/* ESRCH: pid 1 has exited, and its kernel is about to panic. */
	if (rumpel_kernel_end(kernel) || result == -ESRCH)
		result = lay((char *)(address & ~(PAGE - 1)), PAGE, PROT_READ | PROT_WRITE);
	/* It is being halted: the next try finds its end, or this again. */
	else if (result && kernel->halting) {
		sched_yield();
		result = 0;
	}
	if (result == -EFAULT)
		return SIGSEGV;
	return result ? SIGBUS : 0;
}
