// SPDX-License-Identifier: GPL-2.0-only
/* Reading small files, until there comes one that is no such, or has more than content. */
#define _GNU_SOURCE
#include "files.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum outcome { BROKEN = -1, OTHER, TAKEN };

/* Is it a regular file with one name, of which all is content and there is room for it? */
static bool is_small(const struct statx *found, size_t room)
{
	return S_ISREG(found->stx_mode) && found->stx_nlink == 1 && found->stx_size <= room &&
	       found->stx_blocks * 512 >= found->stx_size;
}

static enum outcome read_content(const struct side *side, int fd, const struct statx *found,
				 char *to)
{
	long size = (long)found->stx_size, done = 0, result;
	char none[1];

	if (!side_call(side, &result, SYS_flistxattr, fd, 0, 0, 0, 0))
		return BROKEN;
	if (result && result != -EOPNOTSUPP)
		return OTHER;
	while (done < size) {
		if (!side_call(side, &result, SYS_read, fd, (long)(to + done), size - done, 0, 0))
			return BROKEN;
		if (result <= 0)
			return OTHER;
		done += result;
	}
	/* Files of /proc have no size, but content. */
	if (!size && !side_call(side, &result, SYS_read, fd, (long)none, 1, 0, 0))
		return BROKEN;
	return size || !result ? TAKEN : OTHER;
}

/* One file, if it is such as this is for. */
static enum outcome read_file(const struct side *side, int directory, const char *name, char *to,
			      size_t room, size_t limit, size_t *used)
{
	int how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	struct file_record record;
	struct statx found;
	enum outcome got;
	long result;

	if (room < sizeof(record))
		return OTHER;
	room -= sizeof(record);
	if (!side_call(side, &result, SYS_statx, directory, (long)name, AT_SYMLINK_NOFOLLOW,
		       STATX_BASIC_STATS, (long)&found))
		return BROKEN;
	if (result || !is_small(&found, room < limit ? room : limit))
		return OTHER;
	if (!side_call(side, &result, SYS_openat, directory, (long)name, how, 0, 0))
		return BROKEN;
	if (result < 0)
		return OTHER;
	got = read_content(side, (int)result, &found, to + sizeof(record));
	side_undo(side, SYS_close, result, 0, 0);
	if (got != TAKEN)
		return got;
	record = (struct file_record){
		.mode = found.stx_mode,
		.uid = found.stx_uid,
		.gid = found.stx_gid,
		.size = (uint32_t)found.stx_size,
		.seconds = { found.stx_atime.tv_sec, found.stx_mtime.tv_sec },
		.ns = { found.stx_atime.tv_nsec, found.stx_mtime.tv_nsec },
	};
	memcpy(to, &record, sizeof(record));
	*used = sizeof(record) + found.stx_size;
	return TAKEN;
}

/* read_files(where, directory, names, buffer, limit): how many, and how much of the buffer. */
PyObject *files_read(PyObject *module, PyObject *args)
{
	struct names names = { NULL, 0 };
	PyObject *where, *given;
	enum outcome got = TAKEN;
	Py_ssize_t count = 0, limit;
	size_t at = 0, used;
	struct side side;
	Py_buffer to;
	int directory;

	if (!PyArg_ParseTuple(args, "OiOw*n:read_files", &where, &directory, &given, &to, &limit))
		return NULL;
	if (names_begin(&names, given) < 0)
		goto broken;
	if (side_begin(&side, module, where) < 0)
		goto broken;
	for (; got == TAKEN && count < names.count; count += got == TAKEN, at += used) {
		used = 0;
		got = read_file(&side, directory, names_at(&names, count), (char *)to.buf + at,
				(size_t)to.len - at, limit > 0 ? (size_t)limit : 0, &used);
		if (got != TAKEN)
			used = 0;
	}
	side_end(&side);
	names_end(&names);
	PyBuffer_Release(&to);
	return got == BROKEN ? NULL : Py_BuildValue("nn", count, (Py_ssize_t)at);
broken:
	names_end(&names);
	PyBuffer_Release(&to);
	return NULL;
}
