// SPDX-License-Identifier: GPL-2.0-only
/* What is in a directory: names, and what statx(2) says of them. */
#define _GNU_SOURCE
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ROOM (32 << 10)

/* As getdents64(2) has it. */
struct entry {
	uint64_t inode, offset;
	uint16_t length;
	uint8_t kind;
	char name[];
};

/* directories: NULL, or the names of those, too. */
static int add_names(PyObject *list, PyObject *directories, const char *data, long size)
{
	const struct entry *entry;
	PyObject *name;
	int status;

	for (long at = 0; at < size; at += entry->length) {
		entry = (const struct entry *)(data + at);
		if (!strcmp(entry->name, ".") || !strcmp(entry->name, ".."))
			continue;
		name = PyUnicode_DecodeFSDefault(entry->name);
		status = name ? PyList_Append(list, name) : -1;
		if (!status && directories && entry->kind == DT_DIR)
			status = PyList_Append(directories, name);
		Py_XDECREF(name);
		if (status < 0)
			return -1;
	}
	return 0;
}

/* Some file systems do not say in a directory what its entries are. */
static bool ask_kinds(const struct side *side, int directory, char *data, long size)
{
	struct entry *entry;
	struct statx found;
	long result;

	for (long at = 0; at < size; at += entry->length) {
		entry = (struct entry *)(data + at);
		if (entry->kind != DT_UNKNOWN)
			continue;
		if (!side_call(side, &result, SYS_statx, directory, (long)entry->name,
			       AT_SYMLINK_NOFOLLOW, STATX_TYPE, (long)&found))
			return false;
		if (!result && S_ISDIR(found.stx_mode))
			entry->kind = DT_DIR;
	}
	return true;
}

/* Adds all names. 0, or -1 and an exception. */
static int read_names(PyObject *module, PyObject *where, int directory, PyObject *list,
		      PyObject *directories)
{
	char *data = PyMem_Malloc(ROOM);
	struct side side;
	int status = 0;
	long size = 1;
	bool asked;

	if (!data) {
		PyErr_NoMemory();
		return -1;
	}
	while (!status && size) {
		asked = side_begin(&side, module, where) == 0;
		if (asked) {
			asked = side_call(&side, &size, SYS_getdents64, directory, (long)data, ROOM,
					  0, 0);
			if (asked && directories)
				asked = ask_kinds(&side, directory, data, size);
			side_end(&side);
		}
		if (asked && size < 0)
			error_of_call(NULL, size);
		status = asked && size >= 0 ? add_names(list, directories, data, size) : -1;
	}
	PyMem_Free(data);
	return status;
}

/* list_names(where, directory): from where its descriptor is on; not where it is and what it is. */
PyObject *files_names(PyObject *module, PyObject *args)
{
	PyObject *where, *list;
	int directory;

	if (!PyArg_ParseTuple(args, "Oi:list_names", &where, &directory))
		return NULL;
	list = PyList_New(0);
	if (list && read_names(module, where, directory, list, NULL) < 0)
		Py_CLEAR(list);
	return list;
}

/* If there is an exception it stays. */
static void close_directory(PyObject *module, PyObject *where, long fd)
{
	PyObject *type, *value, *trace;
	struct side side;

	PyErr_Fetch(&type, &value, &trace);
	if (side_begin(&side, module, where) < 0) {
		PyErr_Clear();
	} else {
		side_undo(&side, SYS_close, fd, 0, 0);
		side_end(&side);
	}
	PyErr_Restore(type, value, trace);
}

/* list_kinds(where, path): the same of a path, and which of them are directories. */
PyObject *files_kinds(PyObject *module, PyObject *args)
{
	PyObject *where, *path, *list = NULL, *directories = NULL;
	struct side side;
	int status = -1;
	long fd;

	if (!PyArg_ParseTuple(args, "OO&:list_kinds", &where, PyUnicode_FSConverter, &path))
		return NULL;
	if (side_begin(&side, module, where) < 0)
		goto out;
	if (!side_call(&side, &fd, SYS_openat, AT_FDCWD, (long)PyBytes_AS_STRING(path),
		       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, 0))
		fd = -1;
	side_end(&side);
	if (fd < 0) {
		if (!PyErr_Occurred())
			error_of_call(NULL, fd);
		goto out;
	}
	list = PyList_New(0);
	directories = PyList_New(0);
	if (list && directories)
		status = read_names(module, where, (int)fd, list, directories);
	close_directory(module, where, fd);
out:
	Py_DECREF(path);
	if (!status)
		return Py_BuildValue("NN", list, directories);
	Py_XDECREF(list);
	Py_XDECREF(directories);
	return NULL;
}

static int append(PyObject *list, Py_ssize_t index)
{
	PyObject *number = PyLong_FromSsize_t(index);
	int status = number ? PyList_Append(list, number) : -1;

	Py_XDECREF(number);
	return status;
}

/* The indexes of directories and symbolic links. */
static PyObject *of_more(const struct statx *found, Py_ssize_t count)
{
	PyObject *list = PyList_New(0);

	for (Py_ssize_t i = 0; list && i < count; i++) {
		if ((S_ISDIR(found[i].stx_mode) || S_ISLNK(found[i].stx_mode)) &&
		    append(list, i) < 0)
			Py_CLEAR(list);
	}
	return list;
}

/* look(where, directory, names, buffer): how many, the errno of the next, and who leads further. */
PyObject *files_look(PyObject *module, PyObject *args)
{
	PyObject *where, *given, *more = NULL;
	struct names names = { NULL, 0 };
	Py_ssize_t count = 0, room;
	struct side side;
	bool asked = true;
	long result = 0;
	int directory;
	Py_buffer to;

	if (!PyArg_ParseTuple(args, "OiOw*:look", &where, &directory, &given, &to))
		return NULL;
	room = to.len / (Py_ssize_t)sizeof(struct statx);
	if (names_begin(&names, given) < 0 || side_begin(&side, module, where) < 0)
		goto out;
	while (asked && count < names.count && count < room) {
		asked = side_call(&side, &result, SYS_statx, directory,
				  (long)names_at(&names, count), AT_SYMLINK_NOFOLLOW,
				  STATX_BASIC_STATS, (long)((struct statx *)to.buf + count));
		if (!asked || result)
			break;
		count++;
	}
	side_end(&side);
	if (asked)
		more = of_more(to.buf, count);
out:
	names_end(&names);
	PyBuffer_Release(&to);
	return more ? Py_BuildValue("niN", count, (int)-result, more) : NULL;
}
