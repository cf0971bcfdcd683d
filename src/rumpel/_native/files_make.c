// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making small files. Names, records and contents may come from where nobody is to be trusted:
 * names are checked to be names of this directory, and lengths to be within what there is.
 */
#define _GNU_SOURCE
#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SPECIAL (S_ISUID | S_ISGID | S_ISVTX)

/* Who makes them, and how the directory treats what is made in it. */
struct maker {
	uint32_t uid, gid;
	uint32_t umask;
	bool is_plain; /* owners and modes are as they are asked for */
	bool has_owner; /* for all of them: */
	uint32_t owner[2];
};

/* What became of one; what was lost is not so bad that there is no file. */
struct made {
	int failed, owner, mode; /* errno */
};

static bool is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static bool is_refused(long result)
{
	return result == -EPERM || result == -EINVAL || result == -EOPNOTSUPP;
}

static bool keep(const struct side *side, int fd, const struct file_record *file, struct made *made)
{
	uint32_t mode = file->mode & 07777;
	long result;

	if (!side_call(side, &result, SYS_fchown, fd, file->uid, file->gid, 0, 0))
		return false;
	if (is_refused(result)) {
		made->owner = (int)-result;
		/* Nobody becomes the user of a program that was somebody else's. */
		mode &= ~(uint32_t)(S_ISUID | S_ISGID);
	} else if (result) {
		made->failed = (int)-result;
		return true;
	}
	if (!side_call(side, &result, SYS_fchmod, fd, mode, 0, 0, 0))
		return false;
	if (is_refused(result))
		made->mode = (int)-result;
	else if (result)
		made->failed = (int)-result;
	return true;
}

static bool fill(const struct side *side, int fd, const struct file_record *file, const char *data,
		 bool is_done, struct made *made)
{
	struct timespec times[2];
	size_t done = 0;
	long result;

	while (done < file->size) {
		if (!side_call(side, &result, SYS_write, fd, (long)(data + done),
			       (long)(file->size - done), 0, 0))
			return false;
		if (result <= 0) {
			made->failed = result ? (int)-result : EIO;
			return true;
		}
		done += (size_t)result;
	}
	if (!is_done && !keep(side, fd, file, made))
		return false;
	for (int i = 0; i < 2; i++)
		times[i] = (struct timespec){ file->seconds[i], file->ns[i] };
	if (!made->failed && !side_call(side, &result, SYS_utimensat, fd, 0, (long)times, 0, 0))
		return false;
	if (!made->failed && result < 0)
		made->failed = (int)-result;
	return true;
}

/* All of it, or nothing is there. */
static bool make_file(const struct side *side, int directory, const char *name,
		      struct file_record file, const char *data, const struct maker *maker,
		      struct made *made)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, fd;
	uint32_t mode = file.mode & 07777;
	bool is_done, alive;
	long result;

	if (maker->has_owner) {
		file.uid = maker->owner[0];
		file.gid = maker->owner[1];
	}
	if (!is_name(name) || file.uid == UINT32_MAX || file.gid == UINT32_MAX ||
	    file.ns[0] >= 1000000000 || file.ns[1] >= 1000000000) {
		made->failed = EINVAL;
		return true;
	}
	/* Nobody else may read what is not yet all there, and not yet his. */
	is_done = maker->is_plain && file.uid == maker->uid && file.gid == maker->gid &&
		  !(mode & (maker->umask | SPECIAL));
	if (!side_call(side, &result, SYS_openat, directory, (long)name, flags,
		       is_done ? mode : 0600, 0))
		return false;
	if (result < 0) {
		made->failed = (int)-result;
		return true;
	}
	fd = (int)result;
	alive = fill(side, fd, &file, data, is_done, made);
	result = side_undo(side, SYS_close, fd, 0, 0);
	if (!made->failed && result < 0)
		made->failed = (int)-result;
	if (!alive || made->failed)
		side_undo(side, SYS_unlinkat, directory, (long)name, 0);
	return alive;
}

/* Makes all that the buffer has; 0, 1 if that is not so many, -1 and an exception. */
static int make_all(const struct side *side, int directory, const struct names *names,
		    const Py_buffer *data, const struct maker *maker, struct made *made)
{
	size_t at = 0, room = (size_t)data->len;
	struct file_record file;

	for (Py_ssize_t i = 0; i < names->count; i++) {
		if (room - at < sizeof(file))
			return 1;
		memcpy(&file, (const char *)data->buf + at, sizeof(file));
		at += sizeof(file);
		if (room - at < file.size)
			return 1;
		if (!make_file(side, directory, names_at(names, i), file,
			       (const char *)data->buf + at, maker, &made[i]))
			return -1;
		at += file.size;
	}
	return at == room ? 0 : 1;
}

static int tell(PyObject *list, Py_ssize_t index, const char *what, int error)
{
	PyObject *item = error ? Py_BuildValue("nsi", index, what, error) : NULL;
	int status;

	if (!item)
		return error ? -1 : 0;
	status = PyList_Append(list, item);
	Py_DECREF(item);
	return status;
}

static PyObject *told(const struct made *made, Py_ssize_t count)
{
	PyObject *list = PyList_New(0);

	for (Py_ssize_t i = 0; list && i < count; i++) {
		if (made[i].failed ? tell(list, i, "file", made[i].failed)
				   : tell(list, i, "owner", made[i].owner) ||
					     tell(list, i, "mode", made[i].mode))
			Py_CLEAR(list);
	}
	return list;
}

/* make_files(where, directory, names, data, (uid, gid), umask, is_plain, owner) */
PyObject *files_make(PyObject *module, PyObject *args)
{
	PyObject *where, *given, *owner, *list = NULL;
	struct names names = { NULL, 0 };
	struct made *made = NULL;
	struct maker maker;
	int directory, plain, status;
	struct side side;
	Py_buffer data;

	if (!PyArg_ParseTuple(args, "OiOy*(II)IpO:make_files", &where, &directory, &given, &data,
			      &maker.uid, &maker.gid, &maker.umask, &plain, &owner))
		return NULL;
	maker.is_plain = plain;
	maker.has_owner = owner != Py_None;
	if (maker.has_owner && !PyArg_ParseTuple(owner, "II", &maker.owner[0], &maker.owner[1]))
		goto out;
	if (names_begin(&names, given) < 0)
		goto out;
	made = PyMem_Calloc(names.count ? (size_t)names.count : 1, sizeof(*made));
	if (!made) {
		PyErr_NoMemory();
		goto out;
	}
	if (side_begin(&side, module, where) < 0)
		goto out;
	status = make_all(&side, directory, &names, &data, &maker, made);
	side_end(&side);
	if (status > 0)
		PyErr_SetString(PyExc_ValueError, "not as many files as names");
	else if (!status)
		list = told(made, names.count);
out:
	PyMem_Free(made);
	names_end(&names);
	PyBuffer_Release(&data);
	return list;
}
