// SPDX-License-Identifier: GPL-2.0-only
/* Many packets at a time, from a stream of bytes and to one. */
#include "packet.h"

#include <string.h>

typedef struct {
	PyObject_HEAD
	struct rumpel_packet_reader reader;
	char direction; /* of what it reads; 0: as the stream says */
	bool lost; /* nothing behind can be read */
	char *bytes;
	size_t len, room;
} Reader;

/* PacketReader(direction=None) */
static PyObject *reader_make(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "direction", NULL };
	const char *direction = NULL;
	Reader *reader;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|z:PacketReader", known, &direction))
		return NULL;
	if (direction && strcmp(direction, "<") != 0 && strcmp(direction, ">") != 0) {
		PyErr_SetString(PyExc_ValueError, "a direction is '>' or '<'");
		return NULL;
	}
	reader = (Reader *)type->tp_alloc(type, 0);
	if (reader && direction)
		reader->direction = *direction;
	return (PyObject *)reader;
}

static void reader_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyMem_Free(((Reader *)self)->bytes);
	type->tp_free(self);
	Py_DECREF(type);
}

static int reader_add(Reader *reader, const Py_buffer *more)
{
	size_t needed = reader->len + (size_t)more->len;
	char *bytes;

	if (needed > reader->room) {
		bytes = PyMem_Realloc(reader->bytes, needed);
		if (!bytes) {
			PyErr_NoMemory();
			return -1;
		}
		reader->bytes = bytes;
		reader->room = needed;
	}
	if (more->len)
		memcpy(reader->bytes + reader->len, more->buf, (size_t)more->len);
	reader->len = needed;
	return 0;
}

static PyObject *found_packet(const Reader *reader, const struct rumpel_packet *found)
{
	struct native_state *state = native_state(Py_TYPE(reader));
	Packet *packet = packet_new(state->packet_type, found->data, found->len);

	if (packet) {
		packet->time = found->time;
		packet->direction = reader->direction ? reader->direction : found->direction;
	}
	return (PyObject *)packet;
}

/* 0: go on; 1: what comes next is not there yet, or cannot be read; -1: an exception. */
static int reader_next(Reader *reader, size_t *at, bool end, PyObject *items, PyObject *problems)
{
	PyObject *into = items, *item = NULL;
	enum rumpel_packet_kind kind;
	struct rumpel_packet found;
	int result;

	kind = rumpel_packet_read(&reader->reader, reader->bytes + *at, reader->len - *at, end,
				  &found);
	switch (kind) {
	case RUMPEL_PACKET_MORE:
		return 1;
	case RUMPEL_PACKET_NOTHING:
		*at += found.used;
		return 0;
	case RUMPEL_PACKET_FRAME:
		item = found_packet(reader, &found);
		break;
	case RUMPEL_PACKET_OTHER:
		item = PyBytes_FromStringAndSize(found.data, (Py_ssize_t)found.len);
		break;
	case RUMPEL_PACKET_BAD:
	case RUMPEL_PACKET_LOST:
		into = problems;
		item = PyUnicode_FromFormat("%s %llu: %s",
					    reader->reader.format == RUMPEL_PACKETS_TEXT ? "line"
											 : "packet",
					    (unsigned long long)reader->reader.count, found.why);
		break;
	}
	if (!item)
		return -1;
	result = PyList_Append(into, item);
	Py_DECREF(item);
	*at += found.used;
	reader->lost = kind == RUMPEL_PACKET_LOST;
	return result < 0 ? -1 : reader->lost;
}

/* feed(data, end=False): packets and lines that are none, and what is wrong with others */
static PyObject *reader_feed(PyObject *self, PyObject *args)
{
	Reader *reader = (Reader *)self;
	PyObject *items, *problems;
	int end = 0, result = 0;
	Py_buffer data;
	size_t at = 0;

	if (!PyArg_ParseTuple(args, "y*|p:feed", &data, &end))
		return NULL;
	items = PyList_New(0);
	problems = PyList_New(0);
	result = items && problems && !reader->lost ? reader_add(reader, &data) : -1;
	while (!result && at < reader->len)
		result = reader_next(reader, &at, end, items, problems);
	PyBuffer_Release(&data);
	if (reader->lost)
		reader->len = 0;
	else if (reader->len)
		memmove(reader->bytes, reader->bytes + at, reader->len -= at);
	if (PyErr_Occurred()) {
		Py_XDECREF(items);
		Py_XDECREF(problems);
		return NULL;
	}
	return Py_BuildValue("NN", items, problems);
}

