// SPDX-License-Identifier: GPL-2.0-only
/* A packet as a Python object: a frame of its own, with a time and a direction. */
#include "packet.h"

#include <string.h>

#define NS_PER_SEC 1000000000

int packet_resize(Packet *packet, size_t len)
{
	uint8_t *bytes;

	if (len > packet->room) {
		bytes = PyMem_Realloc(packet->bytes, len);
		if (!bytes) {
			PyErr_NoMemory();
			return -1;
		}
		packet->bytes = bytes;
		packet->room = (uint32_t)len;
	}
	packet->len = (uint32_t)len;
	return 0;
}

Packet *packet_new(PyTypeObject *type, const void *bytes, size_t len)
{
	Packet *packet;

	if (len < RUMPEL_FRAME_MIN || len > RUMPEL_FRAME_MAX) {
		PyErr_SetString(PyExc_ValueError,
				len < RUMPEL_FRAME_MIN
					? "a frame is at least as long as an Ethernet header"
					: "the frame is longer than Ethernet can carry");
		return NULL;
	}
	packet = (Packet *)type->tp_alloc(type, 0);
	if (!packet)
		return NULL;
	packet->direction = '>';
	packet->checksums = true;
	if (packet_resize(packet, len) < 0) {
		Py_DECREF(packet);
		return NULL;
	}
	memcpy(packet->bytes, bytes, len);
	return packet;
}

static int set_direction(Packet *packet, PyObject *value)
{
	Py_ssize_t len;
	const char *text = value ? PyUnicode_AsUTF8AndSize(value, &len) : NULL;

	if (!text || len != 1 || (*text != '<' && *text != '>')) {
		if (!text && value)
			return -1;
		PyErr_SetString(PyExc_ValueError, "a direction is '>' or '<'");
		return -1;
	}
	packet->direction = *text;
	return 0;
}

static int set_seconds(Packet *packet, double seconds)
{
	if (!(seconds >= 0 && seconds < UINT64_MAX / NS_PER_SEC)) {
		PyErr_SetString(PyExc_ValueError, "not a time in seconds");
		return -1;
	}
	packet->time = (uint64_t)(seconds * NS_PER_SEC + 0.5);
	return 0;
}

static PyObject *packet_make(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "frame", "time", "direction", NULL };
	PyObject *direction = NULL;
	Packet *packet;
	Py_buffer frame;
	double time = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "y*|dO:Packet", known, &frame, &time,
					 &direction))
		return NULL;
	packet = packet_new(type, frame.buf, (size_t)frame.len);
	PyBuffer_Release(&frame);
	if (packet &&
	    (set_seconds(packet, time) < 0 || (direction && set_direction(packet, direction) < 0)))
		Py_CLEAR(packet);
	return (PyObject *)packet;
}

static void packet_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyMem_Free(((Packet *)self)->bytes);
	type->tp_free(self);
	Py_DECREF(type);
}

static Py_ssize_t packet_length(PyObject *self)
{
	return ((Packet *)self)->len;
}

static PyObject *packet_str(PyObject *self)
{
	Packet *packet = (Packet *)self;
	char text[RUMPEL_PACKET_SUMMARY];
	size_t len = rumpel_packet_summary(packet->bytes, packet->len, text);

	return PyUnicode_DecodeASCII(text, (Py_ssize_t)len, NULL);
}

static PyObject *packet_repr(PyObject *self)
{
	PyObject *text = packet_str(self), *repr;

	repr = text ? PyUnicode_FromFormat("<Packet %c %U>", ((Packet *)self)->direction, text)
		    : NULL;
	Py_XDECREF(text);
	return repr;
}

static PyObject *packet_bytes(PyObject *self, PyObject *unused)
{
	Packet *packet = (Packet *)self;

	(void)unused;
	return PyBytes_FromStringAndSize((char *)packet->bytes, packet->len);
}

static PyObject *packet_copy(PyObject *self, PyObject *unused)
{
	Packet *packet = (Packet *)self;
	Packet *copy = packet_new(Py_TYPE(self), packet->bytes, packet->len);

	(void)unused;
	if (copy) {
		copy->time = packet->time;
		copy->direction = packet->direction;
		copy->checksums = packet->checksums;
	}
	return (PyObject *)copy;
}

/* ---- attributes ---- */

static int is_deleted(PyObject *value)
{
	if (!value)
		PyErr_SetString(PyExc_AttributeError, "it cannot be deleted");
	return !value;
}

static PyObject *get_time(PyObject *self, void *unused)
{
	(void)unused;
	return PyFloat_FromDouble((double)((Packet *)self)->time / NS_PER_SEC);
}

static int set_time(PyObject *self, PyObject *value, void *unused)
{
	double seconds;

	(void)unused;
	if (is_deleted(value))
		return -1;
	seconds = PyFloat_AsDouble(value);
	if (seconds == -1 && PyErr_Occurred())
		return -1;
	return set_seconds((Packet *)self, seconds);
}

static PyObject *get_time_ns(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(((Packet *)self)->time);
}

static int set_time_ns(PyObject *self, PyObject *value, void *unused)
{
	unsigned long long time;

	(void)unused;
	if (is_deleted(value))
		return -1;
	time = PyLong_AsUnsignedLongLong(value);
	if (time == (unsigned long long)-1 && PyErr_Occurred())
		return -1;
	((Packet *)self)->time = time;
	return 0;
}

static PyObject *get_direction(PyObject *self, void *unused)
{
	(void)unused;
	return PyUnicode_FromOrdinal(((Packet *)self)->direction);
}

static int change_direction(PyObject *self, PyObject *value, void *unused)
{
	(void)unused;
	return set_direction((Packet *)self, value);
}

