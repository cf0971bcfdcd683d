/* SPDX-License-Identifier: GPL-2.0-only */
/* Programs as files: what execve says of them, and how they are mapped. */
#ifndef AGENT_PROGRAM_H
#define AGENT_PROGRAM_H

#include <linux/elf.h>

#include "agent.h"

#define HEAD_SIZE 256 /* of a file, that the kernel looks at (BINPRM_BUF_SIZE) */
#define SCRIPT_DEPTH 5 /* scripts that interpret scripts */
#define PHDRS_MAX (PAGE / sizeof(Elf64_Phdr))

/* A file that may be executed: its descriptor, or a negative errno as of execve. */
int program_open(int dir, const char *path, int flags);
/* What is to be said of an error of program_open(), in words of ours; NULL: as of any other. */
const char *program_refusal(int error);
/* Its first bytes, the rest is 0: a negative errno, or 0. */
int program_head(int fd, char head[HEAD_SIZE]);
/*
 * The interpreter of a script, and its one argument (NULL: none); both lie in
 * head. 1: it is one, 0: it is none, or a negative errno.
 */
int program_script(char head[HEAD_SIZE], char **interpreter, char **argument);
/* Would execve of this file succeed, scripts and interpreters considered? 0 or a negative errno. */
int program_check(int fd);

struct elf {
	Elf64_Ehdr header;
	Elf64_Phdr segments[PHDRS_MAX];
	char interpreter[PATH_MAX]; /* empty: none */
	uint64_t bias, entry, phdr;
};

/* Read all but where it is mapped. 0 or a negative errno. */
int elf_read(int fd, struct elf *elf);
/* Map it. 0 or a negative errno. */
int elf_map(int fd, struct elf *elf);
bool elf_wants_executable_stack(const struct elf *elf);

#endif
