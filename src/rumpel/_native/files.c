// SPDX-License-Identifier: GPL-2.0-only
/* Files of the host, made many at a time without the interpreter's lock. */
#define _GNU_SOURCE
#include "native.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct new_file {
	int directory;
	const char *name;
	unsigned int mode;
	Py_buffer data;
	struct timespec times[2];
	PyObject *encoded;
	bool failed;
};

static bool fill(int fd, const struct new_file *file)
{
	const char *data = file->data.buf;
	size_t left = (size_t)file->data.len;
	ssize_t done;

	while (left) {
		done = write(fd, data, left);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		data += done;
		left -= (size_t)done;
	}
	return futimens(fd, file->times) == 0;
}

/* All of it, or nothing is there. */
static bool make(const struct new_file *file)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(file->directory, file->name, flags, file->mode);
	bool made;

	if (fd < 0)
		return false;
	made = fill(fd, file);
	if (!made)
		unlinkat(file->directory, file->name, 0);
	close(fd);
	return made;
}

/* (directory, name, mode, data, seconds and ns of two times) */
static int parse(PyObject *item, struct new_file *file)
{
	long long seconds[2];
	long ns[2];

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "a file is a tuple");
		return -1;
	}
	if (!PyArg_ParseTuple(item, "iO&Iy*LlLl", &file->directory, PyUnicode_FSConverter,
			      &file->encoded, &file->mode, &file->data, &seconds[0], &ns[0],
			      &seconds[1], &ns[1]))
		return -1;
	file->name = PyBytes_AS_STRING(file->encoded);
	for (int i = 0; i < 2; i++) {
		file->times[i].tv_sec = seconds[i];
		file->times[i].tv_nsec = ns[i];
	}
	return 0;
}

static void release(struct new_file *files, Py_ssize_t count)
{
	for (Py_ssize_t i = 0; i < count; i++) {
		PyBuffer_Release(&files[i].data);
		Py_DECREF(files[i].encoded);
	}
	PyMem_Free(files);
}

/* make_files(files): the indexes of those that could not be made, of which nothing is left. */
static PyObject *make_files(PyObject *module, PyObject *arg)
{
	PyObject *items = PySequence_Fast(arg, "files are a sequence"), *failed = NULL, *index;
	struct new_file *files = NULL;
	Py_ssize_t count, parsed = 0;

	(void)module;
	if (!items)
		return NULL;
	count = PySequence_Fast_GET_SIZE(items);
	files = PyMem_Calloc(count ? (size_t)count : 1, sizeof(*files));
	if (!files) {
		PyErr_NoMemory();
		goto out;
	}
	for (; parsed < count; parsed++) {
		if (parse(PySequence_Fast_GET_ITEM(items, parsed), &files[parsed]) < 0)
			goto out;
	}
	Py_BEGIN_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < count; i++)
		files[i].failed = !make(&files[i]);
	Py_END_ALLOW_THREADS
	failed = PyList_New(0);
	for (Py_ssize_t i = 0; failed && i < count; i++) {
		if (!files[i].failed)
			continue;
		index = PyLong_FromSsize_t(i);
		if (!index || PyList_Append(failed, index) < 0)
			Py_CLEAR(failed);
		Py_XDECREF(index);
	}
out:
	if (files)
		release(files, parsed);
	Py_DECREF(items);
	return failed;
}

PyMethodDef files_functions[] = {
	{ "make_files", make_files, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};
