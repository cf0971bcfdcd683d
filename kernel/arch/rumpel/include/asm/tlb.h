/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/tlbflush.h>
#include <asm-generic/tlb.h>