static PyObject *get_checksums(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((Packet *)self)->checksums);
}

static int set_checksums(PyObject *self, PyObject *value, void *unused)
{
	int truth = is_deleted(value) ? -1 : PyObject_IsTrue(value);

	(void)unused;
	if (truth < 0)
		return -1;
	((Packet *)self)->checksums = truth;
	return 0;
}

static PyObject *get_header(PyObject *self, void *layer)
{
	Packet *packet = (Packet *)self;

	if (!packet_has(packet, (enum layer)(uintptr_t)layer))
		Py_RETURN_NONE;
	return header_new(packet, (enum layer)(uintptr_t)layer);
}

static PyObject *get_frame(PyObject *self, void *unused)
{
	(void)unused;
	return packet_bytes(self, NULL);
}

static int set_frame(PyObject *self, PyObject *value, void *unused)
{
	Packet *packet = (Packet *)self;
	Py_buffer frame;
	int result = -1;

	(void)unused;
	if (is_deleted(value) || PyObject_GetBuffer(value, &frame, PyBUF_SIMPLE) < 0)
		return -1;
	if (frame.len < RUMPEL_FRAME_MIN || frame.len > RUMPEL_FRAME_MAX)
		PyErr_SetString(PyExc_ValueError, "no Ethernet frame is so long");
	else
		result = packet_resize(packet, (size_t)frame.len);
	if (!result)
		memcpy(packet->bytes, frame.buf, (size_t)frame.len);
	packet->parsed = false;
	PyBuffer_Release(&frame);
	return result;
}

static PyObject *get_payload(PyObject *self, void *unused)
{
	Packet *packet = (Packet *)self;

	(void)unused;
	packet_has(packet, LAYER_ETHER);
	return PyBytes_FromStringAndSize((char *)packet->bytes + packet->payload,
					 packet->end - packet->payload);
}

static int set_payload(PyObject *self, PyObject *value, void *unused)
{
	Packet *packet = (Packet *)self;
	Py_buffer payload;
	int result = -1;

	(void)unused;
	if (is_deleted(value) || PyObject_GetBuffer(value, &payload, PyBUF_SIMPLE) < 0)
		return -1;
	packet_has(packet, LAYER_ETHER);
	if (payload.len > RUMPEL_FRAME_MAX)
		PyErr_SetString(PyExc_ValueError, "the payload is longer than any packet");
	else
		result = packet_splice(packet, packet->payload, packet->end - packet->payload,
				       payload.buf, (uint32_t)payload.len, false);
	PyBuffer_Release(&payload);
	return result;
}

/* Who talks to whom, and by what: the same for both directions. */
static PyObject *get_flow(PyObject *self, void *unused)
{
	Packet *packet = (Packet *)self;
	uint8_t ends[2][18], flow[1 + sizeof(ends)];
	uint32_t address, size;
	const uint8_t *at;
	bool ports;
	int first;

	(void)unused;
	if (packet_has(packet, LAYER_IP)) {
		at = packet->bytes + packet->at[LAYER_IP] + 12;
		address = 4;
	} else if (packet->has >> LAYER_IP6 & 1) {
		at = packet->bytes + packet->at[LAYER_IP6] + 8;
		address = 16;
	} else {
		Py_RETURN_NONE;
	}
	ports = packet->has & (1 << LAYER_TCP | 1 << LAYER_UDP);
	size = address + (ports ? 2 : 0);
	for (int i = 0; i < 2; i++) {
		memcpy(ends[i], at + i * address, address);
		if (ports)
			memcpy(ends[i] + address, packet->bytes + packet->at[packet->top] + i * 2,
			       2);
	}
	first = memcmp(ends[0], ends[1], size) > 0;
	flow[0] = packet->protocol;
	memcpy(flow + 1, ends[first], size);
	memcpy(flow + 1 + size, ends[!first], size);
	return PyBytes_FromStringAndSize((char *)flow, 1 + 2 * size);
}

#define HEADER(name, layer)                                              \
	{                                                                \
		name, get_header, NULL, NULL, (void *)(uintptr_t)(layer) \
	}

static PyGetSetDef packet_getset[] = {
	HEADER("ether", LAYER_ETHER),
	HEADER("vlan", LAYER_VLAN),
	HEADER("arp", LAYER_ARP),
	HEADER("ip", LAYER_IP),
	HEADER("ip6", LAYER_IP6),
	HEADER("tcp", LAYER_TCP),
	HEADER("udp", LAYER_UDP),
	HEADER("icmp", LAYER_ICMP),
	HEADER("icmpv6", LAYER_ICMPV6),
	{ "time", get_time, set_time, NULL, NULL },
	{ "time_ns", get_time_ns, set_time_ns, NULL, NULL },
	{ "direction", get_direction, change_direction, NULL, NULL },
	{ "checksums", get_checksums, set_checksums, NULL, NULL },
	{ "frame", get_frame, set_frame, NULL, NULL },
	{ "payload", get_payload, set_payload, NULL, NULL },
	{ "flow", get_flow, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMethodDef packet_methods[] = {
	{ "__bytes__", packet_bytes, METH_NOARGS, NULL },
	{ "copy", packet_copy, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot packet_slots[] = {
	{ Py_tp_new, packet_make },	   { Py_tp_dealloc, packet_dealloc },
	{ Py_tp_methods, packet_methods }, { Py_tp_getset, packet_getset },
	{ Py_tp_str, packet_str },	   { Py_tp_repr, packet_repr },
	{ Py_sq_length, packet_length },   { 0, NULL },
};

PyType_Spec packet_spec = {
	.name = "rumpel._native.Packet",
	.basicsize = sizeof(Packet),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = packet_slots,
};
