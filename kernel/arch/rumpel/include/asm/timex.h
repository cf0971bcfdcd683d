/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

typedef unsigned long cycles_t;
#define get_cycles() ((cycles_t)host_call(clock))
#define random_get_entropy() get_cycles()
