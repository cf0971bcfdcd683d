// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files and directories of the kernel that are open. The host opens none: it says what it reads,
 * so those that were used last are kept.
 */
#define _GNU_SOURCE
#include "fuse.h"

#include <fcntl.h>
#include <sys/syscall.h>

void fuse_close(FuseServer *server, struct opened *opened)
{
	struct fuse_early *early;

	side_undo(&server->side, SYS_close, opened->fd, 0, 0);
	if (opened->node->file == opened) {
		opened->node->file = NULL;
	} else {
		/* What was seen of its entries is of this listing. */
		early = fuse_early(server, opened->node);
		if (early)
			early->id = 0;
		opened->node->directory = NULL;
	}
	opened->node = NULL;
}

void fuse_release(FuseServer *server, FuseNode *node)
{
	int fd = node->fd;

	if (node->file)
		fuse_close(server, node->file);
	if (node->directory)
		fuse_close(server, node->directory);
	if (fd >= 0) {
		node->fd = -1;
		server->nameless--;
		side_undo(&server->side, SYS_close, fd, 0, 0);
	}
}

/* A place for one more, instead of the one that was used least recently. */
static struct opened *place(FuseServer *server, struct opened *list, int count)
{
	struct opened *least = list;

	for (int i = 0; i < count; i++) {
		if (!list[i].node)
			return &list[i];
		if (list[i].used < least->used)
			least = &list[i];
	}
	fuse_close(server, least);
	return least;
}

static struct opened *keep(FuseServer *server, FuseNode *node, struct opened *list, int count,
			   long fd)
{
	struct opened *opened = place(server, list, count);

	opened->node = node;
	opened->fd = (int)fd;
	opened->used = ++server->clock;
	return opened;
}

bool fuse_file(FuseServer *server, FuseNode *node, bool writable, long *fd)
{
	long flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
	const char *path;

	*fd = node->fd;
	if (*fd >= 0)
		return true;
	writable = writable && !server->read_only;
	if (node->file && writable && !node->file->writable)
		fuse_close(server, node->file);
	if (node->file) {
		node->file->used = ++server->clock;
		*fd = node->file->fd;
		return true;
	}
	path = fuse_path(server, node, NULL, 0, fd);
	if (!path)
		return true;
	if (!side_call(&server->side, fd, SYS_openat, AT_FDCWD, (long)path,
		       flags | (writable ? O_RDWR : O_RDONLY), 0, 0))
		return false;
	/* It is immutable, or a directory. */
	if (writable && (*fd == -EROFS || *fd == -EPERM || *fd == -EISDIR) &&
	    !side_call(&server->side, fd, SYS_openat, AT_FDCWD, (long)path, flags | O_RDONLY, 0, 0))
		return false;
	if (*fd >= 0) {
		node->file = keep(server, node, server->files, FUSE_FILES, *fd);
		node->file->writable = writable;
	}
	return true;
}

bool fuse_directory(FuseServer *server, FuseNode *node, long *fd)
{
	long flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, at = AT_FDCWD;
	const char *path = ".";
	struct listing *listing;

	if (node->directory) {
		node->directory->used = ++server->clock;
		*fd = node->directory->fd;
		return true;
	}
	if (node->fd >= 0)
		at = node->fd;
	else
		path = fuse_path(server, node, NULL, 0, fd);
	if (!path)
		return true;
	if (!side_call(&server->side, fd, SYS_openat, at, (long)path, flags, 0, 0))
		return false;
	if (*fd >= 0) {
		node->directory = keep(server, node, server->directories, FUSE_DIRECTORIES, *fd);
		listing = &node->directory->listing;
		listing->at = 0;
		listing->start = listing->size = 0;
		listing->ended = false;
		listing->last = 0;
	}
	return true;
}
