/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* Callers' mappings are in one address space, the host's: there is nothing to switch. */
#include <asm-generic/nommu_context.h>
