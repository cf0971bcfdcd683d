// SPDX-License-Identifier: GPL-2.0-only
/* The options of TCP (RFC 9293, 3.1): kinds with their data. */
#include "packet.h"

#include <string.h>

#define TCP_HEADER 20
#define OPTIONS_MAX 40
#define OPTION_END 0
#define OPTION_NOP 1

struct options {
	Packet *packet;
	uint32_t at; /* of the header */
	uint8_t *next;
	uint32_t left;
};

static int options_begin(PyObject *self, struct options *options)
{
	long at = header_at(self, LAYER_TCP);

	if (at < 0)
		return -1;
	options->packet = ((Header *)self)->packet;
	options->at = (uint32_t)at;
	options->next = options->packet->bytes + at + TCP_HEADER;
	options->left = options->packet->payload - options->at - TCP_HEADER;
	return 0;
}

/* The next one, with kind and length, which both may be changed; NULL: that was all. */
static uint8_t *options_next(struct options *options, uint32_t *len)
{
	uint8_t *option = options->next;

	while (options->left && *option == OPTION_NOP) {
		option++;
		options->left--;
	}
	/* What is damaged ends them. */
	if (options->left < 2 || *option == OPTION_END || option[1] < 2 ||
	    option[1] > options->left)
		return NULL;
	*len = option[1];
	options->next = option + *len;
	options->left -= *len;
	return option;
}

PyObject *tcp_options(PyObject *self, void *unused)
{
	struct options options;
	PyObject *list, *pair;
	uint8_t *option;
	uint32_t len;

	(void)unused;
	if (options_begin(self, &options) < 0)
		return NULL;
	list = PyList_New(0);
	while (list && (option = options_next(&options, &len))) {
		pair = Py_BuildValue("iy#", (int)*option, (char *)option + 2, (Py_ssize_t)len - 2);
		if (!pair || PyList_Append(list, pair) < 0)
			Py_CLEAR(list);
		Py_XDECREF(pair);
	}
	return list;
}

/* Bytes, or -1 and an exception. */
static int encode(PyObject *sequence, uint8_t *out)
{
	PyObject *fast = PySequence_Fast(sequence, "options are pairs of a kind and bytes");
	int used = 0, kind;
	Py_ssize_t len;
	char *data;

	for (Py_ssize_t i = 0; fast && i < PySequence_Fast_GET_SIZE(fast); i++) {
		PyObject *pair = PySequence_Fast_GET_ITEM(fast, i);

		if (!PyTuple_Check(pair) || !PyArg_ParseTuple(pair, "iy#", &kind, &data, &len)) {
			if (!PyErr_Occurred())
				PyErr_SetString(PyExc_TypeError,
						"an option is a pair of a kind and bytes");
			Py_CLEAR(fast);
			return -1;
		}
		if (kind <= OPTION_NOP || kind > 255 || used + 2 + len > OPTIONS_MAX) {
			PyErr_SetString(PyExc_ValueError,
					kind > OPTION_NOP && kind <= 255
						? "TCP has room for 40 bytes of options"
						: "the kind of an option is from 2 to 255");
			Py_CLEAR(fast);
			return -1;
		}
		out[used++] = (uint8_t)kind;
		out[used++] = (uint8_t)(2 + len);
		memcpy(out + used, data, (size_t)len);
		used += (int)len;
	}
	if (!fast)
		return -1;
	Py_DECREF(fast);
	while (used % 4)
		out[used++] = OPTION_END;
	return used;
}

int tcp_set_options(PyObject *self, PyObject *value, void *unused)
{
	uint8_t bytes[OPTIONS_MAX + 4];
	struct options options;
	int len;

	(void)unused;
	if (!value) {
		PyErr_SetString(PyExc_AttributeError, "options cannot be deleted: set []");
		return -1;
	}
	len = encode(value, bytes);
	if (len < 0 || options_begin(self, &options) < 0)
		return -1;
	return packet_splice(options.packet, options.at + TCP_HEADER, options.left, bytes,
			     (uint32_t)len, true);
}

/* option(kind): its data, or None */
static PyObject *tcp_option(PyObject *self, PyObject *kind)
{
	long wanted = PyLong_AsLong(kind);
	struct options options;
	uint8_t *option;
	uint32_t len;

	if ((wanted == -1 && PyErr_Occurred()) || options_begin(self, &options) < 0)
		return NULL;
	while ((option = options_next(&options, &len)))
		if (*option == wanted)
			return PyBytes_FromStringAndSize((char *)option + 2, len - 2);
	Py_RETURN_NONE;
}

/* strip(*kinds): how many there were */
static PyObject *tcp_strip(PyObject *self, PyObject *const *kinds, Py_ssize_t count)
{
	static const uint8_t nothing[OPTIONS_MAX] = { [0 ... OPTIONS_MAX - 1] = OPTION_NOP };
	struct options options;
	uint8_t *option;
	long stripped = 0;
	uint32_t len;

	if (options_begin(self, &options) < 0)
		return NULL;
	while ((option = options_next(&options, &len))) {
		for (Py_ssize_t i = 0; i < count; i++) {
			long kind = PyLong_AsLong(kinds[i]);

			if (kind == -1 && PyErr_Occurred())
				return NULL;
			if (kind != *option)
				continue;
			packet_store(options.packet, LAYER_TCP,
				     (uint32_t)(option - options.packet->bytes) - options.at,
				     nothing, len, false);
			stripped++;
			break;
		}
	}
	return PyLong_FromLong(stripped);
}

PyMethodDef tcp_methods[] = {
	{ "option", tcp_option, METH_O, NULL },
	{ "strip", METHOD(tcp_strip), METH_FASTCALL, NULL },
	{ NULL, NULL, 0, NULL },
};
