/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* One virtual CPU; but devices are other threads of the host. */
#define mb() asm volatile("lock; addl $0,-4(%%rsp)" ::: "memory", "cc")
#define rmb() barrier()
#define wmb() barrier()
#define __smp_mb() mb()
#define __smp_rmb() barrier()
#define __smp_wmb() barrier()

#include <asm-generic/barrier.h>
