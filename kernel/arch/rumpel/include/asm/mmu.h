/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
typedef struct {
} mm_context_t;
