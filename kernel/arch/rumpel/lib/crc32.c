// SPDX-License-Identifier: GPL-2.0-only
#include <linux/crc32.h>
#include <linux/init.h>
#include <asm/version.h>

#ifdef RUMPEL_BEFORE_7 /* after that the core includes <crc32.h> itself */
#define crc32c_base __crc32c_le_base
#include <crc32.h>

u32 __crc32c_le(u32 crc, const unsigned char *p, size_t len)
{
	return crc32c_arch(crc, p, len);
}

static int __init crc32_init(void)
{
	crc32_mod_init_arch();
	return 0;
}
subsys_initcall(crc32_init);
#endif
