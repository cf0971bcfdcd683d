/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_NAMES_H
#define AGENT_NAMES_H

#include "agent.h"

/* The program's file, as /proc/self/exe has to say. */
extern char exe_path[PATH_MAX];
void names_begin(int program_fd);
bool names_is_exe(const char *path);
/* "PATH OTHER": who opens or looks at PATH gets OTHER. Stays there. 0 or -EINVAL. */
int names_instead(const char *pair);

long call_path0(struct thread *t);
long call_path1(struct thread *t);
long call_getdents64(struct thread *t);
long call_readlink(struct thread *t);
long call_readlinkat(struct thread *t);

#endif
