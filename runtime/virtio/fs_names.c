// SPDX-License-Identifier: GPL-2.0-only
/* Requests about names. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs_server.h"

int fs_put_entry(struct fs_call *call, struct fs_hold *parent, const char *name, uint64_t *id)
{
	struct rumpel_fs *fs = call->fs;
	struct fuse_entry_out out = {
		.entry_valid = fs->valid_ns / 1000000000,
		.attr_valid = fs->valid_ns / 1000000000,
		.entry_valid_nsec = fs->valid_ns % 1000000000,
		.attr_valid_nsec = fs->valid_ns % 1000000000,
	};
	uint64_t nodeid, generation;
	struct stat stat;
	int error;

	if (fstatat(parent->fd, name, &stat, AT_SYMLINK_NOFOLLOW))
		return -errno;
	error = fs_node_found(fs, parent, name, &stat, &nodeid, &generation);
	if (error)
		return error;
	out.nodeid = nodeid;
	out.generation = generation;
	fs_fill_attr(fs, &stat, &out.attr);
	error = fs_put(call, &out, sizeof(out));
	if (error)
		fs_forget(fs, nodeid, 1);
	else if (id)
		*id = nodeid;
	return error;
}

/* A directory by the request's node, and the name that is next in it. */
static int take_place(struct fs_call *call, struct fs_hold *parent, const char **name)
{
	int error = fs_take_name(call, name);

	return error ? error : fs_hold(call->fs, call->header.nodeid, parent);
}

int fs_lookup(struct fs_call *call)
{
	struct fs_hold parent;
	const char *name;
	int error = take_place(call, &parent, &name);

	if (error)
		return error;
	error = fs_put_entry(call, &parent, name, NULL);
	fs_let_go(call->fs, &parent);
	return error;
}

/* What was made gets its owner and mode, and the kernel learns of it. */
static int made(struct fs_call *call, struct fs_hold *parent, const char *name, mode_t mode)
{
	int error = fs_finish(call, parent->fd, name, mode);

	return error ? error : fs_put_entry(call, parent, name, NULL);
}

int fs_mkdir(struct fs_call *call)
{
	struct fuse_mkdir_in in;
	struct fs_hold parent;
	const char *name;
	int error;

	fs_take(call, &in, sizeof(in));
	error = take_place(call, &parent, &name);
	if (error)
		return error;
	if (mkdirat(parent.fd, name, in.mode & 07777))
		error = -errno;
	else
		error = made(call, &parent, name, in.mode);
	fs_let_go(call->fs, &parent);
	return error;
}

/*
 * A device of the host's is nothing that a kernel in a process may make. The
 * character device 0:0 is none: it is what overlayfs marks deleted names by.
 */
static bool may_make(const struct fuse_mknod_in *in)
{
	switch (in->mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	case S_IFCHR:
		return !in->rdev;
	}
	return false;
}

int fs_mknod(struct fs_call *call)
{
	struct fuse_mknod_in in;
	struct fs_hold parent;
	const char *name;
	int error;

	fs_take(call, &in, sizeof(in));
	if (!may_make(&in))
		return -EPERM;
	error = take_place(call, &parent, &name);
	if (error)
		return error;
	if (mknodat(parent.fd, name, in.mode, 0))
		error = -errno;
	else
		error = made(call, &parent, name, in.mode);
	fs_let_go(call->fs, &parent);
	return error;
}

int fs_symlink(struct fs_call *call)
{
	const char *name, *target;
	struct fs_hold parent;
	int error = take_place(call, &parent, &name);

	if (error)
		return error;
	error = fs_take_string(call, &target);
	if (!error && symlinkat(target, parent.fd, name))
		error = -errno;
	if (!error)
		error = made(call, &parent, name, S_IFLNK);
	fs_let_go(call->fs, &parent);
	return error;
}

int fs_link(struct fs_call *call)
{
	struct fs_hold parent, old;
	struct fuse_link_in in;
	const char *name;
	char path[64];
	int error;

	fs_take(call, &in, sizeof(in));
	error = take_place(call, &parent, &name);
	if (error)
		return error;
	error = fs_hold(call->fs, in.oldnodeid, &old);
	if (!error) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", old.fd);
		if (linkat(AT_FDCWD, path, parent.fd, name, AT_SYMLINK_FOLLOW))
			error = -errno;
		else
			error = fs_put_entry(call, &parent, name, NULL);
		fs_let_go(call->fs, &old);
	}
	fs_let_go(call->fs, &parent);
	return error;
}

static int do_unlink(struct fs_call *call, int flags)
{
	struct fs_hold parent;
	const char *name;
	int error = take_place(call, &parent, &name);

	if (error)
		return error;
	error = fs_node_keep(call->fs, &parent, name);
	if (!error && unlinkat(parent.fd, name, flags))
		error = -errno;
	fs_let_go(call->fs, &parent);
	return error;
}

int fs_unlink(struct fs_call *call)
{
	return do_unlink(call, 0);
}

int fs_rmdir(struct fs_call *call)
{
	return do_unlink(call, AT_REMOVEDIR);
}

static int do_rename(struct fs_call *call, uint64_t newdir, unsigned int flags)
{
	struct rumpel_fs *fs = call->fs;
	const char *old, *new;
	struct fs_hold from, to;
	int error = fs_take_name(call, &old);

	if (!error)
		error = fs_take_name(call, &new);
	if (!error)
		error = fs_hold(fs, call->header.nodeid, &from);
	if (error)
		return error;
	error = fs_hold(fs, newdir, &to);
	if (!error) {
		error = fs_node_keep(fs, &to, new);
		if (!error && renameat2(from.fd, old, to.fd, new, flags))
			error = -errno;
		if (!error)
			fs_node_moved(fs, &to, new);
		if (!error && flags & RENAME_EXCHANGE)
			fs_node_moved(fs, &from, old);
		fs_let_go(fs, &to);
	}
	fs_let_go(fs, &from);
	return error;
}

int fs_rename(struct fs_call *call)
{
	struct fuse_rename_in in;

	fs_take(call, &in, sizeof(in));
	return do_rename(call, in.newdir, 0);
}

int fs_rename2(struct fs_call *call)
{
	struct fuse_rename2_in in;

	fs_take(call, &in, sizeof(in));
	if (in.flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	return do_rename(call, in.newdir, in.flags);
}

int fs_readlink(struct fs_call *call)
{
	char target[FS_PATH_MAX];
	struct fs_hold hold;
	ssize_t len;
	int error = fs_hold(call->fs, call->header.nodeid, &hold);

	if (error)
		return error;
	len = readlinkat(hold.fd, "", target, sizeof(target));
	error = len < 0 ? -errno : fs_put(call, target, len);
	fs_let_go(call->fs, &hold);
	return error;
}
