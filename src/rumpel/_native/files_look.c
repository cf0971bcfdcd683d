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

static int add_names(PyObject *list, const char *data, long size)
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
		Py_XDECREF(name);
		if (status < 0)
			return -1;
	}
	return 0;
}

/* list_names(where, directory): from where its descriptor is on; not where it is and what it is. */
PyObject *files_names(PyObject *module, PyObject *args)
{
	PyObject *where, *list = NULL;
	struct side side;
	char *data;
	long size;
	int directory;
	bool asked;

	if (!PyArg_ParseTuple(args, "Oi:list_names", &where, &directory))
		return NULL;
	data = PyMem_Malloc(ROOM);
	if (!data)
		return PyErr_NoMemory();
	list = PyList_New(0);
	while (list) {
		size = -1;
		asked = side_begin(&side, module, where) == 0;
		if (asked) {
			asked = side_call(&side, &size, SYS_getdents64, directory, (long)data, ROOM,
					  0, 0);
			side_end(&side);
		}
		if (asked && size < 0)
			error_of_call(NULL, size);
		if (asked && !size)
			break;
		if (!asked || size < 0 || add_names(list, data, size) < 0)
			Py_CLEAR(list);
	}
	PyMem_Free(data);
	return list;
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
