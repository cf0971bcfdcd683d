/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file formats pcap and pcapng (draft-ietf-opsawg-pcap,
 * draft-ietf-opsawg-pcapng), with times in nanoseconds.
 */
#ifndef RUMPEL_VIRTIO_PCAP_H
#define RUMPEL_VIRTIO_PCAP_H

#include <stddef.h>
#include <stdint.h>

#include "rumpel/rumpel.h"

#define PCAP_MAGIC_US 0xa1b2c3d4
#define PCAP_MAGIC_NS 0xa1b23c4d
#define PCAP_SNAPLEN 262144
#define PCAP_ETHERNET 1

struct pcap_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, link;
};

struct pcap_record {
	uint32_t seconds, fraction, captured, len;
};

/* Each block of pcapng begins and ends with its length. */
#define PCAPNG_SECTION 0x0a0d0d0a
#define PCAPNG_INTERFACE 1
#define PCAPNG_SIMPLE 3
#define PCAPNG_PACKET 6
#define PCAPNG_BYTE_ORDER 0x1a2b3c4d

struct pcapng_packet {
	uint32_t type, block_len, interface, time_high, time_low, captured, len;
};

#define PCAP_NAME_MAX 64 /* bytes of an interface's name */
#define PCAP_BEGIN_MAX RUMPEL_PACKETS_BEGIN

/* What a file begins with: the number of bytes. name, mac: of the interface, or NULL. */
size_t pcap_put_header(char *out);
size_t pcapng_put_section(char *out, const char *name, const uint8_t mac[6]);
/* What comes before a frame: the number of bytes. */
size_t pcap_put_record(char *out, uint64_t now, size_t len);
size_t pcapng_put_packet(char *out, uint64_t now, size_t len);
/* Bytes of a block with such a frame. */
size_t pcapng_packet_size(size_t len);
/* What comes behind the frame. */
void pcapng_end_packet(char *out, size_t len);

#endif
