/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#pragma once
#include <asm/ptrace.h>

struct sigcontext {
	struct user_regs_struct regs;
};
