/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <asm/host.h>

#define ndelay(n) host_call(delay, n)
#define udelay(n) ndelay((n)*1000ULL)
#define __delay(loops) ndelay(loops)
