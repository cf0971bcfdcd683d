// SPDX-License-Identifier: GPL-2.0-only
/* Headers as Python objects. Their fields have the names that nft(8) gives them. */
#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

enum kind {
	NUMBER,
	ADDRESS,
	ADDRESS6,
	MAC,
};

enum effect {
	ON_CHECKSUM, /* which follows a change */
	ON_SHAPE, /* it also says where other headers are */
	IS_CHECKSUM, /* who writes one means it */
};

/* A number lies in `width` bytes, most significant first, `shift` bits from their end. */
struct field {
	uint8_t layer, kind, at, width, shift, bits, effect;
};

PyObject *header_new(Packet *packet, enum layer layer)
{
	struct native_state *state = native_state(Py_TYPE(packet));
	PyTypeObject *type = state->header_types[layer];
	Header *header = (Header *)type->tp_alloc(type, 0);

	if (header)
		header->packet = (Packet *)Py_NewRef(packet);
	return (PyObject *)header;
}

static void header_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(((Header *)self)->packet);
	type->tp_free(self);
	Py_DECREF(type);
}

long header_at(PyObject *self, enum layer layer)
{
	Packet *packet = ((Header *)self)->packet;

	if (packet_has(packet, layer))
		return packet->at[layer];
	PyErr_SetString(PyExc_ValueError, "the packet does not have this header any more");
	return -1;
}

/* ---- values ---- */

static PyObject *get_number(const struct field *field, const uint8_t *at)
{
	uint32_t value = 0;

	for (int i = 0; i < field->width; i++)
		value = value << 8 | at[i];
	value >>= field->shift;
	if (field->bits < 32)
		value &= (1u << field->bits) - 1;
	return PyLong_FromUnsignedLong(value);
}

static PyObject *field_get(PyObject *self, void *closure)
{
	const struct field *field = closure;
	long at = header_at(self, field->layer);
	char text[INET6_ADDRSTRLEN];
	const uint8_t *bytes;
	int len;

	if (at < 0)
		return NULL;
	bytes = ((Header *)self)->packet->bytes + at + field->at;
	switch (field->kind) {
	case ADDRESS:
		len = snprintf(text, sizeof(text), "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2],
			       bytes[3]);
		return PyUnicode_DecodeASCII(text, len, NULL);
	case ADDRESS6:
		inet_ntop(AF_INET6, bytes, text, sizeof(text));
		return PyUnicode_FromString(text);
	case MAC:
		len = snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0],
			       bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]);
		return PyUnicode_DecodeASCII(text, len, NULL);
	default:
		return get_number(field, bytes);
	}
}

static int bad_value(const struct field *field, PyObject *value)
{
	static const char *const names[] = {
		[ADDRESS] = "an IPv4 address",
		[ADDRESS6] = "an IPv6 address",
		[MAC] = "a MAC address",
	};

	if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
		return -1;
	PyErr_Clear();
	if (field->kind == NUMBER)
		PyErr_Format(PyExc_ValueError, "not a number of %d bits: %R", field->bits, value);
	else
		PyErr_Format(PyExc_ValueError, "not %s: %R", names[field->kind], value);
	return -1;
}

/* Bytes as they are, or text. */
static int to_address(const struct field *field, PyObject *value, uint8_t *bytes)
{
	unsigned int mac[6];
	const char *text;
	char rest;

	if (PyBytes_Check(value)) {
		if (PyBytes_GET_SIZE(value) != field->width)
			return bad_value(field, value);
		memcpy(bytes, PyBytes_AS_STRING(value), field->width);
		return 0;
	}
	text = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
	if (!text)
		return bad_value(field, value);
	if (field->kind != MAC)
		return inet_pton(field->kind == ADDRESS ? AF_INET : AF_INET6, text, bytes) == 1
			       ? 0
			       : bad_value(field, value);
	if (strlen(text) != 17 || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", mac, mac + 1, mac + 2,
					 mac + 3, mac + 4, mac + 5, &rest) != 6)
		return bad_value(field, value);
	for (int i = 0; i < 6; i++)
		bytes[i] = (uint8_t)mac[i];
	return 0;
}

