// SPDX-License-Identifier: GPL-2.0-only
/*
 * A system call instruction (0f 05) becomes a short jump (eb xx), to an island
 * within its reach: a long jump (e9 and four bytes) in bytes that do nothing. That
 * goes to a trampoline within 2 GiB, which puts the return address into rcx as the
 * instruction does and jumps into the agent.
 *
 *	site:	    jmp island			was: syscall
 *	island:	    nopw cs:X(%rcx,%rbp,8)	was: nopw cs:0(%rax,%rax,1)
 *	trampoline: lea site+2(%rip), %rcx
 *		    jmp *agent_entry
 *
 * So no instruction but the system call itself is displaced, and nobody has to
 * know who jumps where. Islands are the long nops which compilers put between
 * functions and before loops: the last five bytes of one are its SIB and
 * displacement, and are e9 and the distance. Executed from its beginning it is
 * still a nop, whatever these bytes are; a nop touches no memory. Where functions
 * are padded with int3 (Go, lld) five of these will do, since nobody executes them.
 *
 * Where there is no island, the instruction before may be mov $number, %eax, which is
 * as long as a long jump and is done by the trampoline then; the system call behind it
 * stays, for those who jump there. That there is such an instruction has to be proved
 * (length.c).
 *
 * Other threads may be executing all of it. The island is written first; what is
 * executed in one store, and only where that does not cross a cache line.
 */
#include "patch.h"

#include <linux/mman.h>

#include "length.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define CACHE_LINE 64
#define REACH 127 /* of a short jump, both ways but for a byte */
#define FAR (1l << 30) /* well within a long jump's reach */
#define AREAS 64 /* of trampolines: each as near as it has to be */
#define TRAMPOLINE 32 /* bytes */
#define MOV_EAX 0xb8
#define MOV_SIZE 5
#define SEEN 1024 /* sites whose traps are counted */
#define WORTH 2 /* traps before a site is rewritten */
#define HOPELESS 255 /* was tried */

struct area {
	uint64_t base;
	uint32_t used; /* bytes; the first eight are agent_entry's address */
};

static struct area areas[AREAS]; /* all under the lock of code.c */
static struct {
	uint64_t site : 56, traps : 8;
} seen[SEEN];

static const uint8_t long_nop[8] = { 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 };

/* A place for a long jump at p? */
static bool is_island(const uint8_t *p, const uint8_t *begin, const uint8_t *end)
{
	const uint8_t *q = p;

	if (p - 3 >= begin && p + 5 <= end && !memcmp(p - 3, long_nop, sizeof(long_nop)))
		return true;
	while (q < end && q < p + 16 && *q == 0xcc)
		q++;
	return q >= p + 5 && !((uint64_t)q % 16);
}

static uint8_t *find_island(uint64_t site, uint64_t begin, uint64_t end)
{
	uint8_t *from = (uint8_t *)site + 2;

	for (int distance = 1; distance <= REACH; distance++) {
		if (is_island(from + distance, (void *)begin, (void *)end))
			return from + distance;
		if ((uint64_t)from - distance >= begin &&
		    is_island(from - distance, (void *)begin, (void *)end))
			return from - distance;
	}
	return NULL;
}

static bool reaches(uint64_t from, uint64_t to)
{
	int64_t distance = to - from;

	return distance < FAR && distance > -FAR;
}

