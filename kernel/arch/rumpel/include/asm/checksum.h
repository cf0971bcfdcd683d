/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/types.h>

/* lib/checksum.c takes its loop from lib/csum.c: 64 bits with carry. */
unsigned int do_csum(const unsigned char *buff, int len);
#define do_csum do_csum

#include <asm-generic/checksum.h>
