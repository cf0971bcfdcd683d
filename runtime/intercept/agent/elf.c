// SPDX-License-Identifier: GPL-2.0-only
/* ELF files in memory, as the kernel's binfmt_elf puts them there. */
#include "program.h"

#include <linux/mman.h>
#include <linux/personality.h>

#include "patch.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define PIE_BASE 0x555555554000ul
#define PIE_PAGES (1ul << 28) /* among which its place is drawn */

static uint64_t down(uint64_t at, uint64_t align)
{
	return at & -align;
}

static uint64_t up(uint64_t at, uint64_t align)
{
	return (at + align - 1) & -align;
}

static int read_interpreter(int fd, struct elf *elf, const Elf64_Phdr *p)
{
	if (p->p_filesz < 2 || p->p_filesz > sizeof(elf->interpreter))
		return -ENOEXEC;
	if (host(__NR_pread64, fd, elf->interpreter, p->p_filesz, p->p_offset) != (long)p->p_filesz)
		return -EIO;
	return elf->interpreter[p->p_filesz - 1] ? -ENOEXEC : 0;
}

int elf_read(int fd, struct elf *elf)
{
	Elf64_Ehdr *h = &elf->header;
	size_t size;
	bool loads = false;

	elf->interpreter[0] = 0;
	if (host(__NR_pread64, fd, h, sizeof(*h), 0) != sizeof(*h))
		return -ENOEXEC;
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_machine != EM_X86_64 || (h->e_type != ET_EXEC && h->e_type != ET_DYN) ||
	    h->e_phentsize != sizeof(Elf64_Phdr) || !h->e_phnum || h->e_phnum > PHDRS_MAX)
		return -ENOEXEC;
	size = h->e_phnum * sizeof(Elf64_Phdr);
	if (host(__NR_pread64, fd, elf->segments, size, h->e_phoff) != (long)size)
		return -ENOEXEC;
	for (int i = 0; i < h->e_phnum; i++) {
		const Elf64_Phdr *p = &elf->segments[i];
		int error = 0;

		loads |= p->p_type == PT_LOAD;
		if (p->p_type == PT_LOAD && p->p_filesz > p->p_memsz)
			return -EINVAL;
		if (p->p_type == PT_INTERP && !elf->interpreter[0])
			error = read_interpreter(fd, elf, p);
		if (error)
			return error;
	}
	return loads ? 0 : -ENOEXEC;
}

/* Addresses from the first segment to the last one, and the greatest alignment. */
static void extent(const struct elf *elf, uint64_t *low, uint64_t *high, uint64_t *align)
{
	*low = ~0ul;
	*high = 0;
	*align = PAGE;
	for (int i = 0; i < elf->header.e_phnum; i++) {
		const Elf64_Phdr *p = &elf->segments[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (down(p->p_vaddr, PAGE) < *low)
			*low = down(p->p_vaddr, PAGE);
		if (up(p->p_vaddr + p->p_memsz, PAGE) > *high)
			*high = up(p->p_vaddr + p->p_memsz, PAGE);
		if (p->p_align > *align && !(p->p_align & (p->p_align - 1)))
			*align = p->p_align;
	}
}

static long reserve(uint64_t at, size_t size, int flags)
{
	return host(__NR_mmap, at, size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

/* Where a program that may be anywhere goes: near PIE_BASE, which the host uses for these. */
static long place(const struct elf *elf, size_t size, uint64_t align)
{
	uint64_t random = 0, at;
	long got = -ENOMEM;

	if (elf->interpreter[0]) {
		if (!(host(__NR_personality, 0xffffffff) & ADDR_NO_RANDOMIZE))
			host(__NR_getrandom, &random, sizeof(random), 0);
		at = up(PIE_BASE + random % PIE_PAGES * PAGE, align);
		got = reserve(at, size, MAP_FIXED_NOREPLACE);
		if (!is_error(got) && (uint64_t)got != at) {
			/* A kernel that does not know the flag. */
			host(__NR_munmap, got, size);
			got = -EEXIST;
		}
	}
	if (!is_error(got))
		return got;
	got = reserve(0, size + align - PAGE, 0);
	if (is_error(got))
		return got;
	at = up(got, align);
	if (at > (uint64_t)got)
		host(__NR_munmap, got, at - got);
	if (at + size < (uint64_t)got + size + align - PAGE)
		host(__NR_munmap, at + size, got + align - PAGE - at);
	return at;
}

static int map_segment(int fd, const Elf64_Phdr *p, uint64_t bias)
{
	int prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
		   (p->p_flags & PF_X ? PROT_EXEC : 0);
	uint64_t begin = down(p->p_vaddr, PAGE) + bias;
	uint64_t file_end = p->p_vaddr + p->p_filesz + bias;
	uint64_t end = up(p->p_vaddr + p->p_memsz + bias, PAGE);
	long got = 0;

	if (p->p_filesz) {
		got = host(__NR_mmap, begin, file_end - begin, prot, MAP_PRIVATE | MAP_FIXED, fd,
			   down(p->p_offset, PAGE));
		begin = up(file_end, PAGE);
		if (!is_error(got) && p->p_memsz > p->p_filesz && (p->p_flags & PF_W))
			memset((void *)file_end, 0, (begin < end ? begin : end) - file_end);
		if (!is_error(got) && (p->p_flags & (PF_R | PF_W | PF_X)) == (PF_R | PF_X))
			code_add((uint64_t)got, begin);
	}
	if (!is_error(got) && begin < end)
		got = host(__NR_mmap, begin, end - begin, prot,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return is_error(got) ? got : 0;
}

int elf_map(int fd, struct elf *elf)
{
	uint64_t low, high, align;
	long at;

	extent(elf, &low, &high, &align);
	if (high <= low)
		return -ENOEXEC;
	if (elf->header.e_type == ET_EXEC)
		at = reserve(low, high - low, MAP_FIXED_NOREPLACE);
	else
		at = place(elf, high - low, align);
	if (is_error(at))
		return at;
	if (elf->header.e_type == ET_EXEC && (uint64_t)at != low)
		return -ENOMEM;
	elf->bias = at - low;
	elf->entry = elf->header.e_entry + elf->bias;
	for (int i = 0; i < elf->header.e_phnum; i++) {
		const Elf64_Phdr *p = &elf->segments[i];
		uint64_t offset = elf->header.e_phoff - p->p_offset;
		int error;

		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_offset <= elf->header.e_phoff && offset < p->p_filesz)
			elf->phdr = p->p_vaddr + offset + elf->bias;
		error = map_segment(fd, p, elf->bias);
		if (error)
			return error;
	}
	return 0;
}

bool elf_wants_executable_stack(const struct elf *elf)
{
	for (int i = 0; i < elf->header.e_phnum; i++)
		if (elf->segments[i].p_type == PT_GNU_STACK)
			return elf->segments[i].p_flags & PF_X;
	return false;
}
