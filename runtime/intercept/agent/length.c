// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long instructions are: the opcode maps of Intel's manual, volume 2,
 * appendix A, for 64-bit mode, as far as the length is concerned.
 */
#include "length.h"

#define LONGEST 15

/* What follows an opcode. */
enum { NO = 0, NONE = 1, MODRM = 2, IMM8 = 4, IMM16 = 8, IMMZ = 16 };

struct row {
	uint8_t last; /* opcode up to which it holds */
	uint8_t what;
};

static const struct row one_byte[] = {
	{ 0x03, MODRM }, { 0x04, IMM8 },	 { 0x05, IMMZ },	   { 0x07, NO },
	{ 0x0b, MODRM }, { 0x0c, IMM8 },	 { 0x0d, IMMZ },	   { 0x0f, NO },
	{ 0x13, MODRM }, { 0x14, IMM8 },	 { 0x15, IMMZ },	   { 0x17, NO },
	{ 0x1b, MODRM }, { 0x1c, IMM8 },	 { 0x1d, IMMZ },	   { 0x1f, NO },
	{ 0x23, MODRM }, { 0x24, IMM8 },	 { 0x25, IMMZ },	   { 0x27, NO },
	{ 0x2b, MODRM }, { 0x2c, IMM8 },	 { 0x2d, IMMZ },	   { 0x2f, NO },
	{ 0x33, MODRM }, { 0x34, IMM8 },	 { 0x35, IMMZ },	   { 0x37, NO },
	{ 0x3b, MODRM }, { 0x3c, IMM8 },	 { 0x3d, IMMZ },	   { 0x4f, NO },
	{ 0x5f, NONE },	 { 0x62, NO },		 { 0x63, MODRM },	   { 0x67, NO },
	{ 0x68, IMMZ },	 { 0x69, MODRM | IMMZ }, { 0x6a, IMM8 },	   { 0x6b, MODRM | IMM8 },
	{ 0x6f, NONE },	 { 0x7f, IMM8 },	 { 0x80, MODRM | IMM8 },   { 0x81, MODRM | IMMZ },
	{ 0x82, NO },	 { 0x83, MODRM | IMM8 }, { 0x8f, MODRM },	   { 0x99, NONE },
	{ 0x9a, NO },	 { 0x9f, NONE },	 { 0xa3, NO /* below */ }, { 0xa7, NONE },
	{ 0xa8, IMM8 },	 { 0xa9, IMMZ },	 { 0xaf, NONE },	   { 0xb7, IMM8 },
	{ 0xbf, IMMZ },	 { 0xc1, MODRM | IMM8 }, { 0xc2, IMM16 },	   { 0xc3, NONE },
	{ 0xc5, NO },	 { 0xc6, MODRM | IMM8 }, { 0xc7, MODRM | IMMZ },   { 0xc8, IMM16 | IMM8 },
	{ 0xc9, NONE },	 { 0xca, IMM16 },	 { 0xcc, NONE },	   { 0xcd, IMM8 },
	{ 0xce, NO },	 { 0xcf, NONE },	 { 0xd3, MODRM },	   { 0xd6, NO },
	{ 0xd7, NONE },	 { 0xdf, MODRM },	 { 0xe7, IMM8 },	   { 0xe9, IMMZ },
	{ 0xea, NO },	 { 0xeb, IMM8 },	 { 0xef, NONE },	   { 0xf0, NO },
	{ 0xf1, NONE },	 { 0xf3, NO },		 { 0xf5, NONE },	   { 0xf7, MODRM },
	{ 0xfd, NONE },	 { 0xff, MODRM },
};

static const struct row two_bytes[] = {
	{ 0x03, MODRM },	{ 0x04, NO },		{ 0x09, NONE },
	{ 0x0a, NO },		{ 0x0b, NONE },		{ 0x0c, NO },
	{ 0x0d, MODRM },	{ 0x0e, NONE },		{ 0x0f, MODRM | IMM8 },
	{ 0x23, MODRM },	{ 0x27, NO },		{ 0x2f, MODRM },
	{ 0x35, NONE },		{ 0x36, NO },		{ 0x37, NONE },
	{ 0x3f, NO },		{ 0x6f, MODRM },	{ 0x73, MODRM | IMM8 },
	{ 0x76, MODRM },	{ 0x77, NONE },		{ 0x79, MODRM },
	{ 0x7b, NO },		{ 0x7f, MODRM },	{ 0x8f, IMMZ },
	{ 0x9f, MODRM },	{ 0xa2, NONE },		{ 0xa3, MODRM },
	{ 0xa4, MODRM | IMM8 }, { 0xa5, MODRM },	{ 0xa7, NO },
	{ 0xaa, NONE },		{ 0xab, MODRM },	{ 0xac, MODRM | IMM8 },
	{ 0xb9, MODRM },	{ 0xba, MODRM | IMM8 }, { 0xc1, MODRM },
	{ 0xc2, MODRM | IMM8 }, { 0xc3, MODRM },	{ 0xc6, MODRM | IMM8 },
	{ 0xc7, MODRM },	{ 0xcf, NONE },		{ 0xff, MODRM },
};

