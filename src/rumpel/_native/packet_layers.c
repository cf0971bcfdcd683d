// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a packet's headers are (RFC 791, 8200, 9293, 768; IEEE 802.1Q), and what a
 * change of some bytes does to the others. Checksums are adjusted by the difference
 * (RFC 1624), so that one that was wrong stays wrong by as much.
 */
#include "packet.h"

#include <netinet/in.h>
#include <string.h>

#define ETHER_HEADER 14
#define VLAN_TAG 4
#define VLAN_TAGS_MAX 4
#define EXTENSIONS_MAX 8

#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806
#define TYPE_VLAN 0x8100
#define TYPE_IP6 0x86dd
#define TYPE_SERVICE_VLAN 0x88a8

static uint32_t be16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* ---- where they are ---- */

static void found(Packet *packet, enum layer layer, uint32_t at, uint32_t len)
{
	packet->has |= (uint16_t)(1u << layer);
	packet->at[layer] = at;
	packet->payload = at + len;
}

static void parse_transport(Packet *packet, uint8_t protocol, uint32_t at)
{
	const uint8_t *bytes = packet->bytes + at;
	uint32_t left = packet->end - at, len;

	packet->protocol = protocol;
	switch (protocol) {
	case IPPROTO_TCP:
		len = left >= 20 ? (bytes[12] >> 4) * 4u : 0;
		if (len < 20 || len > left)
			return;
		packet->top = LAYER_TCP;
		break;
	case IPPROTO_UDP:
		len = 8;
		packet->top = LAYER_UDP;
		break;
	case IPPROTO_ICMP:
		len = 8;
		packet->top = LAYER_ICMP;
		break;
	case IPPROTO_ICMPV6:
		len = 8;
		packet->top = LAYER_ICMPV6;
		break;
	default:
		return;
	}
	if (left < len)
		packet->top = LAYERS;
	else
		found(packet, packet->top, at, len);
}

static void parse_ip(Packet *packet, uint32_t at)
{
	const uint8_t *bytes = packet->bytes + at;
	uint32_t left = packet->end - at, head, len;

	if (left < 20 || bytes[0] >> 4 != 4)
		return;
	head = (bytes[0] & 15) * 4u;
	len = be16(bytes + 2);
	if (head < 20 || left < head)
		return;
	found(packet, LAYER_IP, at, head);
	if (len >= head && len < left)
		packet->end = at + len;
	/* Behind all but the first fragment is no header. */
	if (!(be16(bytes + 6) & 0x1fff))
		parse_transport(packet, bytes[9], at + head);
}

static void parse_ip6(Packet *packet, uint32_t at)
{
	const uint8_t *bytes = packet->bytes;
	uint32_t left = packet->end - at, len;
	uint8_t next;

	if (left < 40 || bytes[at] >> 4 != 6)
		return;
	len = be16(bytes + at + 4);
	next = bytes[at + 6];
	found(packet, LAYER_IP6, at, 40);
	if (len && len + 40 < left)
		packet->end = at + 40 + len;
	at += 40;
	for (int i = 0; i < EXTENSIONS_MAX && packet->end - at >= 8; i++) {
		if (next == IPPROTO_FRAGMENT) {
			len = 8;
			if (be16(bytes + at + 2) & 0xfff8)
				return;
		} else if (next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
			   next == IPPROTO_DSTOPTS) {
			len = (bytes[at + 1] + 1u) * 8;
		} else {
			break;
		}
		if (packet->end - at < len)
			return;
		next = bytes[at];
		at += len;
		packet->payload = at;
	}
	parse_transport(packet, next, at);
}

void packet_parse(Packet *packet)
{
	const uint8_t *bytes = packet->bytes;
	uint32_t at = ETHER_HEADER, type;

	packet->parsed = true;
	packet->has = 0;
	packet->top = LAYERS;
	packet->end = packet->len;
	packet->payload = packet->len;
	if (packet->len < ETHER_HEADER)
		return;
	found(packet, LAYER_ETHER, 0, ETHER_HEADER);
	type = be16(bytes + 12);
	for (int i = 0; i < VLAN_TAGS_MAX && (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN);
	     i++) {
		if (packet->len - at < VLAN_TAG)
			return;
		if (!i)
			found(packet, LAYER_VLAN, at, VLAN_TAG);
		type = be16(bytes + at + 2);
		at += VLAN_TAG;
		packet->payload = at;
	}
	if (type == TYPE_IP)
		parse_ip(packet, at);
	else if (type == TYPE_IP6)
		parse_ip6(packet, at);
	else if (type == TYPE_ARP && packet->len - at >= 28)
		found(packet, LAYER_ARP, at, 28);
}

/* ---- checksums ---- */

