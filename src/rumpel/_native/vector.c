// SPDX-License-Identifier: GPL-2.0-only
/*
 * An array of struct iovec over Python buffers, which stay in place as long as
 * it lives. It is a buffer itself, to be given to readv, sendmsg and the like.
 */
#include "native.h"

#include <sys/uio.h>

typedef struct {
	PyObject_HEAD
	Py_ssize_t pinned;
	struct iovec *entries;
	Py_buffer *buffers;
} Vector;

static void vector_dealloc(PyObject *self)
{
	Vector *vector = (Vector *)self;
	PyTypeObject *type = Py_TYPE(self);

	while (vector->pinned)
		PyBuffer_Release(&vector->buffers[--vector->pinned]);
	PyMem_Free(vector->buffers);
	PyMem_Free(vector->entries);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyObject *vector_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "buffers", "writable", NULL };
	PyObject *sequence, *fast;
	Vector *vector = NULL;
	Py_ssize_t i, count;
	int writable = 0;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$p:Vector", known, &sequence,
					 &writable))
		return NULL;
	fast = PySequence_Fast(sequence, "buffers must be a sequence");
	if (!fast)
		return NULL;
	count = PySequence_Fast_GET_SIZE(fast);
	vector = (Vector *)type->tp_alloc(type, 0);
	if (!vector)
		goto out;
	vector->entries = PyMem_Calloc((size_t)count + 1, sizeof(*vector->entries));
	vector->buffers = PyMem_Calloc((size_t)count + 1, sizeof(*vector->buffers));
	if (!vector->entries || !vector->buffers) {
		PyErr_NoMemory();
		goto fail;
	}
	for (i = 0; i < count; i++) {
		if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(fast, i), &vector->buffers[i],
				       writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
			error_of_buffer(PySequence_Fast_GET_ITEM(fast, i), (int)i, writable);
			goto fail;
		}
		vector->pinned++;
		vector->entries[i].iov_base = vector->buffers[i].buf;
		vector->entries[i].iov_len = (size_t)vector->buffers[i].len;
	}
	goto out;
fail:
	Py_CLEAR(vector);
out:
	Py_DECREF(fast);
	return (PyObject *)vector;
}

static int vector_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	Vector *vector = (Vector *)self;

	return PyBuffer_FillInfo(view, self, vector->entries,
				 vector->pinned * (Py_ssize_t)sizeof(struct iovec), 1, flags);
}

static Py_ssize_t vector_length(PyObject *self)
{
	return ((Vector *)self)->pinned;
}

static PyObject *vector_addresses(PyObject *self, void *unused)
{
	Vector *vector = (Vector *)self;
	PyObject *list = PyList_New(vector->pinned), *number;
	Py_ssize_t i;

	(void)unused;
	for (i = 0; list && i < vector->pinned; i++) {
		number = PyLong_FromVoidPtr(vector->entries[i].iov_base);
		if (number)
			PyList_SET_ITEM(list, i, number);
		else
			Py_CLEAR(list);
	}
	return list;
}

static PyGetSetDef vector_getset[] = {
	{ "addresses", vector_addresses, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot vector_slots[] = {
	{ Py_tp_new, vector_new },
	{ Py_tp_dealloc, vector_dealloc },
	{ Py_tp_getset, vector_getset },
	{ Py_sq_length, vector_length },
	{ Py_bf_getbuffer, vector_getbuffer },
	{ 0, NULL },
};

PyType_Spec vector_spec = {
	.name = "rumpel._native.Vector",
	.basicsize = sizeof(Vector),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = vector_slots,
};
