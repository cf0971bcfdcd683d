// SPDX-License-Identifier: GPL-2.0-only
/* Copy-on-write overlays. */
#include "native.h"

#include <string.h>

typedef struct {
	PyObject_HEAD
	struct rumpel_overlay *handle;
} Overlay;

static void overlay_dealloc(PyObject *self)
{
	PyTypeObject *type = Py_TYPE(self);

	/* It waits for the host's disk. */
	Py_BEGIN_ALLOW_THREADS
	rumpel_overlay_free(((Overlay *)self)->handle);
	Py_END_ALLOW_THREADS
	type->tp_free(self);
	Py_DECREF(type);
}

static void fail(struct native_state *state, int error, const char *why, PyObject *base,
		 PyObject *file)
{
	PyObject *type;

	if (!why || !strcmp(why, "the base")) {
		error_of_device(error, "an overlay", why ? base : file);
		return;
	}
	type = PyObject_GetAttrString(state->errors, "DeviceError");
	if (!type)
		return;
	PyErr_Format(type, "%S: %s", file == Py_None ? base : file, why);
	Py_DECREF(type);
}

/* None, or a path as bytes. */
static int path_of(PyObject *value, PyObject **encoded)
{
	if (value == Py_None)
		return 0;
	return PyUnicode_FSConverter(value, encoded) ? 0 : -1;
}

static int open_it(Overlay *self, const char *base, PyObject *below,
		   const struct rumpel_overlay_nbd *nbd, const char *file, const char **why)
{
	int error;

	Py_BEGIN_ALLOW_THREADS
	if (nbd)
		error = rumpel_overlay_open_nbd(nbd, base, file, &self->handle, why);
	else
		error = rumpel_overlay_open(base,
					    below == Py_None ? NULL : ((Overlay *)below)->handle,
					    file, &self->handle, why);
	Py_END_ALLOW_THREADS
	return error;
}

/*
 * Overlay(base, below, file, nbd=None): base a path, or below another overlay; file may be
 * None. nbd: descriptor, size, flags and format of a base that is served.
 */
static PyObject *overlay_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	struct native_state *state = native_state(type);
	PyObject *base, *below, *file, *nbd = NULL, *paths[2] = { NULL, NULL };
	struct rumpel_overlay_nbd served = { 0 };
	Overlay *self = NULL;
	const char *why;
	int error;

	if (keywords && PyDict_GET_SIZE(keywords)) {
		PyErr_SetString(PyExc_TypeError, "Overlay takes no keyword arguments");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "OOO|O!:Overlay", &base, &below, &file, &PyTuple_Type, &nbd) ||
	    path_of(base, &paths[0]) < 0 || path_of(file, &paths[1]) < 0)
		goto out;
	if (below != Py_None && !PyObject_TypeCheck(below, type)) {
		PyErr_SetString(PyExc_TypeError, "an overlay lies over a file or an overlay");
		goto out;
	}
	if (nbd &&
	    !PyArg_ParseTuple(nbd, "iKIs", &served.fd, &served.size, &served.flags, &served.format))
		goto out;
	if (below == Py_None && !paths[0] && !nbd) {
		PyErr_SetString(PyExc_TypeError, "an overlay needs a base");
		goto out;
	}
	self = (Overlay *)type->tp_alloc(type, 0);
	if (!self)
		goto out;
	error = open_it(self, paths[0] ? PyBytes_AS_STRING(paths[0]) : NULL, below,
			nbd ? &served : NULL, paths[1] ? PyBytes_AS_STRING(paths[1]) : NULL, &why);
	if (error) {
		self->handle = NULL;
		fail(state, error, why, base, file);
		Py_CLEAR(self);
	}
out:
	Py_XDECREF(paths[0]);
	Py_XDECREF(paths[1]);
	return (PyObject *)self;
}

static PyObject *run(PyObject *self, int (*function)(struct rumpel_overlay *))
{
	int error;

	Py_BEGIN_ALLOW_THREADS
	error = function(((Overlay *)self)->handle);
	Py_END_ALLOW_THREADS
	if (!error)
		Py_RETURN_NONE;
	error_of_device(error, "an overlay", NULL);
	return NULL;
}

static PyObject *overlay_sync(PyObject *self, PyObject *unused)
{
	(void)unused;
	return run(self, rumpel_overlay_sync);
}

static PyObject *overlay_commit(PyObject *self, PyObject *unused)
{
	(void)unused;
	return run(self, rumpel_overlay_commit);
}

static PyObject *overlay_discard(PyObject *self, PyObject *unused)
{
	(void)unused;
	return run(self, rumpel_overlay_discard);
}

static PyObject *overlay_device(PyObject *self, PyObject *unused)
{
	PyObject *module = PyType_GetModuleByDef(Py_TYPE(self), &native_module);
	struct rumpel_device *handle;
	int error = rumpel_block_overlay(((Overlay *)self)->handle, &handle);

	(void)unused;
	if (!error)
		return device_wrap(module, handle, NULL);
	error_of_device(error, "an overlay", NULL);
	return NULL;
}

static PyMethodDef overlay_methods[] = {
	{ "sync", overlay_sync, METH_NOARGS, NULL },
	{ "commit", overlay_commit, METH_NOARGS, NULL },
	{ "discard", overlay_discard, METH_NOARGS, NULL },
	{ "device", overlay_device, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot overlay_slots[] = {
	{ Py_tp_new, overlay_new },
	{ Py_tp_dealloc, overlay_dealloc },
	{ Py_tp_methods, overlay_methods },
	{ 0, NULL },
};

PyType_Spec overlay_spec = {
	.name = "rumpel._native.Overlay",
	.basicsize = sizeof(Overlay),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = overlay_slots,
};