/* Sums of 16-bit words in the machine's order: RFC 1071 shows that it does not matter. */
static uint64_t sum(const uint8_t *bytes, uint32_t len)
{
	uint64_t total = 0;
	uint32_t word;
	uint16_t last = 0;

	for (; len >= 4; len -= 4, bytes += 4) {
		memcpy(&word, bytes, 4);
		total += word;
	}
	if (len >= 2) {
		memcpy(&last, bytes, 2);
		total += last;
		bytes += 2;
	}
	if (len & 1) {
		last = 0;
		memcpy(&last, bytes, 1);
		total += last;
	}
	return total;
}

static uint16_t fold(uint64_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint16_t)total;
}

/* HC' = ~(~HC + ~m + m') */
static void adjust(Packet *packet, enum layer layer, uint64_t before, uint64_t after)
{
	static const uint8_t offsets[LAYERS] = {
		[LAYER_IP] = 10,  [LAYER_TCP] = 16,   [LAYER_UDP] = 6,
		[LAYER_ICMP] = 2, [LAYER_ICMPV6] = 2,
	};
	uint8_t *at = packet->bytes + packet->at[layer] + offsets[layer];
	uint16_t value;

	memcpy(&value, at, 2);
	/* Of UDP 0 says that there is none. */
	if (layer == LAYER_UDP && !value)
		return;
	value = (uint16_t)~fold((uint16_t)~value + (uint64_t)(uint16_t)~fold(before) + fold(after));
	if (layer == LAYER_UDP && !value)
		value = 0xffff;
	memcpy(at, &value, 2);
}

/* Is the pseudo header in its checksum? */
static bool has_pseudo(const Packet *packet)
{
	return packet->top != LAYERS && packet->top != LAYER_ICMP;
}

void packet_store(Packet *packet, enum layer layer, uint32_t offset, const uint8_t *bytes,
		  uint32_t len, bool shape)
{
	uint8_t *start = packet->bytes + packet->at[layer];
	uint32_t from = offset & ~1u, to = (offset + len + 1) & ~1u;
	uint64_t before = sum(start + from, to - from), after;
	bool addresses = (layer == LAYER_IP && offset >= 12 && offset < 20) ||
			 (layer == LAYER_IP6 && offset >= 8);

	memcpy(start + offset, bytes, len);
	packet->parsed = !shape;
	if (!packet->checksums)
		return;
	after = sum(start + from, to - from);
	if (layer == LAYER_IP || layer == packet->top)
		adjust(packet, layer, before, after);
	if (addresses && has_pseudo(packet))
		adjust(packet, packet->top, before, after);
}

/* All that the checksum covers which depends on the length. */
static uint64_t transport_sum(const Packet *packet)
{
	uint32_t at = packet->at[packet->top], len = packet->end - at;
	uint8_t pseudo[2];

	put16(pseudo, len);
	return sum(packet->bytes + at, len) + (has_pseudo(packet) ? sum(pseudo, 2) : 0);
}

static void add16(Packet *packet, enum layer layer, uint32_t offset, uint32_t difference)
{
	uint8_t value[2];

	put16(value, be16(packet->bytes + packet->at[layer] + offset) + difference);
	packet_store(packet, layer, offset, value, 2, false);
}

/* What IP can say of its length. */
static bool is_too_long(const Packet *packet, uint32_t end)
{
	if (packet->has >> LAYER_IP & 1)
		return end - packet->at[LAYER_IP] > 0xffff;
	if (packet->has >> LAYER_IP6 & 1)
		return end - packet->at[LAYER_IP6] - 40 > 0xffff;
	return end > RUMPEL_FRAME_MAX;
}

int packet_splice(Packet *packet, uint32_t at, uint32_t old, const uint8_t *bytes, uint32_t len,
		  bool options)
{
	uint32_t tail = packet->end - at - old, difference = len - old;
	bool checksums = packet->checksums;
	uint64_t before = 0;

	if (is_too_long(packet, packet->end + difference)) {
		PyErr_SetString(PyExc_ValueError, "the packet would be longer than any can be");
		return -1;
	}
	if (packet->top != LAYERS)
		before = transport_sum(packet);
	/* Padding goes. */
	if (packet_resize(packet, packet->end + (len > old ? difference : 0)) < 0)
		return -1;
	memmove(packet->bytes + at + len, packet->bytes + at + old, tail);
	memcpy(packet->bytes + at, bytes, len);
	packet->end += difference;
	packet->len = packet->end;
	if (packet->has >> LAYER_IP & 1)
		add16(packet, LAYER_IP, 2, difference);
	if (packet->has >> LAYER_IP6 & 1)
		add16(packet, LAYER_IP6, 4, difference);
	/* The rest is in the sum of all. */
	packet->checksums = false;
	if (packet->top == LAYER_UDP)
		add16(packet, LAYER_UDP, 4, difference);
	if (options) {
		uint8_t *offset = packet->bytes + packet->at[LAYER_TCP] + 12;

		*offset = (uint8_t)(*offset + (difference / 4 << 4));
		packet->payload += difference;
	}
	packet->checksums = checksums;
	if (checksums && packet->top != LAYERS)
		adjust(packet, packet->top, before, transport_sum(packet));
	return 0;
}