static uint8_t look_up(const struct row *row, uint8_t opcode)
{
	while (row->last < opcode)
		row++;
	return row->what;
}

/* Of ModRM and what belongs to it. */
static int modrm_length(const uint8_t *p)
{
	int mod = *p >> 6, rm = *p & 7, length = 1;

	if (mod == 3)
		return 1;
	if (rm == 4) {
		length++;
		if (mod == 0 && (p[1] & 7) == 5)
			return length + 4;
	}
	if (mod == 0)
		return rm == 5 ? length + 4 : length;
	return length + (mod == 1 ? 1 : 4);
}

/* Opcode maps by number, as VEX and EVEX have them: 1 is 0f, 2 is 0f 38, 3 is 0f 3a. */
static uint8_t in_map(int map, uint8_t opcode, bool vector)
{
	switch (map) {
	case 1:
		/* Of the vector instructions only those have an immediate that are so without. */
		if (vector && opcode != 0x77)
			return MODRM | (look_up(two_bytes, opcode) & IMM8);
		return look_up(two_bytes, opcode);
	case 2:
		return MODRM;
	case 3:
		return MODRM | IMM8;
	case 5:
	case 6:
		return vector ? MODRM : NO;
	}
	return NO;
}

static bool is_prefix(uint8_t byte)
{
	return byte == 0x66 || byte == 0x67 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3 ||
	       byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 ||
	       byte == 0x65;
}

/* p may be read for LONGEST bytes. */
static int length_of(const uint8_t *start)
{
	const uint8_t *p = start;
	bool wide = false, small = false, near = false;
	uint8_t what, opcode;

	while (is_prefix(*p) && p - start < LONGEST - 1) {
		small |= *p == 0x66;
		near |= *p == 0x67;
		p++;
	}
	if ((*p & 0xf0) == 0x40)
		wide = *p++ & 8;
	opcode = *p++;
	if (opcode == 0x0f) {
		int map = 1;

		opcode = *p++;
		if (opcode == 0x38 || opcode == 0x3a) {
			map = opcode == 0x38 ? 2 : 3;
			opcode = *p++;
		}
		what = in_map(map, opcode, false);
		if (map == 1 && (opcode & 0xf0) == 0x80)
			small = false; /* jumps */
	} else if (opcode == 0xc5) {
		what = in_map(1, p[1], true);
		p += 2;
	} else if (opcode == 0xc4) {
		what = in_map(p[0] & 0x1f, p[2], true);
		p += 3;
	} else if (opcode == 0x62) {
		what = in_map(p[0] & 7, p[3], true);
		p += 4;
	} else if (opcode >= 0xa0 && opcode <= 0xa3) {
		return p - start + (near ? 4 : 8);
	} else {
		what = look_up(one_byte, opcode);
		if (opcode == 0xf6 && !(*p & 0x30))
			what |= IMM8;
		if (opcode == 0xf7 && !(*p & 0x30))
			what |= IMMZ;
		if (opcode == 0x8f && (*p & 0x38))
			what = NO;
		if (opcode >= 0xb8 && opcode <= 0xbf && wide)
			return p - start + 8;
		if (opcode == 0xe8 || opcode == 0xe9)
			small = false;
	}
	if (what == NO)
		return 0;
	if (what & MODRM)
		p += modrm_length(p);
	p += what & IMM8 ? 1 : 0;
	p += what & IMM16 ? 2 : 0;
	if (what & IMMZ)
		p += small && !wide ? 2 : 4;
	return p - start;
}

int instruction_length(const uint8_t *p, const uint8_t *end)
{
	uint8_t bytes[2 * LONGEST] = { 0 };
	int length;

	for (int i = 0; i < LONGEST && p + i < end; i++)
		bytes[i] = p[i];
	length = length_of(bytes);
	return length <= LONGEST && p + length <= end ? length : 0;
}

bool instruction_begins(const uint8_t *p, const uint8_t *begin)
{
	enum { BACK = 64 }; /* bytes in which wrong ways have time to meet the right one */
	int ways = 0;

	if (p - begin < BACK + LONGEST)
		return false;
	for (const uint8_t *start = p - BACK - LONGEST; start < p - BACK; start++) {
		const uint8_t *at = start;
		int length = 1;

		while (at < p && length) {
			length = instruction_length(at, p);
			/* Cut by p: this way goes on beyond it. */
			if (!length && instruction_length(at, p + LONGEST))
				return false;
			at += length;
		}
		ways += at == p;
	}
	return ways > 0;
}
