/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_MMU_H
#define _ASM_RUMPEL_MMU_H

typedef struct {
} mm_context_t;

#endif
