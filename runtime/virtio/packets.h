/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets in a stream of bytes, as pipes and files carry them: one a line of
 * text, or pcap, or pcapng. Frames are Ethernet's.
 */
#ifndef RUMPEL_VIRTIO_PACKETS_H
#define RUMPEL_VIRTIO_PACKETS_H

#include <sys/uio.h>

#include "rumpel/rumpel.h"

/* Text, pcap and pcapng apart. */
enum rumpel_packet_kind packets_read_text(struct rumpel_packet_reader *reader, char *bytes,
					  size_t len, bool end, struct rumpel_packet *found);
enum rumpel_packet_kind packets_read_pcap(struct rumpel_packet_reader *reader, char *bytes,
					  size_t len, struct rumpel_packet *found);
enum rumpel_packet_kind packets_read_pcapng(struct rumpel_packet_reader *reader, char *bytes,
					    size_t len, struct rumpel_packet *found);
enum rumpel_packet_kind packets_read_virtio(struct rumpel_packet_reader *reader, const char *bytes,
					    size_t len, struct rumpel_packet *found);

/* A header and a frame of `size` bytes in all, or LOST: no frame has such a length. */
enum rumpel_packet_kind packets_at(struct rumpel_packet *found, const char *bytes, uint32_t size);

/* The `len` bytes of iov are a header and its frame. */
size_t packets_write_virtio(char *out, const struct iovec *iov, unsigned int count, size_t len);
size_t packets_write_text(char *out, uint64_t now, char direction, const char *frame, size_t len);

#endif
