// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets as lines of text: the time in seconds, the direction, the frame in
 * hexadecimal digits, and a summary for people and for grep.
 *
 *	12.000000042 > 020000...0800450000... IP 10.0.0.1 > 10.0.0.2 ICMP echo request id 1 seq 1
 *
 * A line that does not begin with a time and a direction is no packet.
 */
#include "packets.h"

#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t skip_digits(const char *line, size_t at, size_t len)
{
	while (at < len && is_digit(line[at]))
		at++;
	return at;
}

/* Where the frame's digits begin, or 0: this is no packet. */
static size_t find_frame(const char *line, size_t len)
{
	size_t point = skip_digits(line, 0, len), at;

	if (!point || point == len || line[point] != '.')
		return 0;
	at = skip_digits(line, point + 1, len);
	if (at == point + 1 || len - at < 3 || line[at] != ' ' || line[at + 2] != ' ')
		return 0;
	return line[at + 1] == '>' || line[at + 1] == '<' ? at + 3 : 0;
}

/* Of what find_frame() has found. */
static uint64_t read_time(const char *line)
{
	uint64_t seconds = 0, ns = 0;
	int digits = 0;

	for (; is_digit(*line); line++)
		seconds = seconds * 10 + (*line - '0');
	for (line++; digits < 9; digits++)
		ns = ns * 10 + (is_digit(*line) ? *line++ - '0' : 0);
	return seconds * 1000000000 + ns;
}

/* What a hexadecimal digit stands for, and one more: 0 says that it is none. */
static const uint8_t hex_value[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,
	['6'] = 7,  ['7'] = 8,	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
	['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
	['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* In place. Says what is wrong, or NULL. */
static const char *decode(char *digits, size_t len, struct rumpel_packet *found)
{
	const uint8_t *at = (const uint8_t *)digits;
	size_t count = 0;

	while (count < len && hex_value[at[count]])
		count++;
	if (count < len && digits[count] != ' ')
		return "what should be the frame has other characters than hexadecimal digits";
	if (count % 2)
		return "the frame has an odd number of hexadecimal digits";
	count /= 2;
	if (count < RUMPEL_FRAME_MIN)
		return "the frame is shorter than an Ethernet header";
	if (count > RUMPEL_FRAME_MAX)
		return "the frame is longer than Ethernet can carry";
	for (size_t i = 0; i < count; i++)
		digits[i] = (hex_value[at[2 * i]] - 1) << 4 | (hex_value[at[2 * i + 1]] - 1);
	found->data = digits;
	found->len = count;
	return NULL;
}

enum rumpel_packet_kind packets_read_text(struct rumpel_packet_reader *reader, char *bytes,
					  size_t len, bool end, struct rumpel_packet *found)
{
	char *newline = memchr(bytes, '\n', len);
	size_t line = newline ? (size_t)(newline - bytes) : len, at;

	if (!newline && !end && len < RUMPEL_PACKET_LONGEST)
		return RUMPEL_PACKET_MORE;
	found->used = newline ? line + 1 : len;
	if (reader->skipping) {
		reader->skipping = !newline;
		return RUMPEL_PACKET_NOTHING;
	}
	reader->count++;
	if (line >= RUMPEL_PACKET_LONGEST) {
		reader->skipping = !newline;
		found->why = "the line is longer than any packet";
		return RUMPEL_PACKET_BAD;
	}
	if (line && bytes[line - 1] == '\r')
		line--;
	at = find_frame(bytes, line);
	if (!at) {
		found->data = bytes;
		found->len = found->used;
		return RUMPEL_PACKET_OTHER;
	}
	found->time = read_time(bytes);
	found->direction = bytes[at - 2];
	found->why = decode(bytes + at, line - at, found);
	return found->why ? RUMPEL_PACKET_BAD : RUMPEL_PACKET_FRAME;
}

static char *put_number(char *out, uint64_t value, unsigned int digits)
{
	for (unsigned int i = digits; i-- > 0; value /= 10)
		out[i] = '0' + value % 10;
	return out + digits;
}

static unsigned int digits_of(uint64_t value)
{
	unsigned int digits = 1;

	while (value /= 10)
		digits++;
	return digits;
}

/* Eight digits at a time: their values in eight bytes, which become characters. */
static char *put_hex(char *out, const char *bytes, size_t len)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t nibbles, letters;
	uint32_t word;

	for (; len >= 4; len -= 4, bytes += 4, out += 8) {
		memcpy(&word, bytes, 4);
		nibbles = word;
		nibbles = (nibbles | nibbles << 16) & 0x0000ffff0000ffff;
		nibbles = (nibbles | nibbles << 8) & 0x00ff00ff00ff00ff;
		nibbles = (nibbles >> 4 | nibbles << 8) & 0x0f0f0f0f0f0f0f0f;
		/* Above 9 a bit comes up to 16. */
		letters = (nibbles + 6 * ones) >> 4 & ones;
		nibbles += '0' * ones + letters * ('a' - '0' - 10);
		memcpy(out, &nibbles, 8);
	}
	for (; len; len--, bytes++) {
		*out++ = "0123456789abcdef"[(uint8_t)*bytes >> 4];
		*out++ = "0123456789abcdef"[*bytes & 15];
	}
	return out;
}

size_t packets_write_text(char *out, uint64_t now, char direction, const char *frame, size_t len)
{
	uint64_t seconds = now / 1000000000;
	char *at = put_number(out, seconds, digits_of(seconds));

	*at++ = '.';
	at = put_number(at, now % 1000000000, 9);
	*at++ = ' ';
	*at++ = direction;
	*at++ = ' ';
	at = put_hex(at, frame, len);
	*at++ = ' ';
	at += rumpel_packet_summary(frame, len, at);
	*at++ = '\n';
	return at - out;
}
