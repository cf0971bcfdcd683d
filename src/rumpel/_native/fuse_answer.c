// SPDX-License-Identifier: GPL-2.0-only
/* Answers about names, attributes and contents. */
#define _GNU_SOURCE
#include "fuse.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

static bool look(FuseServer *server, long at, const char *path, long flags, struct statx *found,
		 long *result)
{
	return side_call(&server->side, result, SYS_statx, at, (long)path, flags, STATX_BASIC_STATS,
			 (long)found);
}

bool fuse_look(FuseServer *server, FuseNode *node, struct statx *found, long *result)
{
	const char *path;

	if (node->fd >= 0)
		return look(server, node->fd, "", AT_EMPTY_PATH, found, result);
	path = fuse_path(server, node, NULL, 0, result);
	return !path || look(server, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, found, result);
}

bool fuse_look_at(FuseServer *server, FuseNode *parent, const char *name, size_t length,
		  struct statx *found, long *result)
{
	const char *path = fuse_path(server, parent, name, length, result);

	return !path || look(server, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, found, result);
}

/*
 * An inode's number for the host, to which all is one device. In a file system of many devices,
 * as the subvolumes of btrfs are, each has its numbers.
 */
int fuse_number(FuseServer *server, uint64_t inode, uint64_t device, uint64_t *number)
{
	uint64_t *more;
	size_t at = 0;

	while (at < server->device_count && server->devices[at] != device)
		at++;
	if (at == server->device_count) {
		more = PyMem_Realloc(server->devices, (at + 1) * sizeof(*more));
		if (!more) {
			PyErr_NoMemory();
			return -1;
		}
		more[at] = device;
		server->devices = more;
		server->device_count++;
	}
	*number = inode ^ (uint64_t)at << 48;
	return 0;
}

int fuse_attributes(FuseServer *server, const struct statx *found, struct fuse_attr *to)
{
	uint32_t major = found->stx_rdev_major, minor = found->stx_rdev_minor;

	*to = (struct fuse_attr){
		.size = found->stx_size,
		.blocks = found->stx_blocks,
		.atime = (uint64_t)found->stx_atime.tv_sec,
		.mtime = (uint64_t)found->stx_mtime.tv_sec,
		.ctime = (uint64_t)found->stx_ctime.tv_sec,
		.atimensec = found->stx_atime.tv_nsec,
		.mtimensec = found->stx_mtime.tv_nsec,
		.ctimensec = found->stx_ctime.tv_nsec,
		.mode = found->stx_mode,
		.nlink = found->stx_nlink,
		.uid = found->stx_uid,
		.gid = found->stx_gid,
		.rdev = (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12,
		.blksize = found->stx_blksize,
	};
	return fuse_number(server, found->stx_ino, fuse_device(found), &to->ino);
}

FuseNode *fuse_entry(FuseServer *server, const struct statx *found, FuseNode *parent,
		     const char *name, size_t length, struct fuse_entry_out *to)
{
	FuseNode *node = fuse_tell(server, found, parent, name, length);

	if (!node)
		return NULL;
	*to = (struct fuse_entry_out){
		.nodeid = node->id,
		.entry_valid = FUSE_FOREVER,
		.attr_valid = FUSE_FOREVER,
	};
	return fuse_attributes(server, found, &to->attr) < 0 ? NULL : node;
}

bool fuse_lookup(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result)
{
	struct fuse_entry_out *to = (struct fuse_entry_out *)server->data;
	size_t length = strnlen(body, size);
	struct statx found;

	if (!fuse_look_at(server, node, body, length, &found, result))
		return false;
	if (*result < 0)
		return true;
	*result = sizeof(*to);
	return fuse_entry(server, &found, node, body, length, to);
}

bool fuse_getattr(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result)
{
	struct fuse_attr_out *to = (struct fuse_attr_out *)server->data;
	struct statx found;

	(void)body;
	(void)size;
	if (!fuse_look(server, node, &found, result))
		return false;
	if (*result < 0)
		return true;
	*to = (struct fuse_attr_out){ .attr_valid = FUSE_FOREVER };
	*result = sizeof(*to);
	return fuse_attributes(server, &found, &to->attr) == 0;
}

/* Reads a part of a file; *result: how much. */
static bool read_part(FuseServer *server, FuseNode *node, long wanted, long offset, long *result)
{
	long fd, done = 0;

	if (!fuse_file(server, node, false, &fd))
		return false;
	*result = fd;
	while (*result >= 0 && done < wanted) {
		if (!side_call(&server->side, result, SYS_pread64, fd, (long)(server->data + done),
			       wanted - done, offset + done, 0))
			return false;
		if (!*result)
			break;
		done += *result;
	}
	if (*result >= 0)
		*result = done;
	return true;
}

bool fuse_read(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result)
{
	struct fuse_read_in in;
	struct fuse_early *early;
	long wanted;

	if (size < sizeof(in)) {
		*result = -EINVAL;
		return true;
	}
	memcpy(&in, body, sizeof(in));
	wanted = in.size < FUSE_ROOM ? in.size : FUSE_ROOM;
	if (in.offset)
		return read_part(server, node, wanted, (long)in.offset, result);
	fuse_ahead_begins(server, node);
	early = fuse_early(server, node);
	if (early) {
		*result = wanted < early->size ? wanted : early->size;
		memcpy(server->data, early->data, (size_t)*result);
		early->id = 0;
	} else if (!read_part(server, node, wanted, 0, result)) {
		return false;
	}
	/* Most files are read once, from the beginning to the end. */
	if (*result < wanted && node->file && !node->file->writable)
		fuse_close(server, node->file);
	fuse_ahead_read(server, node);
	return true;
}
