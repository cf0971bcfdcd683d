/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* The compiler's instead of loops in C. The non-atomic ones are atomic here: see atomic.h. */
#include <asm-generic/bitops/builtin-__ffs.h>
#include <asm-generic/bitops/builtin-ffs.h>
#include <asm-generic/bitops/builtin-__fls.h>
#include <asm-generic/bitops/builtin-fls.h>
#define __HAVE_ARCH___FFS
#define __HAVE_ARCH_FFS
#define __HAVE_ARCH___FLS
#define __HAVE_ARCH_FLS
#include <asm-generic/bitops.h>