static PyMethodDef reader_methods[] = {
	{ "feed", reader_feed, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef reader_members[] = {
	{ "damaged", T_BOOL, offsetof(Reader, lost), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot reader_slots[] = {
	{ Py_tp_new, reader_make },
	{ Py_tp_dealloc, reader_dealloc },
	{ Py_tp_methods, reader_methods },
	{ Py_tp_members, reader_members },
	{ 0, NULL },
};

PyType_Spec packet_reader_spec = {
	.name = "rumpel._native.PacketReader",
	.basicsize = sizeof(Reader),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = reader_slots,
};

/* ---- writing ---- */

/* packets_begin(format): what a stream begins with */
static PyObject *packets_begin(PyObject *module, PyObject *argument)
{
	unsigned long format = PyLong_AsUnsignedLong(argument);
	char bytes[RUMPEL_PACKETS_BEGIN];

	(void)module;
	if (format == (unsigned long)-1 && PyErr_Occurred())
		return NULL;
	return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)rumpel_packets_begin(format, bytes));
}

/* Bytes that an item may take, or -1 and an exception. */
static Py_ssize_t most_bytes(struct native_state *state, PyObject *item)
{
	if (PyObject_TypeCheck(item, state->packet_type))
		return RUMPEL_PACKET_BYTES((Py_ssize_t)((Packet *)item)->len);
	if (PyBytes_Check(item))
		return PyBytes_GET_SIZE(item) + 1;
	PyErr_Format(PyExc_TypeError, "a packet or a line is expected, not %.100s",
		     Py_TYPE(item)->tp_name);
	return -1;
}

static size_t put_item(struct native_state *state, unsigned long format, char *out, PyObject *item)
{
	const Packet *packet = (const Packet *)item;
	size_t len;

	if (PyObject_TypeCheck(item, state->packet_type))
		return rumpel_packet_write(format, out, packet->time, packet->direction,
					   (const char *)packet->bytes, packet->len);
	/* There is no place for lines in a capture. */
	if (format != RUMPEL_PACKETS_TEXT)
		return 0;
	len = (size_t)PyBytes_GET_SIZE(item);
	memcpy(out, PyBytes_AS_STRING(item), len);
	if (len && out[len - 1] != '\n')
		out[len++] = '\n';
	return len;
}

/* packets_encode(format, items) */
static PyObject *packets_encode(PyObject *module, PyObject *args)
{
	struct native_state *state = PyModule_GetState(module);
	PyObject *sequence, *fast, *bytes = NULL;
	Py_ssize_t count, needed = 0, most;
	unsigned long format;
	size_t used = 0;

	if (!PyArg_ParseTuple(args, "kO:packets_encode", &format, &sequence))
		return NULL;
	fast = PySequence_Fast(sequence, "a sequence of packets is expected");
	if (!fast)
		return NULL;
	count = PySequence_Fast_GET_SIZE(fast);
	for (Py_ssize_t i = 0; i < count; i++) {
		most = most_bytes(state, PySequence_Fast_GET_ITEM(fast, i));
		if (most < 0)
			goto out;
		needed += most;
	}
	bytes = PyBytes_FromStringAndSize(NULL, needed);
	for (Py_ssize_t i = 0; bytes && i < count; i++)
		used += put_item(state, format, PyBytes_AS_STRING(bytes) + used,
				 PySequence_Fast_GET_ITEM(fast, i));
	if (bytes)
		_PyBytes_Resize(&bytes, (Py_ssize_t)used);
out:
	Py_DECREF(fast);
	return bytes;
}

PyMethodDef packets_functions[] = {
	{ "packets_begin", packets_begin, METH_O, NULL },
	{ "packets_encode", packets_encode, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
