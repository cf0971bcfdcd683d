/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Packets in a stream of bytes, as pipes and files carry them: one a line of
 * text, or pcap, or pcapng. Frames are Ethernet's.
 */
#ifndef RUMPEL_VIRTIO_PACKETS_H
#define RUMPEL_VIRTIO_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rumpel/rumpel.h"

#define PACKETS_FRAME_MIN 14
#define PACKETS_FRAME_MAX (65535 + 14 + 8)
/* Bytes of the longest packet, in any format. */
#define PACKETS_LONGEST (2 * PACKETS_FRAME_MAX + PACKETS_SUMMARY + 64)
#define PACKETS_SUMMARY RUMPEL_PACKET_SUMMARY
/* Bytes of what comes before the first packet. */
#define PACKETS_HEADER 64

enum packets_kind {
	PACKETS_MORE, /* bytes are lacking */
	PACKETS_FRAME,
	PACKETS_OTHER, /* a line that is no packet */
	PACKETS_NOTHING, /* of no interest */
	PACKETS_BAD, /* skipped: `why` says what is wrong with it */
	PACKETS_LOST, /* and nothing behind it can be read */
};

struct packets_found {
	const char *data;
	size_t len;
	size_t used; /* bytes of the stream that this took */
	const char *why;
};

struct packets_reader {
	enum rumpel_packets format; /* RUMPEL_PACKETS_ANY: as the first bytes will say */
	bool begun; /* the file's header has been read */
	bool swapped; /* byte order */
	bool skipping; /* the rest of a line that was too long */
	uint64_t count; /* lines or packets so far */
	uint64_t interfaces; /* of a pcapng section */
	uint64_t foreign; /* a bit for each of these that is not Ethernet */
};

/*
 * What is at the start of `bytes`? Writes there: hexadecimal digits become the
 * frame. end: no more bytes will come.
 */
enum packets_kind packets_read(struct packets_reader *reader, char *bytes, size_t len, bool end,
			       struct packets_found *found);

/* Text, pcap and pcapng apart. */
enum packets_kind packets_read_text(struct packets_reader *reader, char *bytes, size_t len,
				    bool end, struct packets_found *found);
enum packets_kind packets_read_pcap(struct packets_reader *reader, char *bytes, size_t len,
				    struct packets_found *found);
enum packets_kind packets_read_pcapng(struct packets_reader *reader, char *bytes, size_t len,
				      struct packets_found *found);

/* What a stream begins with, at most PACKETS_HEADER bytes. Their number. */
size_t packets_begin(enum rumpel_packets format, char *out);
/*
 * A frame, at most PACKETS_LONGEST bytes: their number. direction: '>' or '<', for
 * readers of text.
 */
size_t packets_write(enum rumpel_packets format, char *out, uint64_t now, char direction,
		     const char *frame, size_t len);

size_t packets_write_text(char *out, uint64_t now, char direction, const char *frame, size_t len);

#endif
