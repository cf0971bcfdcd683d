// SPDX-License-Identifier: GPL-2.0-only
/* Frames with the header of virtio-net, as one kernel hands them to the next. */
#include <string.h>

#include "net.h"
#include "packets.h"

enum rumpel_packet_kind packets_at(struct rumpel_packet *found, const char *bytes, uint32_t size)
{
	if (!bytes || size < RUMPEL_NET_HEADER + RUMPEL_NET_FRAME_MIN ||
	    size > RUMPEL_NET_HEADER + RUMPEL_NET_GSO_MAX) {
		found->why = "no frame has such a length";
		return RUMPEL_PACKET_LOST;
	}
	found->header = bytes;
	found->data = bytes + RUMPEL_NET_HEADER;
	found->len = size - RUMPEL_NET_HEADER;
	return RUMPEL_PACKET_FRAME;
}

enum rumpel_packet_kind packets_read_virtio(struct rumpel_packet_reader *reader, const char *bytes,
					    size_t len, struct rumpel_packet *found)
{
	uint32_t size;

	if (len < sizeof(size))
		return RUMPEL_PACKET_MORE;
	memcpy(&size, bytes, sizeof(size));
	found->used = len;
	if (packets_at(found, bytes + sizeof(size), size) == RUMPEL_PACKET_LOST)
		return RUMPEL_PACKET_LOST;
	if (len < sizeof(size) + size)
		return RUMPEL_PACKET_MORE;
	reader->count++;
	found->used = sizeof(size) + size;
	return RUMPEL_PACKET_FRAME;
}

size_t packets_write_virtio(char *out, const struct iovec *iov, unsigned int count, size_t len)
{
	const uint32_t size = len;

	memcpy(out, &size, sizeof(size));
	rumpel_iov_read(iov, count, 0, out + sizeof(size), len);
	return sizeof(size) + len;
}
