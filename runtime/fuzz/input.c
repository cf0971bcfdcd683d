// SPDX-License-Identifier: GPL-2.0-only
/* Hostile drivers: numbers of an input, most of which make sense. */
#include "fuzz.h"

uint8_t u8(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

uint32_t u16(struct input *in)
{
	return u8(in) | u8(in) << 8;
}

uint32_t u32(struct input *in)
{
	return u16(in) | u16(in) << 16;
}

uint32_t pick_value(struct input *in)
{
	switch (u8(in) % 8) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return ~0u;
	case 3:
		return u32(in);
	default:
		return u8(in);
	}
}

uint64_t pick_address(struct input *in, const struct victim *v)
{
	uint8_t kind = u8(in);

	switch (kind % 16) {
	case 0:
		return FAKE_MEMORY - u8(in);
	case 1:
		return v->queues[kind >> 4 & 1].desc_pa + u8(in);
	case 2:
		return v->queues[kind >> 4 & 1].used_pa + u8(in);
	case 3:
		return (uint64_t)u32(in) << 32 | u32(in);
	default:
		return v->data + u16(in);
	}
}

uint32_t pick_len(struct input *in)
{
	static const uint32_t lens[] = { 0, 1, 11, 12, 16, 26, 512, 1514, 4096, 65536, ~0u };
	uint8_t kind = u8(in);

	if (kind & 1)
		return lens[(kind >> 1) % (sizeof(lens) / sizeof(lens[0]))];
	return kind & 2 ? u8(in) : u16(in) % 5000;
}
