// SPDX-License-Identifier: GPL-2.0-only
/* Memory that mmap() of a kernel returned, as a buffer of Python's: rumpel.mmap. */
#include "native.h"

typedef struct {
	PyObject_HEAD
	struct rumpel_mappings *held; /* NULL: closed */
	char *address;
	Py_ssize_t length;
	int readonly;
	Py_ssize_t exports; /* buffers that are in use */
} Mapping;

static int check_open(Mapping *mapping)
{
	if (mapping->held)
		return 0;
	PyErr_SetString(PyExc_ValueError, "mmap closed or invalid");
	return -1;
}

/* 0, or -1 and BufferError: somebody has the memory's address. */
static int check_unused(Mapping *mapping)
{
	if (!mapping->exports)
		return 0;
	PyErr_SetString(PyExc_BufferError, "cannot close exported pointers exist");
	return -1;
}

/* Mapping(kernel, address, length, readonly) */
static int mapping_init(PyObject *self, PyObject *args, PyObject *keywords)
{
	struct native_state *state = native_state(Py_TYPE(self));
	Mapping *mapping = (Mapping *)self;
	unsigned long long address;
	Py_ssize_t length;
	Kernel *kernel;
	int readonly;

	(void)keywords;
	if (!PyArg_ParseTuple(args, "O!Knp:Mapping", state->kernel_type, &kernel, &address, &length,
			      &readonly))
		return -1;
	if (mapping->held || length < 0) {
		PyErr_SetString(PyExc_ValueError, "a mapping is made once");
		return -1;
	}
	if (!kernel->handle || kernel->closing)
		return error_closed(kernel);
	mapping->held = rumpel_mappings_hold(kernel->handle);
	mapping->address = (char *)address;
	mapping->length = length;
	mapping->readonly = readonly;
	return 0;
}

static void mapping_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	if (PyObject_CallFinalizerFromDealloc(self) < 0)
		return;
	if (((Mapping *)self)->held)
		rumpel_mappings_release(((Mapping *)self)->held);
	type->tp_free(self);
	Py_DECREF(type);
}

static int mapping_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
	Mapping *mapping = (Mapping *)self;

	if (check_open(mapping) < 0 ||
	    PyBuffer_FillInfo(view, self, mapping->address, mapping->length, mapping->readonly,
			      flags) < 0)
		return -1;
	mapping->exports++;
	return 0;
}

static void mapping_releasebuffer(PyObject *self, Py_buffer *view)
{
	(void)view;
	((Mapping *)self)->exports--;
}

/* _unused(): nobody has the memory's address, so it may be unmapped or moved. */
static PyObject *mapping_unused(PyObject *self, PyObject *unused)
{
	(void)unused;
	return check_unused((Mapping *)self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* _release(): where it was, for the one caller who is to unmap it; None for all others. */
static PyObject *mapping_release(PyObject *self, PyObject *unused)
{
	Mapping *mapping = (Mapping *)self;

	(void)unused;
	if (check_unused(mapping) < 0)
		return NULL;
	if (!mapping->held)
		Py_RETURN_NONE;
	rumpel_mappings_release(mapping->held);
	mapping->held = NULL;
	return Py_BuildValue("(Kn)", (unsigned long long)mapping->address, mapping->length);
}

static PyObject *mapping_closed(PyObject *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!((Mapping *)self)->held);
}

static PyObject *mapping_address(PyObject *self, void *unused)
{
	(void)unused;
	if (check_open((Mapping *)self) < 0)
		return NULL;
	return PyLong_FromVoidPtr(((Mapping *)self)->address);
}

static Py_ssize_t mapping_length(PyObject *self)
{
	return check_open((Mapping *)self) < 0 ? -1 : ((Mapping *)self)->length;
}

static PyMethodDef mapping_methods[] = {
	{ "_unused", mapping_unused, METH_NOARGS, NULL },
	{ "_release", mapping_release, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef mapping_getset[] = {
	{ "closed", mapping_closed, NULL, NULL, NULL },
	{ "address", mapping_address, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot mapping_slots[] = {
	{ Py_tp_init, mapping_init },
	{ Py_tp_new, PyType_GenericNew },
	{ Py_tp_dealloc, mapping_dealloc },
	{ Py_tp_methods, mapping_methods },
	{ Py_tp_getset, mapping_getset },
	{ Py_mp_length, mapping_length },
	{ Py_bf_getbuffer, mapping_getbuffer },
	{ Py_bf_releasebuffer, mapping_releasebuffer },
	{ 0, NULL },
};

PyType_Spec mapping_spec = {
	.name = "rumpel._native.Mapping",
	.basicsize = sizeof(Mapping),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = mapping_slots,
};
