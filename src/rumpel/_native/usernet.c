// SPDX-License-Identifier: GPL-2.0-only
/* User-mode networks for Python. */
#include "native.h"
#include "slirp.h"

typedef struct {
	PyObject_HEAD
	struct native_state *state;
	struct slirp *net; /* NULL: closed */
	unsigned int users; /* threads that are inside slirp.c */
	bool closing;
} UserNet;

/* The last one out closes it. */
static void leave(UserNet *self)
{
	struct slirp *net = self->net;

	if (self->users || !self->closing || !net)
		return;
	self->net = NULL;
	Py_BEGIN_ALLOW_THREADS
	slirp_close(net);
	Py_END_ALLOW_THREADS
}

static void usernet_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	((UserNet *)self)->closing = true;
	leave((UserNet *)self);
	type->tp_free(self);
	Py_DECREF(type);
}

static int fail(UserNet *self, int error, const char *why)
{
	PyObject *type = PyObject_GetAttrString(self->state->errors, "DeviceError");

	if (!type)
		return -1;
	if (error == -ENOSYS)
		PyErr_Format(type,
			     "a user-mode network needs libslirp: "
			     "sudo apt-get install libslirp0 libslirp-dev (%s)",
			     why);
	else if (error == -EINVAL)
		PyErr_SetString(type, "libslirp refuses these addresses or this MTU");
	else
		PyErr_Format(type, "cannot make a user-mode network: %s", strerror(-error));
	Py_DECREF(type);
	return -1;
}

static int parse(int family, const char *text, void *address)
{
	if (inet_pton(family, text, address) == 1)
		return 0;
	PyErr_Format(PyExc_ValueError, "not an %s address: '%s'",
		     family == AF_INET ? "IPv4" : "IPv6", text);
	return -1;
}

/* A tuple of addresses: the network's, the host's, the name server's, the guest's. */
static int parse_family(PyObject *texts, int family, void *network, void *host, void *dns,
			void *guest)
{
	const char *text[4];

	if (!PyArg_ParseTuple(texts, "ssss", &text[0], &text[1], &text[2], &text[3]) ||
	    parse(family, text[0], network) < 0 || parse(family, text[1], host) < 0 ||
	    parse(family, text[2], dns) < 0 || parse(family, text[3], guest) < 0)
		return -1;
	return 0;
}

/* UserNet(addresses, mask, addresses6, mtu, host_loopback); addresses6 may be None. */
static PyObject *usernet_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	struct slirp_addresses ask = { 0 };
	PyObject *four, *six;
	const char *mask, *why;
	int loopback, error;
	UserNet *self;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "UserNet takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "O!sOIp:UserNet", &PyTuple_Type, &four, &mask, &six, &ask.mtu,
			      &loopback) ||
	    parse(AF_INET, mask, &ask.mask) < 0 ||
	    parse_family(four, AF_INET, &ask.network, &ask.host, &ask.dns, &ask.guest) < 0)
		return NULL;
	ask.has6 = six != Py_None;
	if (ask.has6 &&
	    parse_family(six, AF_INET6, &ask.network6, &ask.host6, &ask.dns6, &ask.guest6) < 0)
		return NULL;
	ask.host_loopback = loopback;
	self = (UserNet *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->state = native_state(type);
	error = slirp_open(&ask, &self->net, &why);
	if (error) {
		fail(self, error, why);
		Py_CLEAR(self);
	}
	return (PyObject *)self;
}

static PyObject *usernet_fileno(PyObject *object, PyObject *unused)
{
	UserNet *self = (UserNet *)object;

	(void)unused;
	return PyLong_FromLong(self->net ? slirp_guest(self->net) : -1);
}

static PyObject *usernet_close(PyObject *object, PyObject *unused)
{
	UserNet *self = (UserNet *)object;

	(void)unused;
	self->closing = true;
	leave(self);
	Py_RETURN_NONE;
}

/* forward(udp, host, host_port, guest_port): publishes, or ends that if guest_port < 0. */
static PyObject *usernet_forward(PyObject *object, PyObject *args)
{
	UserNet *self = (UserNet *)object;
	int udp, host_port, guest_port, error = -ESHUTDOWN;
	const char *host;

	if (!PyArg_ParseTuple(args, "psii:forward", &udp, &host, &host_port, &guest_port))
		return NULL;
	if (self->net && !self->closing) {
		self->users++;
		Py_BEGIN_ALLOW_THREADS
		error = slirp_forward(self->net, udp, host, host_port, guest_port);
		Py_END_ALLOW_THREADS
		self->users--;
		leave(self);
	}
	if (!error)
		Py_RETURN_NONE;
	if (error == -EAFNOSUPPORT) {
		PyErr_Format(PyExc_ValueError, "not an address of this network's families: '%s'",
			     host);
		return NULL;
	}
	errno = -error;
	return PyErr_SetFromErrno(PyExc_OSError);
}

static PyMethodDef usernet_methods[] = {
	{ "fileno", usernet_fileno, METH_NOARGS, NULL },
	{ "forward", usernet_forward, METH_VARARGS, NULL },
	{ "close", usernet_close, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot usernet_slots[] = {
	{ Py_tp_new, usernet_new },
	{ Py_tp_dealloc, usernet_dealloc },
	{ Py_tp_methods, usernet_methods },
	{ 0, NULL },
};

PyType_Spec usernet_spec = {
	.name = "rumpel._native.UserNet",
	.basicsize = sizeof(UserNet),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = usernet_slots,
};