/* The bits around it stay: `bytes` has them. */
static int to_number(const struct field *field, PyObject *value, uint8_t *bytes)
{
	unsigned long long number = PyLong_AsUnsignedLongLong(value);
	uint32_t mask = field->bits < 32 ? (1u << field->bits) - 1 : UINT32_MAX, word = 0;

	if ((number == (unsigned long long)-1 && PyErr_Occurred()) || number > mask)
		return bad_value(field, value);
	for (int i = 0; i < field->width; i++)
		word = word << 8 | bytes[i];
	word = (word & ~(mask << field->shift)) | (uint32_t)number << field->shift;
	for (int i = field->width; i-- > 0; word >>= 8)
		bytes[i] = (uint8_t)word;
	return 0;
}

static int field_set(PyObject *self, PyObject *value, void *closure)
{
	const struct field *field = closure;
	Packet *packet = ((Header *)self)->packet;
	uint8_t bytes[16];
	long at;

	if (!value) {
		PyErr_SetString(PyExc_AttributeError, "a field cannot be deleted");
		return -1;
	}
	at = header_at(self, field->layer);
	if (at < 0)
		return -1;
	memcpy(bytes, packet->bytes + at + field->at, field->width);
	if ((field->kind == NUMBER ? to_number : to_address)(field, value, bytes) < 0)
		return -1;
	if (field->effect == IS_CHECKSUM)
		memcpy(packet->bytes + at + field->at, bytes, field->width);
	else
		packet_store(packet, field->layer, field->at, bytes, field->width,
			     field->effect == ON_SHAPE);
	return 0;
}

/* ---- the fields ---- */

#define FIELD(name, ...)                                          \
	{                                                         \
		name, field_get, field_set, NULL, &(struct field) \
		{                                                 \
			__VA_ARGS__                               \
		}                                                 \
	}
#define BITS(name, layer, at, width, shift, bits, effect) \
	FIELD(name, layer, NUMBER, at, width, shift, bits, effect)
#define WHOLE(name, layer, at, width, effect) BITS(name, layer, at, width, 0, (width)*8, effect)
#define VALUE(name, layer, at, width) WHOLE(name, layer, at, width, ON_CHECKSUM)
#define SHAPE(name, layer, at, width) WHOLE(name, layer, at, width, ON_SHAPE)
#define CHECKSUM(name, layer, at) WHOLE(name, layer, at, 2, IS_CHECKSUM)
#define IP4(name, layer, at) FIELD(name, layer, ADDRESS, at, 4, 0, 0, ON_CHECKSUM)
#define IP6(name, layer, at) FIELD(name, layer, ADDRESS6, at, 16, 0, 0, ON_CHECKSUM)
#define ETHER(name, layer, at) FIELD(name, layer, MAC, at, 6, 0, 0, ON_CHECKSUM)
#define END                                  \
	{                                    \
		NULL, NULL, NULL, NULL, NULL \
	}

static PyGetSetDef ether[] = {
	ETHER("daddr", LAYER_ETHER, 0),
	ETHER("saddr", LAYER_ETHER, 6),
	SHAPE("type", LAYER_ETHER, 12, 2),
	END,
};

static PyGetSetDef vlan[] = {
	BITS("pcp", LAYER_VLAN, 0, 2, 13, 3, ON_CHECKSUM),
	BITS("dei", LAYER_VLAN, 0, 2, 12, 1, ON_CHECKSUM),
	BITS("id", LAYER_VLAN, 0, 2, 0, 12, ON_CHECKSUM),
	SHAPE("type", LAYER_VLAN, 2, 2),
	END,
};

static PyGetSetDef arp[] = {
	VALUE("htype", LAYER_ARP, 0, 2),     VALUE("ptype", LAYER_ARP, 2, 2),
	VALUE("hlen", LAYER_ARP, 4, 1),	     VALUE("plen", LAYER_ARP, 5, 1),
	VALUE("operation", LAYER_ARP, 6, 2), ETHER("saddr_ether", LAYER_ARP, 8),
	IP4("saddr_ip", LAYER_ARP, 14),	     ETHER("daddr_ether", LAYER_ARP, 18),
	IP4("daddr_ip", LAYER_ARP, 24),	     END,
};

