// SPDX-License-Identifier: GPL-2.0-only
/* The vDSO (vdso(7)): an ELF shared object that the host puts into each process. */
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "bare.h"

#define MOST_ENTRIES 64

static uintptr_t find_vdso(void)
{
	Elf64_auxv_t entries[MOST_ENTRIES];
	long fd, len;

	fd = bare_syscall(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = bare_syscall(SYS_read, fd, entries, sizeof(entries));
	bare_syscall(SYS_close, fd);
	for (long i = 0; i < len / (long)sizeof(*entries); i++)
		if (entries[i].a_type == AT_SYSINFO_EHDR)
			return entries[i].a_un.a_val;
	return 0;
}

/* The tables of its dynamic section; all addresses are offsets from the first byte. */
static uintptr_t find_symbol(uintptr_t base, const char *name)
{
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)base;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(base + elf->e_phoff);
	const Elf64_Dyn *dynamic = NULL;
	const Elf64_Sym *symbols = NULL;
	const char *names = NULL;
	const uint32_t *hash = NULL;

	for (int i = 0; i < elf->e_phnum; i++)
		if (segment[i].p_type == PT_DYNAMIC)
			dynamic = (const Elf64_Dyn *)(base + segment[i].p_offset);
	for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
		if (dynamic->d_tag == DT_SYMTAB)
			symbols = (const Elf64_Sym *)(base + dynamic->d_un.d_ptr);
		if (dynamic->d_tag == DT_STRTAB)
			names = (const char *)(base + dynamic->d_un.d_ptr);
		if (dynamic->d_tag == DT_HASH)
			hash = (const uint32_t *)(base + dynamic->d_un.d_ptr);
	}
	/* The second word of the hash table is the number of symbols. */
	for (uint32_t i = 0; symbols && names && hash && i < hash[1]; i++)
		if (symbols[i].st_shndx != SHN_UNDEF && !strcmp(names + symbols[i].st_name, name))
			return base + symbols[i].st_value;
	return 0;
}

int (*bare_vdso_clock(void))(int clock, struct timespec *now)
{
	uintptr_t base = find_vdso();
	uintptr_t found = base ? find_symbol(base, "__vdso_clock_gettime") : 0;

	return (int (*)(int, struct timespec *))found;
}
