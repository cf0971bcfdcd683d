/* SPDX-License-Identifier: GPL-2.0-only */
/* Chosen here, for 7.2 (before, asm/xor.h): no benchmark. */
static __always_inline void __init arch_xor_init(void)
{
	xor_force(&xor_block_32regs);
}
