/* SPDX-License-Identifier: GPL-2.0-only */
/* System call instructions of the program are rewritten to jumps: patch.c, code.c. */
#ifndef AGENT_PATCH_H
#define AGENT_PATCH_H

#include "agent.h"

/* The instruction syscall at site was trapped: rewrite it if that is safe and worth it. */
void patch_maybe(uint64_t site);
/* How many calls were trapped, and how many sites rewritten. */
extern uint32_t patch_traps, patch_sites;
/* rip in a trampoline: that of the system call which it stands for, otherwise rip. */
uint64_t patch_site(uint64_t rip);

/* Text of a file, mapped by now: what may be rewritten. */
void code_add(uint64_t begin, uint64_t end);
void code_remove(uint64_t begin, uint64_t end);
/* The text around at, kept as it is until code_unlock(). */
bool code_lock(uint64_t at, uint64_t *begin, uint64_t *end);
void code_unlock(void);
/* Hold it over a fork. */
void code_hold(void);

long call_mmap(struct thread *t);
long call_munmap(struct thread *t);
long call_mremap(struct thread *t);
long call_mprotect(struct thread *t);
long call_mapped(struct thread *t);

#endif
