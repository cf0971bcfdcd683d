// SPDX-License-Identifier: GPL-2.0-only
#include <linux/module.h>
#include <asm/checksum.h>

/* The one's complement sum (RFC 1071): carries are collected in the upper half. */
unsigned int do_csum(const unsigned char *buff, int len)
{
	unsigned __int128 sum = 0;
	u64 folded;

	for (; len >= 8; len -= 8, buff += 8)
		sum += *(const u64 *)buff;
	for (; len >= 4; len -= 4, buff += 4)
		sum += *(const u32 *)buff;
	for (; len >= 2; len -= 2, buff += 2)
		sum += *(const u16 *)buff;
	if (len > 0)
		sum += *buff;
	folded = (u64)(u32)sum + (u32)(sum >> 32) + (u64)(sum >> 64);
	while (folded >> 16)
		folded = (folded & 0xffff) + (folded >> 16);
	return folded;
}
