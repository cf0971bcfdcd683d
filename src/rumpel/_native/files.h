/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Small files of a directory, many at a time, of a kernel or of the host.
 *
 * In a buffer each is a struct file_record and its content, one behind the other.
 *
 * files.c       where they are, what they are called
 * files_look.c  what is in a directory at all
 * files_read.c  reading them
 * files_make.c  making them
 */
#ifndef RUMPEL_NATIVE_FILES_H
#define RUMPEL_NATIVE_FILES_H

#include "native.h"

struct file_record {
	uint32_t mode, uid, gid, size;
	int64_t seconds[2]; /* of access, of modification */
	uint32_t ns[2];
};

/* Where the files are. For the host the interpreter's lock is given up. */
struct side {
	Task *task; /* NULL: the host */
	PyThreadState *unlocked;
};

/* module: this one; where: a kernel, or None for the host. 0, or -1 and an exception. */
int side_begin(struct side *side, PyObject *module, PyObject *where);
void side_end(struct side *side);

/*
 * A system call, and its value or negative errno; false, with an exception, if it was not made:
 * the kernel is gone, or a signal's handler has raised something.
 */
bool side_call(const struct side *side, long *result, long nr, long a, long b, long c, long d,
	       long e);
/* Its value, for what has to be ended or undone even if there is an exception, which stays. */
long side_undo(const struct side *side, long nr, long a, long b, long c);

struct names {
	PyObject *list; /* of bytes */
	Py_ssize_t count;
};

/* given: a sequence of str or bytes. 0, or -1 and an exception. */
int names_begin(struct names *names, PyObject *given);
void names_end(struct names *names);
const char *names_at(const struct names *names, Py_ssize_t index);

PyObject *files_names(PyObject *module, PyObject *args);
PyObject *files_kinds(PyObject *module, PyObject *args);
PyObject *files_look(PyObject *module, PyObject *args);
PyObject *files_read(PyObject *module, PyObject *args);
PyObject *files_make(PyObject *module, PyObject *args);

#endif
