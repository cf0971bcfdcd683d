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

static int parse(const char *text, struct in_addr *address)
{
	if (inet_pton(AF_INET, text, address) == 1)
		return 0;
	PyErr_Format(PyExc_ValueError, "not an IPv4 address: '%s'", text);
	return -1;
}

/* UserNet(network, mask, host, dns, guest, mtu, host_loopback) */
static PyObject *usernet_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	const char *network, *mask, *host, *dns, *guest, *why;
	struct slirp_addresses addresses = { 0 };
	int loopback, error;
	UserNet *self;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "UserNet takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "sssssIp:UserNet", &network, &mask, &host, &dns, &guest,
			      &addresses.mtu, &loopback) ||
	    parse(network, &addresses.network) < 0 || parse(mask, &addresses.mask) < 0 ||
	    parse(host, &addresses.host) < 0 || parse(dns, &addresses.dns) < 0 ||
	    parse(guest, &addresses.guest) < 0)
		return NULL;
	addresses.host_loopback = loopback;
	self = (UserNet *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->state = native_state(type);
	error = slirp_open(&addresses, &self->net, &why);
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

/* forward(udp, host, port, guest, port): publishes, or ends that with guest=None. */
static PyObject *usernet_forward(PyObject *object, PyObject *args)
{
	UserNet *self = (UserNet *)object;
	struct in_addr host, guest;
	const char *host_text, *guest_text;
	int udp, host_port, guest_port, error = -ESHUTDOWN;

	if (!PyArg_ParseTuple(args, "psizi:forward", &udp, &host_text, &host_port, &guest_text,
			      &guest_port) ||
	    parse(host_text, &host) < 0 || (guest_text && parse(guest_text, &guest) < 0))
		return NULL;
	if (self->net && !self->closing) {
		self->users++;
		Py_BEGIN_ALLOW_THREADS
		error = slirp_forward(self->net, udp, host, host_port, guest_text ? &guest : NULL,
				      guest_port);
		Py_END_ALLOW_THREADS
		self->users--;
		leave(self);
	}
	if (!error)
		Py_RETURN_NONE;
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
