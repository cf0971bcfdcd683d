/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* Plain C, for the reason given in atomic.h. */
#define arch_xchg(ptr, x)                              \
	({                                             \
		typeof(ptr) __xp = (ptr);              \
		typeof(*__xp) __xo = *__xp;            \
		WRITE_ONCE(*__xp, (typeof(*__xp))(x)); \
		__xo;                                  \
	})

#define arch_cmpxchg(ptr, o, n)                                \
	({                                                     \
		typeof(ptr) __cp = (ptr);                      \
		typeof(*__cp) __co = *__cp;                    \
		if (__co == (typeof(*__cp))(o))                \
			WRITE_ONCE(*__cp, (typeof(*__cp))(n)); \
		__co;                                          \
	})

#define arch_cmpxchg_local arch_cmpxchg
#define arch_cmpxchg64 arch_cmpxchg
#define arch_cmpxchg64_local arch_cmpxchg
