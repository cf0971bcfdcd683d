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

#define RUMPEL_LOAD(insn, type, x, ptr, fault)                             \
	({                                                                 \
		type __v;                                                  \
		asm goto("1: " insn " %1, %0\n" RUMPEL_EXTABLE("1b", "%l2")   \
			 : "=r"(__v)                                       \
			 : "m"(*(const type *)(__force const void *)(ptr)) \
			 :                                                 \
			 : fault);                                         \
		(x) = (__force __typeof__(x))__v;                          \
	})

#define RUMPEL_STORE(insn, type, x, ptr, fault)                        \
	asm goto("1: " insn " %0, %1\n" RUMPEL_EXTABLE("1b", "%l2")       \
		 :                                                     \
		 : "r"((type)(unsigned long)(x)), "m"(*(type *)(__force void *)(ptr)) \
		 :                                                     \
		 : fault)

/* Integers and pointers of 1, 2, 4 or 8 bytes, through an unsigned of the size. */
#define __get_user(x, ptr)                                                           \
	({                                                                           \
		__label__ __fault, __end;                                            \
		const __typeof__(*(ptr)) __user *__p = (ptr);                        \
		unsigned long __l = 0;                                               \
		int __err = 0;                                                       \
		might_fault();                                                       \
		switch (sizeof(*__p)) {                                              \
		case 1:                                                              \
			RUMPEL_LOAD("movb", u8, __l, __p, __fault);                  \
			break;                                                       \
		case 2:                                                              \
			RUMPEL_LOAD("movw", u16, __l, __p, __fault);                 \
			break;                                                       \
		case 4:                                                              \
			RUMPEL_LOAD("movl", u32, __l, __p, __fault);                 \
			break;                                                       \
		case 8:                                                              \
			RUMPEL_LOAD("movq", u64, __l, __p, __fault);                 \
			break;                                                       \
		default:                                                             \
			BUILD_BUG();                                                 \
		}                                                                    \
		goto __end;                                                          \
__fault:                                                                             \
		__l = 0;                                                             \
		__err = -EFAULT;                                                     \
__end:                                                                               \
		(x) = (__force __typeof__(*(ptr)))(__typeof__(__builtin_choose_expr( \
			sizeof(*__p) == 8, 0ul, (__inttype(*__p))0)))__l;            \
		__err;                                                               \
	})

#define __put_user(x, ptr)                                                      \
	({                                                                      \
		__label__ __fault, __end;                                       \
		__typeof__(*(ptr)) __user *__p = (ptr);                         \
		__typeof__(*(ptr)) __x = (x);                                   \
		int __err = 0;                                                  \
		might_fault();                                                  \
		switch (sizeof(*__p)) {                                         \
		case 1:                                                         \
			RUMPEL_STORE("movb", u8, __x, __p, __fault);            \
			break;                                                  \
		case 2:                                                         \
			RUMPEL_STORE("movw", u16, __x, __p, __fault);           \
			break;                                                  \
		case 4:                                                         \
			RUMPEL_STORE("movl", u32, __x, __p, __fault);           \
			break;                                                  \
		case 8:                                                         \
			RUMPEL_STORE("movq", unsigned long, __x, __p, __fault); \
			break;                                                  \
		default:                                                        \
			BUILD_BUG();                                            \
		}                                                               \
		goto __end;                                                     \
__fault:                                                                        \
		__err = -EFAULT;                                                \
__end:                                                                          \
		__err;                                                          \
	})

#define __inttype(x)                                          \
	__typeof__(__builtin_choose_expr(                     \
		sizeof(x) == 1, (u8)0,                        \
		__builtin_choose_expr(sizeof(x) == 2, (u16)0, \
				      __builtin_choose_expr(sizeof(x) == 4, (u32)0, (u64)0))))

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
