/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#pragma once
/* Programs of this CPU pass a restorer in struct sigaction. */
#define SA_RESTORER 0x04000000
#include <asm-generic/signal.h>
