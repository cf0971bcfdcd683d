/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A packet that Python looks at and changes.
 *
 * packet_layers.c   where its headers are, and how checksums and lengths follow changes
 * packet_fields.c   headers as objects, fields as their attributes
 * packet_options.c  the options of TCP
 * packet.c          the packet itself
 * packets.c         many of them, from and to streams of bytes
 */
#ifndef RUMPEL_NATIVE_PACKET_H
#define RUMPEL_NATIVE_PACKET_H

#include "native.h"

/* The outermost headers of each kind. */
enum layer {
	LAYER_ETHER,
	LAYER_VLAN,
	LAYER_ARP,
	LAYER_IP,
	LAYER_IP6,
	LAYER_TCP,
	LAYER_UDP,
	LAYER_ICMP,
	LAYER_ICMPV6,
	LAYERS,
};

typedef struct {
	PyObject_HEAD
	uint64_t time;
	char direction;
	bool checksums; /* they follow what is changed */
	bool parsed; /* what follows is so: see packet_parse() */
	uint16_t has; /* a bit for each layer */
	uint8_t top; /* the layer that has a checksum over the payload; LAYERS: none */
	uint8_t protocol; /* of IP */
	uint32_t at[LAYERS];
	uint32_t payload, end; /* of the payload: padding may follow */
	uint32_t len, room;
	uint8_t *bytes;
} Packet;

/* packet_layers.c */
void packet_parse(Packet *packet);
static inline bool packet_has(Packet *packet, enum layer layer)
{
	if (!packet->parsed)
		packet_parse(packet);
	return packet->has >> layer & 1;
}
/* Changes bytes of a header, and checksums with them. `shape`: other headers may move. */
void packet_store(Packet *packet, enum layer layer, uint32_t offset, const uint8_t *bytes,
		  uint32_t len, bool shape);
/*
 * Replaces `old` bytes at `at`, behind the headers of IP, by `len` others; lengths and
 * checksums follow. options: they are TCP's. 0, or -1 and an exception.
 */
int packet_splice(Packet *packet, uint32_t at, uint32_t old, const uint8_t *bytes, uint32_t len,
		  bool options);

/* packet.c */
Packet *packet_new(PyTypeObject *type, const void *bytes, size_t len);
int packet_resize(Packet *packet, size_t len);

/* packet_fields.c */
typedef struct {
	PyObject_HEAD
	Packet *packet;
} Header;

PyObject *header_new(Packet *packet, enum layer layer);
/* The header's offset in the frame, or -1 and an exception: it is not there any more. */
long header_at(PyObject *header, enum layer layer);

_Static_assert(LAYERS == NATIVE_HEADERS, "a type for each");

extern PyMethodDef tcp_methods[];
PyObject *tcp_options(PyObject *self, void *unused);
int tcp_set_options(PyObject *self, PyObject *value, void *unused);

#endif
