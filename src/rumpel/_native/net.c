// SPDX-License-Identifier: GPL-2.0-only
/* Network interfaces. */
#include "native.h"

/* None or 6 bytes. */
int mac_of(PyObject *value, const uint8_t **mac)
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

/* net_packet(interface, flags, mac, mtu) */
static PyObject *net_packet(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	unsigned int flags = 0, mtu = 0;
	const uint8_t *address;
	PyObject *mac = NULL;
	const char *name;
	int error;

	if (!PyArg_ParseTuple(args, "s|IOI:net_packet", &name, &flags, &mac, &mtu) ||
	    mac_of(mac, &address) < 0)
		return NULL;
	error = rumpel_net_packet(name, flags, address, mtu, &handle);
	if (error) {
		error_of_device(error, "a packet socket", PyTuple_GET_ITEM(args, 0));
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* net_xdp(interface, queue, flags, mac, mtu) -> (device, mode) */
static PyObject *net_xdp(PyObject *module, PyObject *args)
{
	unsigned int queue = 0, flags = 0, mtu = 0;
	struct rumpel_device *handle;
	enum rumpel_xdp_mode mode;
	const uint8_t *address;
	PyObject *mac = NULL;
	const char *name;
	int error;

	if (!PyArg_ParseTuple(args, "s|IIOI:net_xdp", &name, &queue, &flags, &mac, &mtu) ||
	    mac_of(mac, &address) < 0)
		return NULL;
	error = rumpel_net_xdp(name, queue, flags, address, mtu, &mode, &handle);
	if (error) {
		error_of_device(error, "a socket of AF_XDP", PyTuple_GET_ITEM(args, 0));
		return NULL;
	}
	return Py_BuildValue("Ni", device_wrap(module, handle, NULL), (int)mode);
}

/* net_unix(path, flags, again_ns, mac, mtu) */
static PyObject *net_unix(PyObject *module, PyObject *args)
{
	PyObject *path, *encoded, *mac = NULL;
	unsigned int flags = 0, mtu = 0;
	struct rumpel_device *handle;
	unsigned long long again = 0;
	const uint8_t *address;
	int error;

	if (!PyArg_ParseTuple(args, "O|IKOI:net_unix", &path, &flags, &again, &mac, &mtu) ||
	    mac_of(mac, &address) < 0 || !PyUnicode_FSConverter(path, &encoded))
		return NULL;
	error = rumpel_net_unix(PyBytes_AS_STRING(encoded), flags, again, address, mtu, &handle);
	Py_DECREF(encoded);
	if (error) {
		error_of_device(error, "a unix socket", path);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

/* net_vde(path, port, description, mac, mtu) */
static PyObject *net_vde(PyObject *module, PyObject *args)
{
	PyObject *path, *mac = NULL;
	struct rumpel_device *handle;
	unsigned int port = 0, mtu = 0;
	const char *description = "";
	const uint8_t *address;
	int error;

	if (!PyArg_ParseTuple(args, "O&|IsOI:net_vde", PyUnicode_FSConverter, &path, &port,
			      &description, &mac, &mtu))
		return NULL;
	error = mac_of(mac, &address);
	if (!error) {
		error = rumpel_net_vde(PyBytes_AS_STRING(path), port, description, address, mtu,
				       &handle);
		if (error)
			error_of_device(error, "a VDE switch", PyTuple_GET_ITEM(args, 0));
	}
	Py_DECREF(path);
	return error ? NULL : device_wrap(module, handle, NULL);
}

/* net_datagram(local, peer, mac, mtu) */
static PyObject *net_datagram(PyObject *module, PyObject *args)
{
	PyObject *local, *peer = NULL, *mac = NULL;
	struct rumpel_device *handle;
	const uint8_t *address;
	unsigned int mtu = 0;
	int error;

	if (!PyArg_ParseTuple(args, "O&O&|OI:net_datagram", PyUnicode_FSConverter, &local,
			      PyUnicode_FSConverter, &peer, &mac, &mtu))
		return NULL;
	error = mac_of(mac, &address);
	if (!error) {
		error = rumpel_net_datagram(PyBytes_AS_STRING(local), PyBytes_AS_STRING(peer),
					    address, mtu, &handle);
		if (error)
			error_of_device(error, "a unix socket", PyTuple_GET_ITEM(args, 0));
	}
	Py_DECREF(local);
	Py_DECREF(peer);
	return error ? NULL : device_wrap(module, handle, NULL);
}

/* tap_open(name, flags) -> (fd, name) */
static PyObject *tap_open(PyObject *module, PyObject *args)
{
	unsigned int flags = 0;
	const char *name;
	char actual[16];
	int fd;

	(void)module;
	if (!PyArg_ParseTuple(args, "s|I:tap_open", &name, &flags))
		return NULL;
	fd = rumpel_tap_open(name, flags, actual);
	if (fd < 0) {
		error_of_device(fd, "a TAP device", PyTuple_GET_ITEM(args, 0));
		return NULL;
	}
	return Py_BuildValue("is", fd, actual);
}

/* net_tap(fd, flags, mac, mtu) */
static PyObject *net_tap(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	unsigned int flags = 0, mtu = 0;
	const uint8_t *address;
	PyObject *mac = NULL;
	int fd, error;

	if (!PyArg_ParseTuple(args, "i|IOI:net_tap", &fd, &flags, &mac, &mtu) ||
	    mac_of(mac, &address) < 0)
		return NULL;
	error = rumpel_net_tap(fd, flags, address, mtu, &handle);
	if (error) {
		error_of_device(error, "a TAP device", NULL);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}

PyMethodDef net_functions[] = {
	{ "net_fd", net_fd, METH_VARARGS, NULL },
	{ "net_link", net_link, METH_VARARGS, NULL },
	{ "net_vde", net_vde, METH_VARARGS, NULL },
	{ "net_packet", net_packet, METH_VARARGS, NULL },
	{ "net_xdp", net_xdp, METH_VARARGS, NULL },
	{ "net_unix", net_unix, METH_VARARGS, NULL },
	{ "net_datagram", net_datagram, METH_VARARGS, NULL },
	{ "net_callback", net_callback, METH_VARARGS, NULL },
	{ "net_tap", net_tap, METH_VARARGS, NULL },
	{ "tap_open", tap_open, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
