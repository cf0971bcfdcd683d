/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/string.h>

/*
 * A caller's memory is used by its host address. A bad one is found by the
 * host's fault handler, which looks it up in the exception table.
 */
unsigned long raw_copy_from_user(void *to, const void __user *from, unsigned long n);
unsigned long raw_copy_to_user(void __user *to, const void *from, unsigned long n);
unsigned long __clear_user(void __user *to, unsigned long n);
#define __clear_user __clear_user
/* The callers, check and all, are small; 7.2 has one name for both. */
#define INLINE_COPY_FROM_USER
#define INLINE_COPY_TO_USER
#define INLINE_COPY_USER

/* Of the CPU's: copies that end early at a bad address. Return bytes not done. */
unsigned long rumpel_copy_user(void *to, const void *from, unsigned long n);
unsigned long rumpel_clear_user(void *to, unsigned long n);

#include <asm-generic/uaccess.h>
