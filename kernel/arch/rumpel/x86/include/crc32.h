/* SPDX-License-Identifier: GPL-2.0-only */
/* CRC32c by the CPU's instruction: 7.2 includes this in its own, lib/crc32.c in 6.12's. */
static bool has_crc32c;

static u32 crc32c_arch(u32 crc, const u8 *p, size_t len)
{
	u64 sum = crc;

	if (!has_crc32c)
		return crc32c_base(crc, p, len);
	for (; len >= 8; len -= 8, p += 8)
		asm("crc32q %1, %0" : "+r"(sum) : "m"(*(const u64 *)p));
	for (; len; len--, p++)
		asm("crc32b %1, %0" : "+r"(sum) : "m"(*p));
	return sum;
}

/* SSE 4.2, as CPUID has it. */
static void crc32_mod_init_arch(void)
{
	u32 eax = 1, ecx;

	asm("cpuid" : "+a"(eax), "=c"(ecx) : : "ebx", "edx");
	has_crc32c = ecx >> 20 & 1;
}
#define crc32_mod_init_arch crc32_mod_init_arch
#define crc32_optimizations_arch() (has_crc32c ? CRC32C_OPTIMIZATION : 0)
#define crc32_le_arch crc32_le_base
#define crc32_be_arch crc32_be_base
