// SPDX-License-Identifier: GPL-2.0-only
/*
 * The child of a fork. The runtime has copied the kernels before Python knows
 * of it; Python has then ended the states of the other threads, and with them
 * their tasks. What is left are those that were inside a call.
 */
#include <sys/prctl.h>

#include "native.h"

static PyObject *after_in_child(PyObject *module, PyObject *unused)
{
	struct native_state *state = PyModule_GetState(module);
	Kernel *kernel, *next;

	(void)unused;
	for (kernel = state->kernels; kernel; kernel = next) {
		Py_INCREF(kernel);
		kernel_forked(kernel);
		next = kernel->next;
		Py_DECREF(kernel);
	}
	Py_RETURN_NONE;
}

/* end_with_parent(signal) */
static PyObject *end_with_parent(PyObject *module, PyObject *signal)
{
	long number = PyLong_AsLong(signal);

	(void)module;
	if (number == -1 && PyErr_Occurred())
		return NULL;
	if (prctl(PR_SET_PDEATHSIG, number))
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

PyMethodDef fork_functions[] = {
	{ "end_with_parent", end_with_parent, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMethodDef after = { "after_in_child", after_in_child, METH_NOARGS, NULL };

/* For as long as the interpreter lives, as all that os.register_at_fork is told. */
int fork_watch(PyObject *module)
{
	PyObject *os = PyImport_ImportModule("os"), *function, *keywords, *none = NULL, *args;
	PyObject *call;

	function = PyCFunction_New(&after, module);
	keywords = function ? Py_BuildValue("{s:O}", "after_in_child", function) : NULL;
	args = PyTuple_New(0);
	call = os ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
	if (call && keywords && args)
		none = PyObject_Call(call, args, keywords);
	Py_XDECREF(call);
	Py_XDECREF(args);
	Py_XDECREF(keywords);
	Py_XDECREF(function);
	Py_XDECREF(os);
	Py_XDECREF(none);
	return none ? 0 : -1;
}
