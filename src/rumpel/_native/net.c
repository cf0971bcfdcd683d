// SPDX-License-Identifier: GPL-2.0-only
/* Network interfaces. */
#include "native.h"

/* None or 6 bytes. */
static int mac_of(PyObject *value, const uint8_t **mac)
{
	*mac = NULL;
	if (!value || value == Py_None)
		return 0;
	if (PyBytes_Check(value) && PyBytes_GET_SIZE(value) == 6) {
		*mac = (const uint8_t *)PyBytes_AS_STRING(value);
		return 0;
	}
	PyErr_SetString(PyExc_ValueError, "a MAC address must be 6 bytes");
	return -1;
}

/* net_fd(fd, mac, mtu) */
static PyObject *net_fd(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	PyObject *mac = NULL;
	const uint8_t *address;
	unsigned int mtu = 1500;
	int fd, error;

	if (!PyArg_ParseTuple(args, "i|OI:net_fd", &fd, &mac, &mtu) || mac_of(mac, &address) < 0)
		return NULL;
	error = rumpel_net_fd(fd, address, mtu, &handle);
	if (error) {
		error_of_device(error, "a network interface", NULL);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* net_link(delay_ns, mtu, mac0, mac1) */
static PyObject *net_link(PyObject *module, PyObject *args)
{
	PyObject *mac[2] = { NULL, NULL }, *end[2];
	struct rumpel_device *handles[2];
	const uint8_t *address[2];
	unsigned long long delay = 0;
	unsigned int mtu = 1500;
	int error;

	if (!PyArg_ParseTuple(args, "|KIOO:net_link", &delay, &mtu, &mac[0], &mac[1]) ||
	    mac_of(mac[0], &address[0]) < 0 || mac_of(mac[1], &address[1]) < 0)
		return NULL;
	error = rumpel_net_link(delay, mtu, address[0], address[1], handles);
	if (error) {
		error_of_device(error, "a link", NULL);
		return NULL;
	}
	end[0] = device_wrap(module, handles[0], NULL);
	end[1] = device_wrap(module, handles[1], NULL);
	if (end[0] && end[1])
		return Py_BuildValue("NN", end[0], end[1]);
	Py_XDECREF(end[0]);
	Py_XDECREF(end[1]);
	return NULL;
}

PyMethodDef net_functions[] = {
	{ "net_fd", net_fd, METH_VARARGS, NULL },
	{ "net_link", net_link, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
