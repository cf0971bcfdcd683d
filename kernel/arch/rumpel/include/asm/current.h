/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
struct task_struct;
extern struct task_struct *rumpel_current;

#define get_current() (rumpel_current)
#define current get_current()
