// SPDX-License-Identifier: GPL-2.0-only
/*
 * A veth hands over what its other end left to hardware: in place of the checksum
 * there is the sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1). An XDP program is
 * not told so, but it can be seen. Of a frame whose right checksum looks like that, the
 * same comes out when it is filled in. A frame that was damaged on its way looks so in one of
 * 65,536 cases, which is how often a checksum misses damage anyway.
 */
#include "net_xdp.h"

#define ETHERNET_TYPE 12
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_TAG 0x8100
#define TYPE_OUTER_TAG 0x88a8
#define IPV4_LEN 20
#define IPV6_LEN 40
#define TCP 6
#define UDP 17

static uint16_t word(const uint8_t *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

static uint32_t sum(const uint8_t *bytes, size_t len)
{
	uint32_t result = 0;

	for (size_t i = 0; i < len; i += 2)
		result += word(bytes + i);
	return result;
}

/* A transport's header and payload, and the sum of the pseudo header but for these two. */
struct segment {
	size_t start, len;
	uint8_t protocol;
	uint32_t addresses;
};

static bool in_ipv4(const uint8_t *ip, size_t len, struct segment *segment)
{
	size_t header, total;

	if (len < IPV4_LEN || ip[0] >> 4 != 4)
		return false;
	header = (ip[0] & 15) * 4;
	total = word(ip + 2);
	/* Of fragments the checksum is no matter of the sender's hardware. */
	if (header < IPV4_LEN || total < header || total > len || (word(ip + 6) & 0x3fff))
		return false;
	*segment = (struct segment){ header, total - header, ip[9], sum(ip + 12, 8) };
	return true;
}

static bool in_ipv6(const uint8_t *ip, size_t len, struct segment *segment)
{
	if (len < IPV6_LEN || ip[0] >> 4 != 6 || word(ip + 4) > len - IPV6_LEN)
		return false;
	*segment = (struct segment){ IPV6_LEN, word(ip + 4), ip[6], sum(ip + 8, 32) };
	return true;
}

bool net_xdp_checksum_is_open(const uint8_t *frame, size_t len, uint16_t *start, uint16_t *offset)
{
	size_t at = ETHERNET_TYPE, place;
	struct segment segment;
	uint32_t pseudo;
	bool found;

	while (at + 4 < len && (word(frame + at) == TYPE_TAG || word(frame + at) == TYPE_OUTER_TAG))
		at += 4;
	if (at + 2 > len)
		return false;
	at += 2;
	if (word(frame + at - 2) == TYPE_IPV4)
		found = in_ipv4(frame + at, len - at, &segment);
	else
		found = word(frame + at - 2) == TYPE_IPV6 &&
			in_ipv6(frame + at, len - at, &segment);
	if (!found || (segment.protocol != TCP && segment.protocol != UDP))
		return false;
	place = segment.protocol == TCP ? 16 : 6;
	if (segment.len < place + 2)
		return false;
	pseudo = segment.addresses + segment.protocol + (uint32_t)segment.len;
	while (pseudo >> 16)
		pseudo = (pseudo & 0xffff) + (pseudo >> 16);
	*start = at + segment.start;
	*offset = place;
	return word(frame + at + segment.start + place) == pseudo;
}
