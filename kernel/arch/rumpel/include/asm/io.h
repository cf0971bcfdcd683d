/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once
#include <linux/types.h>
#include <asm/host.h>
#include <asm/page.h>

/* I/O memory is device registers only, and each access a host call. */
#define RUMPEL_IO(bits, type, name)                                                   \
	static inline type __raw_read##name(const volatile void __iomem *addr)        \
	{                                                                             \
		return host_call(mmio_read, (unsigned long)addr, bits / 8);           \
	}                                                                             \
	static inline void __raw_write##name(type value, volatile void __iomem *addr) \
	{                                                                             \
		host_call(mmio_write, (unsigned long)addr, value, bits / 8);          \
	}
RUMPEL_IO(8, u8, b)
RUMPEL_IO(16, u16, w)
RUMPEL_IO(32, u32, l)
#define __raw_readb __raw_readb
#define __raw_readw __raw_readw
#define __raw_readl __raw_readl
#define __raw_writeb __raw_writeb
#define __raw_writew __raw_writew
#define __raw_writel __raw_writel

#define ioremap(addr, size) ((void __iomem *)(unsigned long)(addr))
#define iounmap(addr) ((void)(addr))

#include <asm-generic/io.h>
