/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_VERSION_H
#define _ASM_RUMPEL_VERSION_H

/*
 * Where the supported versions of Linux differ. What is not here is the same
 * for all of them; elsewhere only the names made here are asked for.
 */
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define RUMPEL_BEFORE_7
#endif

#endif
