// SPDX-License-Identifier: GPL-2.0-only
/* Packets in pcap and pcapng format (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). */
#include "pcap.h"
#include "packets.h"

#include <string.h>

/* Of a pcapng block: nobody writes longer ones. */
#define BLOCK_MAX (1u << 19)
#define BLOCK_MIN 12
#define INTERFACES_MAX 64

static uint32_t get32(const struct packets_reader *reader, const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t get16(const struct packets_reader *reader, const char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap16(value) : value;
}

static enum packets_kind lost(struct packets_found *found, size_t len, const char *why)
{
	found->used = len;
	found->why = why;
	return PACKETS_LOST;
}

/* A packet of which `captured` bytes of `len` are there. */
static enum packets_kind frame(struct packets_reader *reader, struct packets_found *found,
			       const char *data, uint32_t captured, uint32_t len)
{
	found->data = data;
	found->len = captured;
	reader->count++;
	if (captured < len)
		found->why = "the capture has only a part of the packet";
	else if (captured < PACKETS_FRAME_MIN)
		found->why = "the packet is shorter than an Ethernet header";
	else if (captured > PACKETS_FRAME_MAX)
		found->why = "the packet is longer than Ethernet can carry";
	else
		return PACKETS_FRAME;
	return PACKETS_BAD;
}

/* ---- pcap ---- */

static enum packets_kind read_header(struct packets_reader *reader, const char *bytes, size_t len,
				     struct packets_found *found)
{
	struct pcap_header header;

	if (len < sizeof(header))
		return PACKETS_MORE;
	memcpy(&header, bytes, sizeof(header));
	reader->swapped = header.magic == __builtin_bswap32(PCAP_MAGIC_NS) ||
			  header.magic == __builtin_bswap32(PCAP_MAGIC_US);
	/* The upper bits say how long a checksum is. */
	if ((get32(reader, bytes + offsetof(struct pcap_header, link)) & 0x0fffffff) !=
	    PCAP_ETHERNET)
		return lost(found, len, "the capture is of something else than Ethernet");
	reader->begun = true;
	found->used = sizeof(header);
	return PACKETS_NOTHING;
}

enum packets_kind packets_read_pcap(struct packets_reader *reader, char *bytes, size_t len,
				    struct packets_found *found)
{
	const size_t head = sizeof(struct pcap_record);
	uint32_t captured;

	if (!reader->begun)
		return read_header(reader, bytes, len, found);
	if (len < head)
		return PACKETS_MORE;
	captured = get32(reader, bytes + offsetof(struct pcap_record, captured));
	if (captured > PCAP_SNAPLEN)
		return lost(found, len, "the capture is damaged: a packet would be too long");
	if (len < head + captured)
		return PACKETS_MORE;
	found->used = head + captured;
	return frame(reader, found, bytes + head, captured,
		     get32(reader, bytes + offsetof(struct pcap_record, len)));
}

/* ---- pcapng ---- */

static enum packets_kind read_section(struct packets_reader *reader, const char *bytes, size_t len,
				      struct packets_found *found)
{
	uint32_t order;

	memcpy(&order, bytes + 8, sizeof(order));
	if (order != PCAPNG_BYTE_ORDER && order != __builtin_bswap32(PCAPNG_BYTE_ORDER))
		return lost(found, len, "the capture is damaged: a section has no byte order");
	reader->swapped = order != PCAPNG_BYTE_ORDER;
	reader->interfaces = reader->foreign = 0;
	return PACKETS_NOTHING;
}

static enum packets_kind read_interface(struct packets_reader *reader, const char *bytes,
					uint32_t block, struct packets_found *found)
{
	uint64_t bit = 1ull << reader->interfaces % INTERFACES_MAX;

	if (block < 20 || reader->interfaces == INTERFACES_MAX)
		return lost(found, block, "the capture has too many interfaces");
	reader->interfaces++;
	if (get16(reader, bytes + 8) != PCAP_ETHERNET)
		reader->foreign |= bit;
	return PACKETS_NOTHING;
}

static enum packets_kind read_packet(struct packets_reader *reader, const char *bytes,
				     uint32_t block, struct packets_found *found)
{
	const size_t head = sizeof(struct pcapng_packet);
	uint32_t interface = get32(reader, bytes + 8), captured;

	if (block < head + 4)
		return lost(found, block, "the capture is damaged: a packet is too short");
	captured = get32(reader, bytes + offsetof(struct pcapng_packet, captured));
	if (captured > block - head - 4)
		return lost(found, block,
			    "the capture is damaged: a packet is longer than its block");
	if (interface < INTERFACES_MAX && reader->foreign >> interface & 1) {
		reader->count++;
		found->why = "the packet is of something else than Ethernet";
		return PACKETS_BAD;
	}
	return frame(reader, found, bytes + head, captured,
		     get32(reader, bytes + offsetof(struct pcapng_packet, len)));
}

/* A simple packet: of the first interface, without a time. */
static enum packets_kind read_simple(struct packets_reader *reader, const char *bytes,
				     uint32_t block, struct packets_found *found)
{
	uint32_t len = get32(reader, bytes + 8), room = block - 16;

	if (block < 16)
		return lost(found, block, "the capture is damaged: a packet is too short");
	return frame(reader, found, bytes + 12, len < room ? len : room, len);
}

enum packets_kind packets_read_pcapng(struct packets_reader *reader, char *bytes, size_t len,
				      struct packets_found *found)
{
	enum packets_kind kind = PACKETS_NOTHING;
	uint32_t type, block;

	if (len < BLOCK_MIN)
		return PACKETS_MORE;
	/* A section says what byte order its own length has. */
	memcpy(&type, bytes, sizeof(type));
	if (type == PCAPNG_SECTION)
		kind = read_section(reader, bytes, len, found);
	if (kind == PACKETS_LOST)
		return kind;
	type = get32(reader, bytes);
	block = get32(reader, bytes + 4);
	if (block < BLOCK_MIN || block % 4 || block > BLOCK_MAX)
		return lost(found, len, "the capture is damaged: a block has no possible length");
	if (len < block)
		return PACKETS_MORE;
	found->used = block;
	switch (type) {
	case PCAPNG_INTERFACE:
		return read_interface(reader, bytes, block, found);
	case PCAPNG_PACKET:
		return read_packet(reader, bytes, block, found);
	case PCAPNG_SIMPLE:
		return read_simple(reader, bytes, block, found);
	}
	return PACKETS_NOTHING;
}

/* ---- any of them ---- */

static enum rumpel_packets detect(const char *bytes)
{
	uint32_t magic;

	memcpy(&magic, bytes, sizeof(magic));
	if (magic == PCAPNG_SECTION)
		return RUMPEL_PACKETS_PCAPNG;
	for (int i = 0; i < 2; i++, magic = __builtin_bswap32(magic))
		if (magic == PCAP_MAGIC_NS || magic == PCAP_MAGIC_US)
			return RUMPEL_PACKETS_PCAP;
	return RUMPEL_PACKETS_TEXT;
}

enum packets_kind packets_read(struct packets_reader *reader, char *bytes, size_t len, bool end,
			       struct packets_found *found)
{
	enum packets_kind kind = PACKETS_MORE;

	*found = (struct packets_found){ 0 };
	if (reader->format == RUMPEL_PACKETS_ANY && len >= sizeof(uint32_t))
		reader->format = detect(bytes);
	switch (reader->format) {
	case RUMPEL_PACKETS_ANY:
		/* Whatever that is, there will not be more of it. */
		if (end && len)
			kind = packets_read_text(reader, bytes, len, end, found);
		break;
	case RUMPEL_PACKETS_TEXT:
		if (len)
			kind = packets_read_text(reader, bytes, len, end, found);
		break;
	case RUMPEL_PACKETS_PCAP:
		kind = packets_read_pcap(reader, bytes, len, found);
		break;
	case RUMPEL_PACKETS_PCAPNG:
		kind = packets_read_pcapng(reader, bytes, len, found);
		break;
	}
	if (kind == PACKETS_MORE && end && len)
		return lost(found, len, "the capture ends in the middle of a packet");
	return kind;
}

size_t packets_begin(enum rumpel_packets format, char *out)
{
	switch (format) {
	case RUMPEL_PACKETS_PCAP:
		return pcap_put_header(out);
	case RUMPEL_PACKETS_PCAPNG:
		return pcapng_put_section(out, NULL, NULL);
	default:
		return 0;
	}
}

size_t packets_write(enum rumpel_packets format, char *out, uint64_t now, char direction,
		     const char *frame, size_t len)
{
	size_t head;

	switch (format) {
	case RUMPEL_PACKETS_PCAP:
		head = pcap_put_record(out, now, len);
		memcpy(out + head, frame, len);
		return head + len;
	case RUMPEL_PACKETS_PCAPNG:
		head = pcapng_put_packet(out, now, len);
		memcpy(out + head, frame, len);
		pcapng_end_packet(out, len);
		return pcapng_packet_size(len);
	default:
		return packets_write_text(out, now, direction, frame, len);
	}
}
