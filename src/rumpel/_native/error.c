// SPDX-License-Identifier: GPL-2.0-only
/* Errors of the runtime become exceptions here and nowhere else. */
#include "native.h"

#include <string.h>

static void raise_named(struct native_state *state, const char *name, const char *text)
{
	PyObject *type = PyObject_GetAttrString(state->errors, name);

	if (!type)
		return;
	PyErr_SetString(type, text);
	Py_DECREF(type);
}

/* rumpel.log makes the exception of what the kernel said last. */
static void raise_panic(Kernel *kernel, const char *maker)
{
	unsigned long long position = 0;
	PyObject *log, *module, *error;

	log = kernel_log_all(kernel, &position);
	if (!log)
		return;
	module = PyImport_ImportModule("rumpel.log");
	error = NULL;
	if (module)
		error = PyObject_CallMethod(
			module, maker, "OOK", log, kernel->image,
			(unsigned long long)rumpel_kernel_load_address(kernel->handle));
	if (error)
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
	kernel->panic_told = true;
	Py_XDECREF(error);
	Py_XDECREF(module);
	Py_DECREF(log);
}

/* A buffer of Python's is never a bad address, but has no pages of the kernel. */
static void note_pages(void)
{
	PyObject *type, *error, *trace, *done;

	PyErr_Fetch(&type, &error, &trace);
	PyErr_NormalizeException(&type, &error, &trace);
	done = PyObject_CallMethod(
		error, "add_note", "s",
		"of a buffer this means that the call wants pages of the kernel's own memory, as "
		"O_DIRECT, vmsplice, MSG_ZEROCOPY, AF_ALG and registered buffers of io_uring do: "
		"give it one of k.mmap.mmap(-1, size)");
	PyErr_Restore(type, error, trace);
	if (!done)
		return;
	Py_DECREF(done);
}

/* A system call returned `result`, a negative errno. */
int error_of_call(const struct call_args *args, long result)
{
	errno = (int)-result;
	if (args && args->filename2)
		PyErr_SetFromErrnoWithFilenameObjects(PyExc_OSError, args->filename,
						      args->filename2);
	else if (args && args->filename)
		PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, args->filename);
	else
		PyErr_SetFromErrno(PyExc_OSError);
	if (result == -EFAULT)
		note_pages();
	return -1;
}

int error_closed(Kernel *kernel)
{
	raise_named(kernel->state, "KernelClosed", "the kernel was halted or closed");
	return -1;
}

/* A function of the runtime failed: the call, if any, was not made. */
int error_of_kernel(Kernel *kernel, int error)
{
	if (PyErr_Occurred())
		return -1;
	switch (error) {
	case -ESHUTDOWN:
		return error_closed(kernel);
	case -EOWNERDEAD:
		raise_named(kernel->state, "KernelClosed",
			    "the fork that made this process could not copy the kernel");
		return -1;
	case -ENOTRECOVERABLE:
		raise_panic(kernel, "panic");
		return -1;
	case -EDEADLK:
		raise_named(kernel->state, "Deadlock",
			    "on the virtual clock nothing can ever end this call");
		return -1;
	case -ESRCH:
		if (rumpel_kernel_state(kernel->handle) == RUMPEL_PANICKED)
			raise_panic(kernel, "panic");
		else
			raise_named(kernel->state, "TaskExited",
				    "the kernel task has exited and can make no more calls; other "
				    "threads and processes can, and the kernel can be halted");
		return -1;
	case -EBUSY:
		PyErr_SetString(PyExc_RuntimeError, "the task has another call in progress");
		return -1;
	case -ENOMEM:
		PyErr_NoMemory();
		return -1;
	default:
		return error_of_call(NULL, error);
	}
}

/* No task was made. EAGAIN is what a call says that would wait, and that is tried again. */
int error_of_task(Kernel *kernel, int error)
{
	if (error != -EAGAIN)
		return error_of_kernel(kernel, error);
	PyErr_SetString(
		PyExc_MemoryError,
		"the kernel has as many tasks as it may have (kernel.threads-max): each thread "
		"and each asynchronous call that waits has one; give it more memory");
	return -1;
}

int error_of_boot(Kernel *kernel, int error, const char *image, const char *explanation)
{
	PyObject *text;

	switch (error) {
	case -ENOTRECOVERABLE:
		raise_panic(kernel, "boot_panic");
		return -1;
	case -ENOEXEC:
		text = PyUnicode_FromFormat(
			"%s is not a kernel image that this rumpel can boot: %s", image,
			explanation ? explanation : "damaged or of another ABI");
		break;
	case -EINVAL:
		text = PyUnicode_FromFormat("cannot boot: %s",
					    explanation ? explanation : "bad configuration");
		break;
	case -ENOENT:
	case -EACCES:
	case -EISDIR:
		text = PyUnicode_FromFormat("cannot open the kernel image %s: %s", image,
					    strerror(-error));
		break;
	default:
		text = PyUnicode_FromFormat("cannot boot %s: %s", image,
					    explanation ? explanation : strerror(-error));
	}
	if (text)
		raise_named(kernel->state, "BootError", PyUnicode_AsUTF8(text));
	Py_XDECREF(text);
	return -1;
}

int error_of_device(int error, const char *what, PyObject *filename)
{
	if (error == -ENOMEM) {
		PyErr_NoMemory();
	} else if (error == -EINVAL) {
		PyErr_Format(PyExc_ValueError, "bad arguments of %s", what);
	} else {
		errno = -error;
		PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, filename);
	}
	return -1;
}
