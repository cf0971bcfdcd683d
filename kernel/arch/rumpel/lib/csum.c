// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitops.h>
#include <linux/module.h>
#include <linux/unaligned.h>
#include <asm/checksum.h>

/* The one's complement sum (RFC 1071), 32 bytes a turn with add-with-carry. */
unsigned int do_csum(const unsigned char *buff, int len)
{
	unsigned long sum = 0, last = 0;
	bool odd = (unsigned long)buff & 1;

	if (len <= 0)
		return 0;
	if (odd) {
		sum = (unsigned long)*buff++ << 8;
		len--;
	}
	for (; len >= 32; len -= 32, buff += 32)
		asm("addq 0(%1), %0\n\tadcq 8(%1), %0\n\tadcq 16(%1), %0\n\t"
		    "adcq 24(%1), %0\n\tadcq $0, %0"
		    : "+r"(sum)
		    : "r"(buff), "m"(*(const char(*)[32])buff));
	for (; len >= 8; len -= 8, buff += 8)
		asm("addq %1, %0\n\tadcq $0, %0" : "+r"(sum) : "m"(*(const u64 *)buff));
	if (len) {
		memcpy(&last, buff, len);
		asm("addq %1, %0\n\tadcq $0, %0" : "+r"(sum) : "r"(last));
	}
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return odd ? (sum >> 8 | (sum & 0xff) << 8) & 0xffff : sum;
}