static bool area_new(struct area *area, uint64_t site)
{
	for (int64_t distance = 1 << 20; distance < FAR; distance *= 2) {
		for (int side = -1; side <= 1; side += 2) {
			uint64_t want = (site + side * distance) & -PAGE;
			long got;

			if (want < (1 << 16) || want >> 47)
				continue;
			got = host(__NR_mmap, want, PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
			if (is_error(got))
				continue;
			if ((uint64_t)got != want) {
				host(__NR_munmap, got, PAGE);
				return false;
			}
			*(uint64_t *)want = (uint64_t)agent_entry;
			area->base = want;
			area->used = TRAMPOLINE;
			return true;
		}
	}
	return false;
}

static struct area *area_for(uint64_t site)
{
	for (struct area *area = areas; area < areas + AREAS; area++) {
		if (!area->base)
			return area_new(area, site) ? area : NULL;
		if (area->used + TRAMPOLINE <= PAGE && reaches(site, area->base))
			return area;
	}
	return NULL;
}

static void put32(uint8_t *at, uint64_t next, uint64_t to)
{
	int32_t distance = to - next;

	memcpy(at, &distance, sizeof(distance));
}

/* mov: the instruction before the site, which is to be done, or NULL. 0: no place for one. */
static uint64_t trampoline_new(uint64_t site, const uint8_t *mov)
{
	struct area *area = area_for(site);
	uint64_t at;
	uint8_t *p;

	if (!area || host(__NR_mprotect, area->base, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
		return 0;
	at = area->base + area->used;
	area->used += TRAMPOLINE;
	p = (uint8_t *)at;
	if (mov) {
		memcpy(p, mov, MOV_SIZE);
		p += MOV_SIZE;
	}
	p[0] = 0x48; /* lea distance(%rip), %rcx */
	p[1] = 0x8d;
	p[2] = 0x0d;
	put32(p + 3, (uint64_t)p + 7, site + 2);
	p[7] = 0xff; /* jmp *distance(%rip) */
	p[8] = 0x25;
	put32(p + 9, (uint64_t)p + 13, area->base);
	host(__NR_mprotect, area->base, PAGE, PROT_READ | PROT_EXEC);
	return at;
}

static bool is_in_line(uint64_t at, size_t size)
{
	return at / CACHE_LINE == (at + size - 1) / CACHE_LINE;
}

/* Text that is in [low, high) may be written to, or not any more. */
static bool set_writable(uint64_t low, uint64_t high, bool writable)
{
	low &= -PAGE;
	return !host(__NR_mprotect, low, high - low,
		     PROT_READ | PROT_EXEC | (writable ? PROT_WRITE : 0));
}

static bool by_island(uint64_t site, uint64_t begin, uint64_t end)
{
	uint8_t *island = find_island(site, begin, end);
	uint64_t low, high, trampoline;
	uint16_t jump;

	if (!island || !is_in_line(site, 2))
		return false;
	low = site < (uint64_t)island ? site : (uint64_t)island;
	high = (site > (uint64_t)island ? site : (uint64_t)island) + 5;
	trampoline = trampoline_new(site, NULL);
	if (!trampoline || !set_writable(low, high, true))
		return false;
	put32(island + 1, (uint64_t)island + 5, trampoline);
	__atomic_store_n(island, 0xe9, __ATOMIC_SEQ_CST);
	jump = 0xeb | (uint16_t)((uint8_t)((uint64_t)island - site - 2) << 8);
	__atomic_store_n((uint16_t *)site, jump, __ATOMIC_SEQ_CST);
	set_writable(low, high, false);
	return true;
}

static bool by_mov(uint64_t site, uint64_t begin)
{
	uint8_t *mov = (uint8_t *)site - MOV_SIZE;
	/* Eight bytes are stored at once: with three before it, or three behind it. */
	int before = is_in_line(site - 8, 8) ? 3 : 0;
	uint64_t low = (uint64_t)mov - before, trampoline, word;

	if (low < begin || *mov != MOV_EAX || !is_in_line(low, 8) ||
	    !instruction_begins(mov, (uint8_t *)begin))
		return false;
	trampoline = trampoline_new(site, mov);
	if (!trampoline || !set_writable(low, low + 8, true))
		return false;
	memcpy(&word, (void *)low, sizeof(word));
	((uint8_t *)&word)[before] = 0xe9;
	put32((uint8_t *)&word + before + 1, site, trampoline);
	__atomic_store_n((uint64_t *)low, word, __ATOMIC_SEQ_CST);
	set_writable(low, low + 8, false);
	return true;
}

uint32_t patch_traps, patch_sites;

void patch_maybe(uint64_t site)
{
	size_t slot = (site ^ site >> 10) % SEEN;
	uint64_t begin, end;

	__atomic_fetch_add(&patch_traps, 1, __ATOMIC_RELAXED);
	if (seen[slot].site != site) {
		seen[slot].site = site;
		seen[slot].traps = 0;
	}
	if (seen[slot].traps == HOPELESS || ++seen[slot].traps < WORTH)
		return;
	if (!code_lock(site, &begin, &end))
		return;
	/* Another thread may have been first. */
	if (*(uint16_t *)site == 0x050f) {
		if (by_island(site, begin, end) || by_mov(site, begin))
			patch_sites++;
		else
			seen[slot].traps = HOPELESS;
	}
	code_unlock();
}

uint64_t patch_site(uint64_t rip)
{
	for (const struct area *area = areas; area < areas + AREAS && area->base; area++) {
		uint64_t at = area->base + (rip - area->base) / TRAMPOLINE * TRAMPOLINE;
		int32_t distance, moved = 0;

		if (rip - area->base >= PAGE || rip - area->base < TRAMPOLINE)
			continue;
		if (*(uint8_t *)at == MOV_EAX) {
			at += MOV_SIZE;
			moved = rip < at ? MOV_SIZE : 0;
		}
		memcpy(&distance, (void *)(at + 3), sizeof(distance));
		return at + 7 + distance - 2 - moved;
	}
	return rip;
}
