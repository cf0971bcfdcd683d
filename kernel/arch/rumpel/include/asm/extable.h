/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* Offsets from the entry itself: the table needs no relocation. */
#define ARCH_HAS_RELATIVE_EXTABLE

#ifdef __ASSEMBLY__
#define RUMPEL_EXTABLE(from, to)      \
	.pushsection __ex_table, "a"; \
	.balign 4;                    \
	.long from -., to -.;         \
	.popsection
#else
struct exception_table_entry {
	int insn, fixup;
};
#endif
