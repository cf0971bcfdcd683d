/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_POLICY_H
#define AGENT_POLICY_H

#include "dispatch.h"

/* Is anything a library kernel's? */
extern bool policy_active;
/* Is there a directory of the kernel's for files with data: --image, --path? */
extern bool policy_has_data;

/* Take the rules of the message. 0, or -EINVAL and a complaint. */
int policy_begin(void);
/* Is this call the library kernel's? */
bool policy_decide(struct thread *t, const struct call *call);
/* The rule that decided it, for people. */
const char *policy_reason(struct thread *t, const struct call *call);

#endif
