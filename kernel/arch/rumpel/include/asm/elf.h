/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/cpu.h>

/* No ELF program is ever loaded; the core wants these for notes and types. */
#define ELF_CLASS ELFCLASS64
#define ELF_DATA ELFDATA2LSB
#define elf_check_arch(x) 0

typedef unsigned long elf_gregset_t[1];
typedef struct {
} elf_fpregset_t;
