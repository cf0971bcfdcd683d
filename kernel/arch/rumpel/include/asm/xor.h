/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm-generic/xor.h>

/* Chosen here: the benchmark costs boot time, and never ends on a virtual clock. */
#define XOR_SELECT_TEMPLATE(fastest) (&xor_block_32regs)
