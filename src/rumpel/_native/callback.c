// SPDX-License-Identifier: GPL-2.0-only
/* Network interfaces that are a Python object: frames to a function, and from anywhere. */
#include "native.h"

/* This thread is in a function that a kernel on a virtual clock has called. */
static _Thread_local bool is_inside;

int kernel_check_outside(Kernel *kernel)
{
	if (!is_inside || !kernel->clock)
		return 0;
	PyErr_SetString(
		PyExc_RuntimeError,
		"a kernel on a virtual clock waits for this function, and cannot be called");
	return -1;
}

bool callback_begin(void)
{
	bool before = is_inside;

	is_inside = true;
	return before;
}

void callback_end(bool before)
{
	is_inside = before;
}

static PyObject *list_of(const struct iovec *frames, size_t count)
{
	PyObject *list = PyList_New((Py_ssize_t)count), *bytes;
	size_t i;

	for (i = 0; list && i < count; i++) {
		bytes = PyBytes_FromStringAndSize(frames[i].iov_base,
						  (Py_ssize_t)frames[i].iov_len);
		if (!bytes)
			Py_CLEAR(list);
		else
			PyList_SET_ITEM(list, (Py_ssize_t)i, bytes);
	}
	return list;
}

/* Nobody is there to catch an exception; Ctrl-C is for the program. */
static void report(PyObject *function)
{
	if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
		PyErr_Clear();
		PyErr_SetInterrupt();
	} else {
		PyErr_WriteUnraisable(function);
	}
}

static void on_transmit(void *opaque, const struct iovec *frames, size_t count)
{
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *function = Py_NewRef((PyObject *)opaque), *list, *result = NULL;
	PyObject *type, *value, *trace;
	bool before = callback_begin();

	/* Somebody may be on the way out with an exception. */
	PyErr_Fetch(&type, &value, &trace);
	list = list_of(frames, count);
	if (list)
		result = PyObject_CallOneArg(function, list);
	if (!result)
		report(function);
	callback_end(before);
	Py_XDECREF(result);
	Py_XDECREF(list);
	Py_DECREF(function);
	PyErr_Restore(type, value, trace);
	PyGILState_Release(state);
}

/* net_callback(function, mac, mtu) */
PyObject *net_callback(PyObject *module, PyObject *args)
{
	PyObject *function, *mac = NULL;
	struct rumpel_device *handle;
	const uint8_t *address;
	unsigned int mtu = 0;
	int error;

	if (!PyArg_ParseTuple(args, "O|OI:net_callback", &function, &mac, &mtu) ||
	    mac_of(mac, &address) < 0)
		return NULL;
	if (!PyCallable_Check(function)) {
		PyErr_SetString(PyExc_TypeError, "a function is expected");
		return NULL;
	}
	error = rumpel_net_callback(on_transmit, function, address, mtu, &handle);
	if (error) {
		error_of_device(error, "a network interface", NULL);
		return NULL;
	}
	return device_wrap(module, handle, function);
}

/* receive(frames): how many were taken */
PyObject *device_receive(PyObject *self, PyObject *argument)
{
	struct rumpel_device *handle = device_handle(self);
	PyObject *frames, *result = NULL;
	Py_ssize_t count, used = 0;
	struct iovec *vector;
	Py_buffer *buffers;
	int taken;

	frames = handle ? PySequence_Fast(argument, "frames are expected") : NULL;
	if (!frames)
		return NULL;
	count = PySequence_Fast_GET_SIZE(frames);
	buffers = PyMem_New(Py_buffer, count + 1);
	vector = PyMem_New(struct iovec, count + 1);
	if (!buffers || !vector) {
		PyErr_NoMemory();
		goto out;
	}
	for (; used < count; used++) {
		if (PyObject_GetBuffer(PySequence_Fast_GET_ITEM(frames, used), &buffers[used],
				       PyBUF_SIMPLE) < 0)
			goto out;
		vector[used].iov_base = buffers[used].buf;
		vector[used].iov_len = (size_t)buffers[used].len;
	}
	/* With the lock: nobody frees the kernel meanwhile. */
	taken = rumpel_net_receive(handle, vector, (size_t)count);
	if (taken < 0)
		error_of_device(taken, "a network interface", NULL);
	else
		result = PyLong_FromLong(taken);
out:
	while (used)
		PyBuffer_Release(&buffers[--used]);
	PyMem_Free(buffers);
	PyMem_Free(vector);
	Py_DECREF(frames);
	return result;
}
