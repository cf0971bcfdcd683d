/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_UNISTD_H
#define _ASM_RUMPEL_UNISTD_H

#include <uapi/asm/unistd.h>

#define NR_syscalls __NR_syscalls

/* The older calls that this CPU's table has. */
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SYS_ALARM
#define __ARCH_WANT_SYS_GETPGRP
#define __ARCH_WANT_SYS_PAUSE
#define __ARCH_WANT_SYS_TIME
#define __ARCH_WANT_SYS_UTIME

#endif
