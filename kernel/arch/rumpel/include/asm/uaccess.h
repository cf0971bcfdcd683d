/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _ASM_RUMPEL_UACCESS_H
#define _ASM_RUMPEL_UACCESS_H

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

/* Not asm goto with outputs: several versions of gcc compile it wrongly. */
#define RUMPEL_LOAD(insn, type, ptr)                                       \
	({                                                                 \
		type __v;                                                  \
		asm volatile("1: " insn " %2, %1\n"                        \
			     "2:\n"                                        \
			     ".pushsection .fixup, \"ax\"\n"               \
			     "3: movl %3, %0\n"                            \
			     "xorl %k1, %k1\n"                             \
			     "jmp 2b\n"                                    \
			     ".popsection\n" RUMPEL_EXTABLE("1b", "3b")    \
			     : "+r"(__err), "=r"(__v)                      \
			     : "m"(*(type __force *)(ptr)), "i"(-EFAULT)); \
		__v;                                                       \
	})

#define RUMPEL_STORE(insn, type, x, ptr)                                      \
	asm goto("1: " insn " %0, %1\n" RUMPEL_EXTABLE("1b", "%l2")           \
		 :                                                            \
		 : "r"((type)(unsigned long)(x)), "m"(*(type __force *)(ptr)) \
		 : "memory"                                                   \
		 : __fault)

/* Integers and pointers of 1, 2, 4 or 8 bytes, through an unsigned of the size. */
#define __get_user(x, ptr)                                    \
	({                                                    \
		const __typeof__(*(ptr)) __user *__p = (ptr); \
		__inttype(*__p) __l;                          \
		int __err = 0;                                \
		might_fault();                                \
		switch (sizeof(*__p)) {                       \
		case 1:                                       \
			__l = RUMPEL_LOAD("movb", u8, __p);   \
			break;                                \
		case 2:                                       \
			__l = RUMPEL_LOAD("movw", u16, __p);  \
			break;                                \
		case 4:                                       \
			__l = RUMPEL_LOAD("movl", u32, __p);  \
			break;                                \
		case 8:                                       \
			__l = RUMPEL_LOAD("movq", u64, __p);  \
			break;                                \
		default:                                      \
			BUILD_BUG();                          \
		}                                             \
		(x) = (__force __typeof__(*(ptr)))__l;        \
		__err;                                        \
	})

#define __put_user(x, ptr)                                   \
	({                                                   \
		__label__ __fault;                           \
		__typeof__(*(ptr)) __user *__p = (ptr);      \
		__typeof__(*(ptr)) __x = (x);                \
		int __err = -EFAULT;                         \
		might_fault();                               \
		switch (sizeof(*__p)) {                      \
		case 1:                                      \
			RUMPEL_STORE("movb", u8, __x, __p);  \
			break;                               \
		case 2:                                      \
			RUMPEL_STORE("movw", u16, __x, __p); \
			break;                               \
		case 4:                                      \
			RUMPEL_STORE("movl", u32, __x, __p); \
			break;                               \
		case 8:                                      \
			RUMPEL_STORE("movq", u64, __x, __p); \
			break;                               \
		default:                                     \
			BUILD_BUG();                         \
		}                                            \
		__err = 0;                                   \
__fault:                                                     \
		__err;                                       \
	})

#define __inttype(x)                                         \
	__typeof__(__builtin_choose_expr(                    \
		sizeof(x) > 4, 0UL,                          \
		__builtin_choose_expr(sizeof(x) > 2, (u32)0, \
				      __builtin_choose_expr(sizeof(x) > 1, (u16)0, (u8)0))))

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

#endif
