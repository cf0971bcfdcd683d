// SPDX-License-Identifier: GPL-2.0-only
/* Packets in pcap and pcapng format (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng). */
#include "pcap.h"
#include "packets.h"

#include <string.h>

/* Of a pcapng block: nobody writes longer ones. */
#define BLOCK_MAX (1u << 19)
#define BLOCK_MIN 12
#define NS_PER_SEC 1000000000ull
#define IF_RESOLUTION 9 /* option if_tsresol */

static uint32_t get32(const struct rumpel_packet_reader *reader, const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t get16(const struct rumpel_packet_reader *reader, const char *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return reader->swapped ? __builtin_bswap16(value) : value;
}

static enum rumpel_packet_kind lost(struct rumpel_packet *found, size_t len, const char *why)
{
	found->used = len;
	found->why = why;
	return RUMPEL_PACKET_LOST;
}

/* Times in units of a power of 10 or 2 of a second, as the option if_tsresol has it. */
static uint64_t to_ns(uint64_t time, uint8_t resolution)
{
	unsigned int power = resolution & 0x7f;

	if (resolution & 0x80)
		return power < 64 ? (unsigned __int128)time * NS_PER_SEC >> power : 0;
	for (; power < 9; power++)
		time *= 10;
	for (; power > 9 && time; power--)
		time /= 10;
	return time;
}

/* A packet of which `captured` bytes of `len` are there. */
static enum rumpel_packet_kind frame(struct rumpel_packet_reader *reader,
				     struct rumpel_packet *found, const char *data,
				     uint32_t captured, uint32_t len)
{
	found->data = data;
	found->len = captured;
	reader->count++;
	if (captured < len)
		found->why = "the capture has only a part of the packet";
	else if (captured < RUMPEL_FRAME_MIN)
		found->why = "the packet is shorter than an Ethernet header";
	else if (captured > RUMPEL_FRAME_MAX)
		found->why = "the packet is longer than Ethernet can carry";
	else
		return RUMPEL_PACKET_FRAME;
	return RUMPEL_PACKET_BAD;
}

/* ---- pcap ---- */

static enum rumpel_packet_kind read_header(struct rumpel_packet_reader *reader, const char *bytes,
					   size_t len, struct rumpel_packet *found)
{
	struct pcap_header header;

	if (len < sizeof(header))
		return RUMPEL_PACKET_MORE;
	memcpy(&header, bytes, sizeof(header));
	reader->swapped = header.magic == __builtin_bswap32(PCAP_MAGIC_NS) ||
			  header.magic == __builtin_bswap32(PCAP_MAGIC_US);
	reader->micro = get32(reader, bytes) == PCAP_MAGIC_US;
	/* The upper bits say how long a checksum is. */
	if ((get32(reader, bytes + offsetof(struct pcap_header, link)) & 0x0fffffff) !=
	    PCAP_ETHERNET)
		return lost(found, len, "the capture is of something else than Ethernet");
	reader->begun = true;
	found->used = sizeof(header);
	return RUMPEL_PACKET_NOTHING;
}

enum rumpel_packet_kind packets_read_pcap(struct rumpel_packet_reader *reader, char *bytes,
					  size_t len, struct rumpel_packet *found)
{
	const size_t head = sizeof(struct pcap_record);
	uint32_t captured;

	if (!reader->begun)
		return read_header(reader, bytes, len, found);
	if (len < head)
		return RUMPEL_PACKET_MORE;
	captured = get32(reader, bytes + offsetof(struct pcap_record, captured));
	if (captured > PCAP_SNAPLEN)
		return lost(found, len, "the capture is damaged: a packet would be too long");
	if (len < head + captured)
		return RUMPEL_PACKET_MORE;
	found->used = head + captured;
	found->time = get32(reader, bytes) * NS_PER_SEC +
		      get32(reader, bytes + offsetof(struct pcap_record, fraction)) *
			      (reader->micro ? 1000ull : 1);
	return frame(reader, found, bytes + head, captured,
		     get32(reader, bytes + offsetof(struct pcap_record, len)));
}

/* ---- pcapng ---- */

static enum rumpel_packet_kind read_section(struct rumpel_packet_reader *reader, const char *bytes,
					    size_t len, struct rumpel_packet *found)
{
	uint32_t order;

	memcpy(&order, bytes + 8, sizeof(order));
	if (order != PCAPNG_BYTE_ORDER && order != __builtin_bswap32(PCAPNG_BYTE_ORDER))
		return lost(found, len, "the capture is damaged: a section has no byte order");
	reader->swapped = order != PCAPNG_BYTE_ORDER;
	reader->interfaces = reader->foreign = 0;
	return RUMPEL_PACKET_NOTHING;
}

static enum rumpel_packet_kind read_interface(struct rumpel_packet_reader *reader,
					      const char *bytes, uint32_t block,
					      struct rumpel_packet *found)
{
	uint64_t bit = 1ull << reader->interfaces % RUMPEL_PACKET_INTERFACES;
	uint32_t at = 16;

	if (block < 20 || reader->interfaces == RUMPEL_PACKET_INTERFACES)
		return lost(found, block, "the capture has too many interfaces");
	reader->resolution[reader->interfaces] = 6;
	/* Options: their kind, their length, and up to a multiple of four bytes. */
	while (at + 9 <= block && get16(reader, bytes + at)) {
		if (get16(reader, bytes + at) == IF_RESOLUTION && get16(reader, bytes + at + 2))
			reader->resolution[reader->interfaces] = bytes[at + 4];
		at += 4 + ((get16(reader, bytes + at + 2) + 3u) & ~3u);
	}
	reader->interfaces++;
	if (get16(reader, bytes + 8) != PCAP_ETHERNET)
		reader->foreign |= bit;
	return RUMPEL_PACKET_NOTHING;
}

static enum rumpel_packet_kind read_packet(struct rumpel_packet_reader *reader, const char *bytes,
					   uint32_t block, struct rumpel_packet *found)
{
	const size_t head = sizeof(struct pcapng_packet);
	uint32_t interface = get32(reader, bytes + 8), captured;

	if (block < head + 4)
		return lost(found, block, "the capture is damaged: a packet is too short");
	captured = get32(reader, bytes + offsetof(struct pcapng_packet, captured));
	if (captured > block - head - 4)
		return lost(found, block,
			    "the capture is damaged: a packet is longer than its block");
	if (interface < RUMPEL_PACKET_INTERFACES)
		found->time =
			to_ns((uint64_t)get32(reader, bytes + 12) << 32 | get32(reader, bytes + 16),
			      reader->resolution[interface]);
	if (interface < RUMPEL_PACKET_INTERFACES && reader->foreign >> interface & 1) {
		reader->count++;
		found->why = "the packet is of something else than Ethernet";
		return RUMPEL_PACKET_BAD;
	}
	return frame(reader, found, bytes + head, captured,
		     get32(reader, bytes + offsetof(struct pcapng_packet, len)));
}

/* A simple packet: of the first interface, without a time. */
static enum rumpel_packet_kind read_simple(struct rumpel_packet_reader *reader, const char *bytes,
					   uint32_t block, struct rumpel_packet *found)
{
	uint32_t len = get32(reader, bytes + 8), room = block - 16;

	if (block < 16)
		return lost(found, block, "the capture is damaged: a packet is too short");
	return frame(reader, found, bytes + 12, len < room ? len : room, len);
}

enum rumpel_packet_kind packets_read_pcapng(struct rumpel_packet_reader *reader, char *bytes,
					    size_t len, struct rumpel_packet *found)
{
	enum rumpel_packet_kind kind = RUMPEL_PACKET_NOTHING;
	uint32_t type, block;

	if (len < BLOCK_MIN)
		return RUMPEL_PACKET_MORE;
	/* A section says what byte order its own length has. */
	memcpy(&type, bytes, sizeof(type));
	if (type == PCAPNG_SECTION)
		kind = read_section(reader, bytes, len, found);
	if (kind == RUMPEL_PACKET_LOST)
		return kind;
	type = get32(reader, bytes);
	block = get32(reader, bytes + 4);
	if (block < BLOCK_MIN || block % 4 || block > BLOCK_MAX)
		return lost(found, len, "the capture is damaged: a block has no possible length");
	if (len < block)
		return RUMPEL_PACKET_MORE;
	found->used = block;
	switch (type) {
	case PCAPNG_INTERFACE:
		return read_interface(reader, bytes, block, found);
	case PCAPNG_PACKET:
		return read_packet(reader, bytes, block, found);
	case PCAPNG_SIMPLE:
		return read_simple(reader, bytes, block, found);
	}
	return RUMPEL_PACKET_NOTHING;
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

/* What captures are often kept as, and no text begins with: it would pass as a remark. */
static const char *compressed(const char *bytes)
{
	static const struct {
		const char *magic, *why;
	} some[] = {
		{ "\x1f\x8b\x08", "the capture is compressed: unpack it with zcat first" },
		{ "\x28\xb5\x2f\xfd", "the capture is compressed: unpack it with zstdcat first" },
		{ "\xfd\x37\x7a\x58", "the capture is compressed: unpack it with xzcat first" },
	};

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		if (memcmp(bytes, some[i].magic, strlen(some[i].magic)) == 0)
			return some[i].why;
	return NULL;
}

enum rumpel_packet_kind rumpel_packet_read(struct rumpel_packet_reader *reader, char *bytes,
					   size_t len, bool end, struct rumpel_packet *found)
{
	enum rumpel_packet_kind kind = RUMPEL_PACKET_MORE;

	*found = (struct rumpel_packet){ .direction = '>' };
	if (reader->format == RUMPEL_PACKETS_ANY && len >= sizeof(uint32_t)) {
		if (compressed(bytes))
			return lost(found, len, compressed(bytes));
		reader->format = detect(bytes);
	}
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
	case RUMPEL_PACKETS_VIRTIO:
		kind = packets_read_virtio(reader, bytes, len, found);
		break;
	}
	if (kind == RUMPEL_PACKET_MORE && end && len) {
		reader->count++;
		return lost(found, len, "the capture ends in the middle of a packet");
	}
	return kind;
}

size_t rumpel_packets_begin(enum rumpel_packets format, char *out)
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

size_t rumpel_packet_write(enum rumpel_packets format, char *out, uint64_t now, char direction,
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
