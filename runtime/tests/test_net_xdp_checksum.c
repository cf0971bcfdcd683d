// SPDX-License-Identifier: GPL-2.0-only
/* Promises of net_xdp_checksum.c: what is open is seen, and nothing else is. */
#include <stdlib.h>
#include <string.h>

#include "../virtio/net_xdp.h"
#include "check.h"

#define PAYLOAD 37 /* odd: the last byte is summed with a zero */

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t add(const uint8_t *bytes, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? bytes[i] : bytes[i] << 8;
	return sum;
}

static void put(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

struct made {
	size_t start, place, len; /* of the transport's header, its checksum, the frame */
	uint32_t pseudo;
	uint8_t frame[200];
};

/* A frame with an open checksum, behind so many tags; padding is no part of the packet. */
static void make(struct made *made, bool six, bool udp, unsigned int tags, size_t padding)
{
	const size_t header = udp ? 8 : 20, len = header + PAYLOAD;
	uint8_t *frame = made->frame, *ip;
	size_t at = 12;

	for (size_t i = 0; i < sizeof(made->frame); i++)
		frame[i] = i * 7 + 1;
	for (unsigned int i = 0; i < tags; i++, at += 4)
		put(frame + at, i + 1 < tags ? 0x88a8 : 0x8100);
	put(frame + at, six ? 0x86dd : 0x0800);
	ip = frame + at + 2;
	if (six) {
		ip[0] = 0x60;
		put(ip + 4, len);
		ip[6] = udp ? 17 : 6;
		made->pseudo = add(ip + 8, 32);
		made->start = at + 2 + 40;
	} else {
		ip[0] = 0x46; /* with options */
		put(ip + 2, 24 + len);
		put(ip + 6, 0x4000);
		ip[9] = udp ? 17 : 6;
		made->pseudo = add(ip + 12, 8);
		made->start = at + 2 + 24;
	}
	made->pseudo += (udp ? 17 : 6) + len;
	made->place = udp ? 6 : 16;
	made->len = made->start + len + padding;
	put(frame + made->start + made->place, fold(made->pseudo));
}

/* In memory of just that length, so that the sanitizer sees who looks behind it. */
static bool is_open(const uint8_t *frame, size_t len, uint16_t *start, uint16_t *place)
{
	uint8_t *copy = malloc(len ? len : 1);
	bool result;

	CHECK(copy);
	memcpy(copy, frame, len);
	result = net_xdp_checksum_is_open(copy, len, start, place);
	free(copy);
	return result;
}

static void each(bool six, bool udp, unsigned int tags, size_t padding)
{
	uint16_t start = 0, place = 0;
	struct made made;
	uint8_t *checksum;

	make(&made, six, udp, tags, padding);
	CHECK(is_open(made.frame, made.len, &start, &place));
	EQUAL(start, made.start);
	EQUAL(place, made.place);
	for (size_t len = 0; len < made.len - padding; len++)
		CHECK(!is_open(made.frame, len, &start, &place));
	checksum = made.frame + made.start + made.place;
	/* As it is when the sender has finished it. */
	put(checksum, 0);
	put(checksum,
	    ~fold(made.pseudo + add(made.frame + made.start, made.len - padding - made.start)));
	CHECK(!is_open(made.frame, made.len, &start, &place));
	put(checksum, 0); /* UDP without one */
	CHECK(!is_open(made.frame, made.len, &start, &place));
}

static void test_others(void)
{
	uint16_t start, place;
	struct made made;

	make(&made, false, true, 0, 0);
	made.frame[20] = 0x20; /* more fragments follow */
	CHECK(!is_open(made.frame, made.len, &start, &place));
	made.frame[20] = 0;
	made.frame[21] = 1; /* a later one */
	CHECK(!is_open(made.frame, made.len, &start, &place));
	make(&made, false, false, 0, 0);
	made.frame[23] = 1; /* ICMP */
	CHECK(!is_open(made.frame, made.len, &start, &place));
	make(&made, false, false, 0, 0);
	made.frame[14] = 0x44; /* a header that is none */
	CHECK(!is_open(made.frame, made.len, &start, &place));
	make(&made, true, false, 0, 0);
	put(made.frame + 12, 0x0806);
	CHECK(!is_open(made.frame, made.len, &start, &place));
}

static void test_all_kinds(void)
{
	for (unsigned int kind = 0; kind < 4; kind++)
		for (unsigned int tags = 0; tags < 3; tags++)
			for (size_t padding = 0; padding < 4; padding += 3)
				each(kind & 1, kind & 2, tags, padding);
}

static const struct test tests[] = {
	{ test_all_kinds,
	  "open checksums of TCP and UDP are found, complete ones and none are not" },
	{ test_others, "fragments, other protocols and broken headers have none" },
};

TEST_MAIN(tests)
