/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/string.h>
#include <asm/extable.h>
#include <asm-generic/access_ok.h>

/*
 * A caller's memory is used by its host address. A bad one is found by the
 * host's fault handler, which looks it up in the exception table.
 */

/* Copies that end early at a bad address: lib/copy.S. Return bytes not done. */
unsigned long rumpel_copy_user(void *to, const void *from, unsigned long n);
unsigned long rumpel_clear_user(void *to, unsigned long n);

static __always_inline unsigned long raw_copy_from_user(void *to, const void __user *from,
							unsigned long n)
{
	return rumpel_copy_user(to, (__force const void *)from, n);
}

static __always_inline unsigned long raw_copy_to_user(void __user *to, const void *from,
						      unsigned long n)
{
	return rumpel_copy_user((__force void *)to, from, n);
}
#define INLINE_COPY_FROM_USER
#define INLINE_COPY_TO_USER

static __always_inline unsigned long __clear_user(void __user *to, unsigned long n)
{
	return rumpel_clear_user((__force void *)to, n);
}

static __always_inline unsigned long clear_user(void __user *to, unsigned long n)
{
	might_fault();
	return access_ok(to, n) ? __clear_user(to, n) : n;
}

/*
 * Integers and pointers of 1, 2, 4 or 8 bytes, through an unsigned of the
 * size; the register's name tells the assembler how many. Not asm goto, which
 * several versions of gcc compile wrongly when there are outputs.
 */
#define __inttype(x)                                    \
	__typeof__(__builtin_choose_expr(               \
		sizeof(x) == 8, (u64)0,                 \
		__builtin_choose_expr(                  \
			sizeof(x) == 4, (u32)0,         \
			__builtin_choose_expr(          \
				sizeof(x) == 2, (u16)0, \
				__builtin_choose_expr(sizeof(x) == 1, (u8)0, (void)0)))))

/* Says -EFAULT, and zeroes what was to be read. */
#define RUMPEL_FIXUP(more)                  \
	"2:\n.pushsection .fixup, \"ax\"\n" \
	"3: movl %3, %0\n" more "jmp 2b\n"  \
	".popsection\n" RUMPEL_EXTABLE("1b", "3b")

#define __get_user(x, ptr)                                                          \
	({                                                                          \
		const __typeof__(*(ptr)) __user *__p = (ptr);                       \
		__inttype(*__p) __v;                                                \
		int __err = 0;                                                      \
		might_fault();                                                      \
		asm volatile("1: mov %2, %1\n" RUMPEL_FIXUP("xorl %k1, %k1\n")      \
			     : "+r"(__err), "=r"(__v)                               \
			     : "m"(*(__force __inttype(*__p) *)__p), "i"(-EFAULT)); \
		(x) = (__force __typeof__(*(ptr)))__v;                              \
		__err;                                                              \
	})

#define __put_user(x, ptr)                                                        \
	({                                                                        \
		__typeof__(*(ptr)) __user *__p = (ptr);                           \
		__typeof__(*(ptr)) __x = (x);                                     \
		int __err = 0;                                                    \
		might_fault();                                                    \
		asm volatile("1: mov %1, %2\n" RUMPEL_FIXUP("")                   \
			     : "+r"(__err)                                        \
			     : "r"((__inttype(*__p))(unsigned long)__x),          \
			       "m"(*(__force __inttype(*__p) *)__p), "i"(-EFAULT) \
			     : "memory");                                         \
		__err;                                                            \
	})

#define get_user(x, ptr)                                                                 \
	({                                                                               \
		const __typeof__(*(ptr)) __user *__gp = (ptr);                           \
		access_ok(__gp, sizeof(*__gp)) ? __get_user(x, __gp)                     \
					       : ((x) = (__typeof__(*(ptr)))0, -EFAULT); \
	})

#define put_user(x, ptr)                                                        \
	({                                                                      \
		__typeof__(*(ptr)) __user *__pp = (ptr);                        \
		access_ok(__pp, sizeof(*__pp)) ? __put_user(x, __pp) : -EFAULT; \
	})

long strncpy_from_user(char *dst, const char __user *src, long count);
long strnlen_user(const char __user *src, long n);
