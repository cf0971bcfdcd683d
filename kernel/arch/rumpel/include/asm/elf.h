/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/ptrace.h>

/* No ELF program is ever loaded; the core wants these for notes and types. */
#define ELF_CLASS ELFCLASS64
#define ELF_DATA ELFDATA2LSB
#define ELF_ARCH EM_X86_64
#define elf_check_arch(x) 0

typedef unsigned long elf_greg_t;
typedef elf_greg_t elf_gregset_t[sizeof(struct user_regs_struct) / sizeof(elf_greg_t)];
typedef struct {
} elf_fpregset_t;
