// SPDX-License-Identifier: GPL-2.0-only
/*
 * Python arguments to system call arguments.
 *
 * Integers, signed or unsigned, go as they are; None is 0 or NULL; buffers go
 * by address and stay pinned until args_release; str and os.PathLike become
 * bytes in the file system's encoding with a NUL behind them. Paths that
 * belong to a kernel have a method of their own for it, __kernel_fspath__,
 * since __fspath__ would let the host's functions take them for the host's.
 */
#include "native.h"

#include <string.h>

void args_init(struct call_args *args, Kernel *kernel)
{
	args->kernel = kernel;
	args->buffer_count = 0;
	args->encoded_count = 0;
	args->filename = NULL;
	args->filename2 = NULL;
}

/* Takes the reference. */
static void name_in_errors(struct call_args *args, PyObject *path)
{
	if (!args->filename)
		args->filename = path;
	else if (!args->filename2)
		args->filename2 = path;
	else
		Py_DECREF(path);
}

/* A new reference to str or bytes; whatever cannot be a path stays as it is. */
static PyObject *fspath(struct call_args *args, PyObject *value)
{
	PyObject *name, *path;

	if (PyUnicode_Check(value) || PyBytes_Check(value))
		return Py_NewRef(value);
	if (PyObject_HasAttrString((PyObject *)Py_TYPE(value), "__kernel_fspath__")) {
		name = PyUnicode_FromString("__kernel_fspath__");
		path = name ? PyObject_CallMethodOneArg(value, name, (PyObject *)args->kernel)
			    : NULL;
		Py_XDECREF(name);
		return path;
	}
	return PyOS_FSPath(value);
}

static int from_integer(struct call_args *args, int index, PyObject *value)
{
	int overflow;
	long number = PyLong_AsLongAndOverflow(value, &overflow);

	if (number == -1 && !overflow && PyErr_Occurred())
		return -1;
	args->raw[index] = (unsigned long)number;
	if (overflow <= 0) {
		if (!overflow)
			return 0;
		goto too_large;
	}
	args->raw[index] = PyLong_AsUnsignedLong(value);
	if (args->raw[index] != (unsigned long)-1 || !PyErr_Occurred())
		return 0;
	PyErr_Clear();
too_large:
	PyErr_Format(PyExc_OverflowError, "argument %d does not fit in 64 bits", index + 1);
	return -1;
}

static int from_path(struct call_args *args, int index, PyObject *value)
{
	PyObject *path = fspath(args, value), *encoded;

	if (!path)
		return -1;
	/* Refuses NUL bytes within, which the kernel would take for the end. */
	if (!PyUnicode_FSConverter(path, &encoded)) {
		Py_DECREF(path);
		return -1;
	}
	args->encoded[args->encoded_count++] = encoded;
	args->raw[index] = (unsigned long)PyBytes_AS_STRING(encoded);
	name_in_errors(args, path);
	return 0;
}

/*
 * path: only str, bytes and os.PathLike are right here (and integers, for
 * calls that take a descriptor with an empty path). 0, or -1 and an exception.
 */
int args_convert(struct call_args *args, int index, PyObject *value, bool path)
{
	PyObject *number;
	int error;

	if (PyLong_Check(value))
		return from_integer(args, index, value);
	if (value == Py_None && !path) {
		args->raw[index] = 0;
		return 0;
	}
	if (path || PyUnicode_Check(value))
		return from_path(args, index, value);
	if (PyBytes_CheckExact(value)) {
		args->raw[index] = (unsigned long)PyBytes_AS_STRING(value);
		return 0;
	}
	if (PyObject_CheckBuffer(value))
		return args_buffer(args, index, value, false, NULL);
	if (PyIndex_Check(value)) {
		number = PyNumber_Index(value);
		if (!number)
			return -1;
		error = from_integer(args, index, number);
		Py_DECREF(number);
		return error;
	}
	if (PyObject_HasAttrString((PyObject *)Py_TYPE(value), "__fspath__"))
		return from_path(args, index, value);
	PyErr_Format(PyExc_TypeError,
		     "argument %d must be an integer, a buffer, a path or None, not %.100s",
		     index + 1, Py_TYPE(value)->tp_name);
	return -1;
}

/* A buffer that cannot be written to is of a wrong type. */
void error_of_buffer(PyObject *value, int index, bool writable)
{
	if (writable && PyObject_CheckBuffer(value) && PyErr_ExceptionMatches(PyExc_BufferError))
		PyErr_Format(PyExc_TypeError,
			     "argument %d must be a buffer that can be written to, not %.100s",
			     index + 1, Py_TYPE(value)->tp_name);
}

int args_buffer(struct call_args *args, int index, PyObject *value, bool writable, Py_ssize_t *size)
{
	Py_buffer *buffer = &args->buffers[args->buffer_count];
	int kind = writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;

	if (PyObject_GetBuffer(value, buffer, kind) < 0) {
		error_of_buffer(value, index, writable);
		return -1;
	}
	args->buffer_count++;
	args->raw[index] = (unsigned long)buffer->buf;
	if (size)
		*size = buffer->len;
	return 0;
}

void args_release(struct call_args *args)
{
	while (args->buffer_count)
		PyBuffer_Release(&args->buffers[--args->buffer_count]);
	while (args->encoded_count)
		Py_DECREF(args->encoded[--args->encoded_count]);
	Py_CLEAR(args->filename);
	Py_CLEAR(args->filename2);
}
