/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
/* Plain C suffices, for the reason given in atomic.h: no masking. */
#include <asm-generic/percpu.h>
#undef this_cpu_generic_read
#undef this_cpu_generic_to_op
#undef this_cpu_generic_add_return
#undef this_cpu_generic_xchg
#undef this_cpu_generic_try_cmpxchg
#undef this_cpu_generic_cmpxchg
#define this_cpu_generic_read(pcp) READ_ONCE(*raw_cpu_ptr(&(pcp)))
#define this_cpu_generic_to_op(pcp, val, op) raw_cpu_generic_to_op(pcp, val, op)
#define this_cpu_generic_add_return(pcp, val) raw_cpu_generic_add_return(pcp, val)
#define this_cpu_generic_xchg(pcp, nval) raw_cpu_generic_xchg(pcp, nval)
#define this_cpu_generic_try_cmpxchg(pcp, ovalp, nval) raw_cpu_generic_try_cmpxchg(pcp, ovalp, nval)
#define this_cpu_generic_cmpxchg(pcp, oval, nval) raw_cpu_generic_cmpxchg(pcp, oval, nval)
