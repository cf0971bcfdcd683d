// SPDX-License-Identifier: GPL-2.0-only
/* Network interfaces on streams of packets. */
#include "native.h"

/* net_pipe(in, out, events, report, name, read, write, backward, paused, shared, mac, mtu) */
static PyObject *net_pipe(PyObject *module, PyObject *args)
{
	struct rumpel_pipe config = { 0 };
	struct rumpel_device *handle;
	unsigned int mtu, read, write;
	const uint8_t *address;
	int error, backward, paused;
	PyObject *mac;

	if (!PyArg_ParseTuple(args, "iiiisIIppiOI:net_pipe", &config.in, &config.out,
			      &config.events, &config.report, &config.name, &read, &write,
			      &backward, &paused, &config.shared, &mac, &mtu) ||
	    mac_of(mac, &address) < 0)
		return NULL;
	config.read = read;
	config.write = write;
	config.backward = backward;
	config.paused = paused;
	error = rumpel_net_pipe(&config, address, mtu, &handle);
	if (error) {
		error_of_device(error, "a stream of packets", NULL);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* net_join(device, other) */
static PyObject *net_join(PyObject *module, PyObject *args)
{
	struct native_state *state = PyModule_GetState(module);
	PyObject *device, *other;
	struct rumpel_device *handles[2];
	int error;

	if (!PyArg_ParseTuple(args, "O!O!:net_join", state->device_type, &device,
			      state->device_type, &other))
		return NULL;
	handles[0] = device_handle(device);
	handles[1] = handles[0] ? device_handle(other) : NULL;
	if (!handles[1])
		return NULL;
	error = rumpel_net_join(handles[0], handles[1]);
	if (error) {
		error_of_device(error, "join", NULL);
		return NULL;
	}
	Py_RETURN_NONE;
}

/* net_is_stalled(device) */
static PyObject *net_is_stalled(PyObject *module, PyObject *device)
{
	struct native_state *state = PyModule_GetState(module);
	struct rumpel_device *handle;

	if (!PyObject_TypeCheck(device, state->device_type)) {
		PyErr_SetString(PyExc_TypeError, "a device is expected");
		return NULL;
	}
	handle = device_handle(device);
	return handle ? PyBool_FromLong(rumpel_net_is_stalled(handle)) : NULL;
}

static PyObject *call_device(PyObject *module, PyObject *device,
			     int (*function)(struct rumpel_device *))
{
	struct native_state *state = PyModule_GetState(module);
	struct rumpel_device *handle;
	int error;

	if (!PyObject_TypeCheck(device, state->device_type)) {
		PyErr_SetString(PyExc_TypeError, "a device is expected");
		return NULL;
	}
	handle = device_handle(device);
	if (!handle)
		return NULL;
	error = function(handle);
	if (error) {
		error_of_device(error, "a stream of packets", NULL);
		return NULL;
	}
	Py_RETURN_NONE;
}

/* net_pipe_resume(device) */
static PyObject *net_pipe_resume(PyObject *module, PyObject *device)
{
	return call_device(module, device, rumpel_net_pipe_resume);
}

/* net_pipe_end(device) */
static PyObject *net_pipe_end(PyObject *module, PyObject *device)
{
	return call_device(module, device, rumpel_net_pipe_end);
}

/* packet_summary(frame) */
static PyObject *packet_summary(PyObject *module, PyObject *argument)
{
	char text[RUMPEL_PACKET_SUMMARY];
	Py_buffer frame;
	size_t len;

	(void)module;
	if (PyObject_GetBuffer(argument, &frame, PyBUF_SIMPLE) < 0)
		return NULL;
	len = rumpel_packet_summary(frame.buf, frame.len, text);
	PyBuffer_Release(&frame);
	return PyUnicode_DecodeASCII(text, (Py_ssize_t)len, NULL);
}

PyMethodDef pipe_functions[] = {
	{ "net_pipe", net_pipe, METH_VARARGS, NULL },
	{ "net_join", net_join, METH_VARARGS, NULL },
	{ "net_is_stalled", net_is_stalled, METH_O, NULL },
	{ "net_pipe_resume", net_pipe_resume, METH_O, NULL },
	{ "net_pipe_end", net_pipe_end, METH_O, NULL },
	{ "packet_summary", packet_summary, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};
