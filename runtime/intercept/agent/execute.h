/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_EXECUTE_H
#define AGENT_EXECUTE_H

#include "agent.h"

long call_execve(struct thread *t);
long call_execveat(struct thread *t);
/* In the child of a fork: what another thread was about to execute is not ours. */
void execute_forked(struct thread *t);
/* t executes nothing (any more); also said by the parent of one that has gone. */
void execute_done(struct thread *t);
/* Keep programs from being executed. */
void execute_lock(void);
void execute_unlock(void);

#endif
