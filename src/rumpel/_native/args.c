// SPDX-License-Identifier: GPL-2.0-only
/*
 * Python arguments to system call arguments.
 *
 * Integers, signed or unsigned, go as they are; None is 0 or NULL; buffers go
 * by address and stay pinned until args_release; str and os.PathLike become
 * bytes in the file system's encoding with a NUL behind them.
 */
#include "native.h"

#include <string.h>

void args_init(struct call_args *args)
{
	args->buffer_count = 0;
	args->encoded_count = 0;
	args->filename = NULL;
	args->filename2 = NULL;
}

static void name_in_errors(struct call_args *args, PyObject *path)
{
	if (!args->filename)
		args->filename = path;
	else if (!args->filename2)
		args->filename2 = path;
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
	PyObject *encoded;

	/* Refuses NUL bytes within, which the kernel would take for the end. */
	if (!PyUnicode_FSConverter(value, &encoded))
		return -1;
	args->encoded[args->encoded_count++] = encoded;
	args->raw[index] = (unsigned long)PyBytes_AS_STRING(encoded);
	name_in_errors(args, value);
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
	if (value == Py_None) {
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

int args_buffer(struct call_args *args, int index, PyObject *value, bool writable, Py_ssize_t *size)
{
	Py_buffer *buffer = &args->buffers[args->buffer_count];
	int kind = writable ? PyBUF_WRITABLE : PyBUF_SIMPLE;

	if (PyObject_GetBuffer(value, buffer, kind) < 0) {
		if (writable && PyObject_CheckBuffer(value) &&
		    PyErr_ExceptionMatches(PyExc_BufferError))
			PyErr_Format(
				PyExc_TypeError,
				"argument %d must be a buffer that can be written to, not %.100s",
				index + 1, Py_TYPE(value)->tp_name);
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
}