static PyGetSetDef ip[] = {
	BITS("version", LAYER_IP, 0, 1, 4, 4, ON_SHAPE),
	BITS("hdrlength", LAYER_IP, 0, 1, 0, 4, ON_SHAPE),
	BITS("dscp", LAYER_IP, 1, 1, 2, 6, ON_CHECKSUM),
	BITS("ecn", LAYER_IP, 1, 1, 0, 2, ON_CHECKSUM),
	SHAPE("length", LAYER_IP, 2, 2),
	VALUE("id", LAYER_IP, 4, 2),
	SHAPE("frag_off", LAYER_IP, 6, 2),
	VALUE("ttl", LAYER_IP, 8, 1),
	SHAPE("protocol", LAYER_IP, 9, 1),
	CHECKSUM("checksum", LAYER_IP, 10),
	IP4("saddr", LAYER_IP, 12),
	IP4("daddr", LAYER_IP, 16),
	END,
};

static PyGetSetDef ip6[] = {
	BITS("version", LAYER_IP6, 0, 1, 4, 4, ON_SHAPE),
	BITS("dscp", LAYER_IP6, 0, 2, 6, 6, ON_CHECKSUM),
	BITS("ecn", LAYER_IP6, 1, 1, 4, 2, ON_CHECKSUM),
	BITS("flowlabel", LAYER_IP6, 0, 4, 0, 20, ON_CHECKSUM),
	SHAPE("length", LAYER_IP6, 4, 2),
	SHAPE("nexthdr", LAYER_IP6, 6, 1),
	VALUE("hoplimit", LAYER_IP6, 7, 1),
	IP6("saddr", LAYER_IP6, 8),
	IP6("daddr", LAYER_IP6, 24),
	END,
};

static PyGetSetDef tcp[] = {
	VALUE("sport", LAYER_TCP, 0, 2),
	VALUE("dport", LAYER_TCP, 2, 2),
	VALUE("sequence", LAYER_TCP, 4, 4),
	VALUE("ackseq", LAYER_TCP, 8, 4),
	BITS("doff", LAYER_TCP, 12, 1, 4, 4, ON_SHAPE),
	VALUE("flags", LAYER_TCP, 13, 1),
	VALUE("window", LAYER_TCP, 14, 2),
	CHECKSUM("checksum", LAYER_TCP, 16),
	VALUE("urgptr", LAYER_TCP, 18, 2),
	{ "options", tcp_options, tcp_set_options, NULL, NULL },
	END,
};

static PyGetSetDef udp[] = {
	VALUE("sport", LAYER_UDP, 0, 2),
	VALUE("dport", LAYER_UDP, 2, 2),
	VALUE("length", LAYER_UDP, 4, 2),
	CHECKSUM("checksum", LAYER_UDP, 6),
	END,
};

#define ICMP(layer)                                                                             \
	VALUE("type", layer, 0, 1), VALUE("code", layer, 1, 1), CHECKSUM("checksum", layer, 2), \
		VALUE("id", layer, 4, 2), VALUE("sequence", layer, 6, 2), END

static PyGetSetDef icmp[] = { ICMP(LAYER_ICMP) };
static PyGetSetDef icmpv6[] = { ICMP(LAYER_ICMPV6) };

static PyMethodDef no_methods[] = { { NULL, NULL, 0, NULL } };

#define HEADER(layer, label, fields, functions)                              \
	[layer] = {                                                          \
		.name = "rumpel._native." label,                             \
		.basicsize = sizeof(Header),                                 \
		.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |     \
			 Py_TPFLAGS_DISALLOW_INSTANTIATION,                  \
		.slots = (PyType_Slot[]){ { Py_tp_dealloc, header_dealloc }, \
					  { Py_tp_getset, fields },          \
					  { Py_tp_methods, functions },      \
					  { 0, NULL } },                     \
	}

PyType_Spec header_specs[LAYERS] = {
	HEADER(LAYER_ETHER, "Ether", ether, no_methods),
	HEADER(LAYER_VLAN, "Vlan", vlan, no_methods),
	HEADER(LAYER_ARP, "Arp", arp, no_methods),
	HEADER(LAYER_IP, "Ip", ip, no_methods),
	HEADER(LAYER_IP6, "Ip6", ip6, no_methods),
	HEADER(LAYER_TCP, "Tcp", tcp, tcp_methods),
	HEADER(LAYER_UDP, "Udp", udp, no_methods),
	HEADER(LAYER_ICMP, "Icmp", icmp, no_methods),
	HEADER(LAYER_ICMPV6, "Icmpv6", icmpv6, no_methods),
};
