/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * Where the supported versions of Linux differ. What is not here is the same
 * for all of them; elsewhere only the names made here are asked for.
 */
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
#define RUMPEL_BEFORE_7
#endif
