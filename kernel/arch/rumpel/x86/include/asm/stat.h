/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* Laid out as programs of this CPU know it. */
#include "../../../../x86/include/uapi/asm/stat.h"
