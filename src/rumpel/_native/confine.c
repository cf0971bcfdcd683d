// SPDX-License-Identifier: GPL-2.0-only
/* What a process does to itself before it lets in what it does not trust. */
#define _GNU_SOURCE
#include "native.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static PyObject *result(long value)
{
	if (value)
		return PyErr_SetFromErrno(PyExc_OSError);
	Py_RETURN_NONE;
}

/* unshare(flags) */
static PyObject *confine_unshare(PyObject *module, PyObject *arg)
{
	unsigned long flags = PyLong_AsUnsignedLong(arg);

	(void)module;
	if (PyErr_Occurred())
		return NULL;
	return result(unshare(flags));
}

/* drop_capabilities(): of this thread; those it makes inherit none. */
static PyObject *drop_capabilities(PyObject *module, PyObject *none)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	(void)module, (void)none;
	return result(syscall(SYS_capset, &header, data));
}

/* seccomp(program): for all threads of the process, for good. */
static PyObject *confine_seccomp(PyObject *module, PyObject *arg)
{
	struct sock_fprog filter;
	Py_buffer program;
	long error;

	(void)module;
	if (PyObject_GetBuffer(arg, &program, PyBUF_SIMPLE))
		return NULL;
	filter.len = program.len / sizeof(struct sock_filter);
	filter.filter = program.buf;
	error = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!error)
		error = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
				&filter);
	PyBuffer_Release(&program);
	/* A thread that could not be brought along is reported by its number. */
	if (error > 0)
		errno = EBUSY;
	return result(error);
}

PyMethodDef confine_functions[] = {
	{ "unshare", confine_unshare, METH_O, NULL },
	{ "drop_capabilities", drop_capabilities, METH_NOARGS, NULL },
	{ "seccomp", confine_seccomp, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};
