/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <uapi/asm/unistd.h>

#define NR_syscalls __NR_syscalls

/* The older calls that this CPU's table has. */
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SYS_ALARM
#define __ARCH_WANT_SYS_FADVISE64
#define __ARCH_WANT_SYS_GETPGRP
#define __ARCH_WANT_SYS_PAUSE
#define __ARCH_WANT_SYS_TIME
#define __ARCH_WANT_SYS_UTIME
