// SPDX-License-Identifier: GPL-2.0-only
#include "pcap.h"

#include <string.h>

#define NS_PER_SEC 1000000000

/* Options of pcapng. */
#define IF_NAME 2
#define IF_MAC 6
#define IF_RESOLUTION 9

struct section {
	uint32_t type, len, order;
	uint16_t major, minor;
	int64_t section;
	uint32_t len_again;
} __attribute__((packed));

struct option {
	uint16_t code, len;
	char value[PCAP_NAME_MAX];
};

size_t pcap_put_header(char *out)
{
	const struct pcap_header header = {
		.magic = PCAP_MAGIC_NS,
		.major = 2,
		.minor = 4,
		.snaplen = PCAP_SNAPLEN,
		.link = PCAP_ETHERNET,
	};

	memcpy(out, &header, sizeof(header));
	return sizeof(header);
}

size_t pcap_put_record(char *out, uint64_t now, size_t len)
{
	const struct pcap_record record = {
		.seconds = now / NS_PER_SEC,
		.fraction = now % NS_PER_SEC,
		.captured = len,
		.len = len,
	};

	memcpy(out, &record, sizeof(record));
	return sizeof(record);
}

static size_t put_option(char *out, uint16_t code, const void *value, uint16_t len)
{
	struct option option = { .code = code, .len = len };
	size_t size = offsetof(struct option, value) + ((len + 3) & ~3);

	if (len)
		memcpy(option.value, value, len);
	memcpy(out, &option, size);
	return size;
}

size_t pcapng_put_section(char *out, const char *name, const uint8_t mac[6])
{
	const struct section section = {
		.type = PCAPNG_SECTION,
		.len = sizeof(section),
		.order = PCAPNG_BYTE_ORDER,
		.major = 1,
		.section = -1,
		.len_again = sizeof(section),
	};
	const uint32_t snaplen = PCAP_SNAPLEN;
	char block[PCAP_BEGIN_MAX - sizeof(section)] = { PCAPNG_INTERFACE, [8] = PCAP_ETHERNET };
	uint32_t len = 16;

	memcpy(block + 12, &snaplen, sizeof(snaplen));
	if (name && *name)
		len += put_option(block + len, IF_NAME, name, strnlen(name, PCAP_NAME_MAX));
	if (mac)
		len += put_option(block + len, IF_MAC, mac, 6);
	len += put_option(block + len, IF_RESOLUTION, "\x09", 1); /* 10^-9 s */
	len += put_option(block + len, 0, NULL, 0); /* no more */
	len += sizeof(len);
	memcpy(block + 4, &len, sizeof(len));
	memcpy(block + len - sizeof(len), &len, sizeof(len));
	memcpy(out, &section, sizeof(section));
	memcpy(out + sizeof(section), block, len);
	return sizeof(section) + len;
}

size_t pcapng_packet_size(size_t len)
{
	return sizeof(struct pcapng_packet) + ((len + 3) & ~3ul) + sizeof(uint32_t);
}

size_t pcapng_put_packet(char *out, uint64_t now, size_t len)
{
	const struct pcapng_packet packet = {
		.type = PCAPNG_PACKET,
		.block_len = pcapng_packet_size(len),
		.time_high = now >> 32,
		.time_low = now,
		.captured = len,
		.len = len,
	};

	memcpy(out, &packet, sizeof(packet));
	return sizeof(packet);
}

void pcapng_end_packet(char *out, size_t len)
{
	const uint32_t block = pcapng_packet_size(len);
	size_t at = sizeof(struct pcapng_packet) + len;

	memset(out + at, 0, block - sizeof(block) - at);
	memcpy(out + block - sizeof(block), &block, sizeof(block));
}
