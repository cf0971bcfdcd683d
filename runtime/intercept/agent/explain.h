/* SPDX-License-Identifier: GPL-2.0-only */
/* Who answered which calls, and by which rule: lines on a descriptor. */
#ifndef AGENT_EXPLAIN_H
#define AGENT_EXPLAIN_H

#include "dispatch.h"

extern bool explaining;

void explain_begin(void);
void explain_call(struct thread *t, const struct call *call, bool kernel);
/* The process ends, or executes a program: counts are said. */
void explain_end(struct thread *t);
/* They are the parent's. */
void explain_forked(void);

#endif
