/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#define L1_CACHE_SHIFT 6
#define L1_CACHE_BYTES (1 << L1_CACHE_SHIFT)
