// SPDX-License-Identifier: GPL-2.0-only
/* Directories of the host. */
#include "native.h"

/* host_directory(path, tag, flags, valid_ns) */
PyObject *host_directory(PyObject *module, PyObject *args)
{
	struct rumpel_device *handle;
	unsigned long long valid;
	PyObject *path, *encoded;
	unsigned int flags;
	const char *tag;
	int error;

	if (!PyArg_ParseTuple(args, "OsIK:host_directory", &path, &tag, &flags, &valid) ||
	    !PyUnicode_FSConverter(path, &encoded))
		return NULL;
	error = rumpel_host_directory(PyBytes_AS_STRING(encoded), tag, flags, valid, &handle);
	Py_DECREF(encoded);
	if (error) {
		error_of_device(error, "a directory", path);
		return NULL;
	}
	return device_wrap(module, handle, NULL);
}
