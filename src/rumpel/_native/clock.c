// SPDX-License-Identifier: GPL-2.0-only
/* Virtual clocks. */
#include "native.h"

typedef struct {
	PyObject_HEAD
	struct rumpel_clock *handle;
} Clock;

static PyObject *clock_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static char *known[] = { "start_ns", "epoch_ns", NULL };
	unsigned long long start = 0, epoch = 0;
	Clock *clock;
	int error;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|KK:Clock", known, &start, &epoch))
		return NULL;
	clock = (Clock *)type->tp_alloc(type, 0);
	if (!clock)
		return NULL;
	error = rumpel_clock_create(start, epoch, &clock->handle);
	if (error) {
		clock->handle = NULL;
		Py_DECREF(clock);
		error_of_device(error, "a clock", NULL);
		return NULL;
	}
	return (PyObject *)clock;
}

static void clock_dealloc(PyObject *self)
{
	Clock *clock = (Clock *)self;
	PyTypeObject *type = Py_TYPE(self);

	if (clock->handle)
		rumpel_clock_free(clock->handle);
	type->tp_free(self);
	Py_DECREF(type);
}

/* NULL with an exception if it is no clock. */
struct rumpel_clock *clock_handle(struct native_state *state, PyObject *clock)
{
	if (PyObject_TypeCheck(clock, state->clock_type))
		return ((Clock *)clock)->handle;
	PyErr_Format(PyExc_TypeError, "clock must be a VirtualClock or None, not %.100s",
		     Py_TYPE(clock)->tp_name);
	return NULL;
}

static PyObject *clock_advance(PyObject *self, PyObject *argument)
{
	Clock *clock = (Clock *)self;
	unsigned long long until = PyLong_AsUnsignedLongLong(argument);
	int status;

	if (until == (unsigned long long)-1 && PyErr_Occurred())
		return NULL;
	do {
		Py_BEGIN_ALLOW_THREADS
		status = rumpel_clock_advance(clock->handle, until);
		Py_END_ALLOW_THREADS
		if (PyErr_CheckSignals() < 0)
			return NULL;
	} while (status == -EINTR);
	if (status == -EINVAL) {
		PyErr_SetString(PyExc_ValueError, "a clock does not go backwards");
		return NULL;
	}
	if (status < 0) {
		error_of_device(status, "advance", NULL);
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *clock_now(PyObject *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(rumpel_clock_now(((Clock *)self)->handle));
}

static PyMethodDef clock_methods[] = {
	{ "advance_to_ns", clock_advance, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef clock_getset[] = {
	{ "now_ns", clock_now, NULL, NULL, NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot clock_slots[] = {
	{ Py_tp_new, clock_new },
	{ Py_tp_dealloc, clock_dealloc },
	{ Py_tp_methods, clock_methods },
	{ Py_tp_getset, clock_getset },
	{ 0, NULL },
};

PyType_Spec clock_spec = {
	.name = "rumpel._native.Clock",
	.basicsize = sizeof(Clock),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = clock_slots,
};
