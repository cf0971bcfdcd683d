// SPDX-License-Identifier: GPL-2.0-only
/* Disks. */
#include "native.h"

static PyObject *block_file(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	PyObject *path, *encoded;
	unsigned int flags = 0;
	int error;

	if (!PyArg_ParseTuple(args, "O|I:block_file", &path, &flags) ||
	    !PyUnicode_FSConverter(path, &encoded))
		return NULL;
	error = rumpel_block_file(PyBytes_AS_STRING(encoded), flags, &handle);
	Py_DECREF(encoded);
	if (error) {
		error_of_device(error, "a disk", path);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* block_nbd(fd, size, flags) */
static PyObject *block_nbd(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	unsigned long long size;
	unsigned int flags;
	int fd, error;

	if (!PyArg_ParseTuple(args, "iKI:block_nbd", &fd, &size, &flags))
		return NULL;
	error = rumpel_block_nbd(fd, size, flags, &handle);
	if (!error)
		return device_wrap(module, handle, NULL);
	error_of_device(error, "a disk", NULL);
	return NULL;
}

/* block_memory(size or buffer, flags) */
static PyObject *block_memory(PyObject *module, PyObject *args)
{
	PyObject *what, *pin = NULL, *device = NULL;
	struct rumpel_device *handle;
	unsigned int flags = 0;
	void *data = NULL;
	size_t size;
	int error;

	if (!PyArg_ParseTuple(args, "O|I:block_memory", &what, &flags))
		return NULL;
	if (PyLong_Check(what)) {
		size = PyLong_AsSize_t(what);
		if (size == (size_t)-1 && PyErr_Occurred())
			return NULL;
	} else {
		pin = PyMemoryView_FromObject(what);
		if (!pin)
			return NULL;
		data = PyMemoryView_GET_BUFFER(pin)->buf;
		size = (size_t)PyMemoryView_GET_BUFFER(pin)->len;
		if (!PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(pin), 'C') ||
		    (PyMemoryView_GET_BUFFER(pin)->readonly && !(flags & RUMPEL_BLOCK_READ_ONLY))) {
			PyErr_SetString(PyExc_ValueError,
					"a disk needs a contiguous, writable buffer");
			goto out;
		}
	}
	error = rumpel_block_memory(data, size, flags, &handle);
	if (error)
		error_of_device(error, "a disk", NULL);
	else
		device = device_wrap(module, handle, pin);
out:
	Py_XDECREF(pin);
	return device;
}

PyMethodDef block_functions[] = {
	{ "block_file", block_file, METH_VARARGS, NULL },
	{ "block_nbd", block_nbd, METH_VARARGS, NULL },
	{ "block_memory", block_memory, METH_VARARGS, NULL },
	{ "block_served", block_served, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
