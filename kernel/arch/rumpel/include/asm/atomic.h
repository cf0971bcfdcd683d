/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/*
 * One virtual CPU, and interrupts arrive only where they become enabled:
 * plain C is atomic. (asm-generic would mask interrupts, and take hashed
 * locks for 64 bits.)
 */
#include <linux/types.h>
#include <asm/barrier.h>
#include <asm/cmpxchg.h>

#define ATOMIC_OP(pfx, type, op, c_op)                                             \
	static __always_inline type arch_##pfx##_##op##_return(type i, pfx##_t *v) \
	{                                                                          \
		type val = v->counter c_op i;                                      \
		WRITE_ONCE(v->counter, val);                                       \
		return val;                                                        \
	}                                                                          \
	static __always_inline void arch_##pfx##_##op(type i, pfx##_t *v)          \
	{                                                                          \
		arch_##pfx##_##op##_return(i, v);                                  \
	}                                                                          \
	static __always_inline type arch_##pfx##_fetch_##op(type i, pfx##_t *v)    \
	{                                                                          \
		type old = v->counter;                                             \
		arch_##pfx##_##op##_return(i, v);                                  \
		return old;                                                        \
	}
#define ATOMIC_OPS(pfx, type)        \
	ATOMIC_OP(pfx, type, add, +) \
	ATOMIC_OP(pfx, type, sub, -) \
	ATOMIC_OP(pfx, type, and, &) \
	ATOMIC_OP(pfx, type, or, |)  \
	ATOMIC_OP(pfx, type, xor, ^)

#define ATOMIC64_INIT ATOMIC_INIT

ATOMIC_OPS(atomic, int)
ATOMIC_OPS(atomic64, s64)

#define arch_atomic_read(v) READ_ONCE((v)->counter)
#define arch_atomic_set(v, i) WRITE_ONCE((v)->counter, (i))
#define arch_atomic64_read(v) READ_ONCE((v)->counter)
#define arch_atomic64_set(v, i) WRITE_ONCE((v)->counter, (i))

/* The core builds variants that exist from these names. */
#define arch_atomic_add_return arch_atomic_add_return
#define arch_atomic_sub_return arch_atomic_sub_return
#define arch_atomic_fetch_add arch_atomic_fetch_add
#define arch_atomic_fetch_sub arch_atomic_fetch_sub
#define arch_atomic_fetch_and arch_atomic_fetch_and
#define arch_atomic_fetch_or arch_atomic_fetch_or
#define arch_atomic_fetch_xor arch_atomic_fetch_xor
#define arch_atomic64_add_return arch_atomic64_add_return
#define arch_atomic64_sub_return arch_atomic64_sub_return
#define arch_atomic64_fetch_add arch_atomic64_fetch_add
#define arch_atomic64_fetch_sub arch_atomic64_fetch_sub
#define arch_atomic64_fetch_and arch_atomic64_fetch_and
#define arch_atomic64_fetch_or arch_atomic64_fetch_or
#define arch_atomic64_fetch_xor arch_atomic64_fetch_xor
