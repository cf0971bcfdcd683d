// SPDX-License-Identifier: GPL-2.0-only
/* Where small files are that are read or made many at a time, and what they are called. */
#define _GNU_SOURCE
#include "files.h"

#include <sys/syscall.h>
#include <unistd.h>

int side_begin(struct side *side, PyObject *module, PyObject *where)
{
	struct native_state *state = PyModule_GetState(module);

	side->task = NULL;
	side->unlocked = NULL;
	if (where == Py_None) {
		side->unlocked = PyEval_SaveThread();
		return 0;
	}
	if (!Py_IS_TYPE(where, state->kernel_type)) {
		PyErr_SetString(PyExc_TypeError, "files are a kernel's, or None's: the host's");
		return -1;
	}
	side->task = task_current((Kernel *)where);
	Py_XINCREF(side->task);
	return side->task ? 0 : -1;
}

void side_end(struct side *side)
{
	if (side->unlocked)
		PyEval_RestoreThread(side->unlocked);
	Py_XDECREF(side->task);
}

bool side_call(const struct side *side, long *result, long nr, long a, long b, long c, long d,
	       long e)
{
	const unsigned long raw[CALL_ARGS] = { a, b, c, d, e, 0 };

	if (side->task)
		return call_run(side->task, 0, nr, raw, result) == 0;
	/* close() is not to be asked again: by then the number may be another file's. */
	do {
		*result = syscall(nr, a, b, c, d, e);
	} while (*result < 0 && errno == EINTR && nr != SYS_close);
	if (*result < 0)
		*result = errno == EINTR ? 0 : -errno;
	return true;
}

long side_undo(const struct side *side, long nr, long a, long b, long c)
{
	PyObject *type = NULL, *value = NULL, *trace = NULL;
	long result = 0;

	if (side->task)
		PyErr_Fetch(&type, &value, &trace);
	if (!side_call(side, &result, nr, a, b, c, 0, 0)) {
		PyErr_Clear();
		result = -EIO;
	}
	if (side->task)
		PyErr_Restore(type, value, trace);
	return result;
}

int names_begin(struct names *names, PyObject *given)
{
	PyObject *items = PySequence_Fast(given, "names are a sequence"), *name;
	Py_ssize_t i;

	if (!items)
		return -1;
	names->count = PySequence_Fast_GET_SIZE(items);
	names->list = PyList_New(names->count);
	for (i = 0; names->list && i < names->count; i++) {
		if (PyUnicode_FSConverter(PySequence_Fast_GET_ITEM(items, i), &name))
			PyList_SET_ITEM(names->list, i, name);
		else
			Py_CLEAR(names->list);
	}
	Py_DECREF(items);
	return names->list ? 0 : -1;
}

void names_end(struct names *names)
{
	Py_CLEAR(names->list);
}

const char *names_at(const struct names *names, Py_ssize_t index)
{
	return PyBytes_AS_STRING(PyList_GET_ITEM(names->list, index));
}

PyMethodDef files_functions[] = {
	{ "list_names", files_names, METH_VARARGS, NULL },
	{ "list_kinds", files_kinds, METH_VARARGS, NULL },
	{ "look", files_look, METH_VARARGS, NULL },
	{ "read_files", files_read, METH_VARARGS, NULL },
	{ "make_files", files_make, METH_VARARGS, NULL },
	{ NULL, NULL, 0, NULL },
};
