// SPDX-License-Identifier: GPL-2.0-only
/* Requests about attributes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/limits.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs_server.h"

static uint32_t swapped(uint32_t id, uint32_t own)
{
	if (id == own)
		return 0;
	return id ? id : own;
}

uint32_t fs_map_uid(const struct rumpel_fs *fs, uint32_t uid)
{
	return swapped(uid, fs->uid);
}

uint32_t fs_map_gid(const struct rumpel_fs *fs, uint32_t gid)
{
	return swapped(gid, fs->gid);
}

void fs_fill_attr(const struct rumpel_fs *fs, const struct stat *stat, struct fuse_attr *attr)
{
	unsigned int major = major(stat->st_rdev), minor = minor(stat->st_rdev);

	*attr = (struct fuse_attr){
		.ino = stat->st_ino,
		.size = stat->st_size,
		.blocks = stat->st_blocks,
		.atime = stat->st_atim.tv_sec,
		.mtime = stat->st_mtim.tv_sec,
		.ctime = stat->st_ctim.tv_sec,
		.atimensec = stat->st_atim.tv_nsec,
		.mtimensec = stat->st_mtim.tv_nsec,
		.ctimensec = stat->st_ctim.tv_nsec,
		.mode = stat->st_mode,
		.nlink = stat->st_nlink,
		.uid = fs_map_uid(fs, stat->st_uid),
		.gid = fs_map_gid(fs, stat->st_gid),
		.rdev = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12,
		.blksize = stat->st_blksize,
	};
}

int fs_stat(const struct fs_hold *hold, struct stat *stat)
{
	return fstatat(hold->fd, "", stat, AT_EMPTY_PATH) ? -errno : 0;
}

static int put_attr(struct fs_call *call, const struct fs_hold *hold)
{
	struct fuse_attr_out out = {
		.attr_valid = call->fs->valid_ns / 1000000000,
		.attr_valid_nsec = call->fs->valid_ns % 1000000000,
	};
	struct stat stat;
	int error = fs_stat(hold, &stat);

	if (error)
		return error;
	fs_fill_attr(call->fs, &stat, &out.attr);
	return fs_put(call, &out, sizeof(out));
}

int fs_getattr(struct fs_call *call)
{
	struct fs_hold hold;
	int error = fs_hold(call->fs, call->header.nodeid, &hold);

	if (error)
		return error;
	error = put_attr(call, &hold);
	fs_let_go(call->fs, &hold);
	return error;
}

/* By way of /proc: functions that take no O_PATH descriptor. */
static const char *path_of(int fd, char path[64])
{
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return path;
}

int fs_reopen(int fd, int flags)
{
	char path[64];
	int again;

	/* Nobody waits for the other end, should it have become a FIFO. */
	flags = (flags & ~O_NOFOLLOW) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	again = open(path_of(fd, path), flags);
	return again < 0 ? -errno : again;
}

static int set_mode(const struct fs_hold *hold, mode_t mode)
{
	char path[64];

	if (S_ISLNK(hold->node->type))
		return -EOPNOTSUPP;
	return chmod(path_of(hold->fd, path), mode & 07777) ? -errno : 0;
}

static int set_owner(const struct rumpel_fs *fs, int fd, const struct fuse_setattr_in *in)
{
	uid_t uid = in->valid & FATTR_UID ? fs_map_uid(fs, in->uid) : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? fs_map_gid(fs, in->gid) : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int set_size(struct fs_call *call, const struct fs_hold *hold,
		    const struct fuse_setattr_in *in)
{
	struct fs_file *file = NULL;
	int fd, error;

	if (!S_ISREG(hold->node->type))
		return -EINVAL;
	if (in->valid & FATTR_FH)
		file = fs_file_get(call->fs, in->fh);
	fd = file && !file->directory ? file->fd : fs_reopen(hold->fd, O_WRONLY);
	if (fd < 0)
		return fd;
	error = ftruncate(fd, in->size) ? -errno : 0;
	if (!file || fd != file->fd)
		close(fd);
	if (file)
		fs_file_put(call->fs, file);
	return error;
}

static struct timespec time_of(const struct fuse_setattr_in *in, uint32_t set, uint32_t now,
			       uint64_t seconds, uint32_t ns)
{
	if (in->valid & now)
		return (struct timespec){ 0, UTIME_NOW };
	if (in->valid & set)
		return (struct timespec){ (time_t)seconds, ns < 1000000000 ? ns : 0 };
	return (struct timespec){ 0, UTIME_OMIT };
}

static int set_times(const struct fs_hold *hold, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_of(in, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(hold->fd, "", times, AT_EMPTY_PATH) ? -errno : 0;
}

int fs_setattr(struct fs_call *call)
{
	struct fuse_setattr_in in;
	struct fs_hold hold;
	int error;

	fs_take(call, &in, sizeof(in));
	error = fs_hold(call->fs, call->header.nodeid, &hold);
	if (error)
		return error;
	if (in.valid & (FATTR_UID | FATTR_GID))
		error = set_owner(call->fs, hold.fd, &in);
	/* After the owner, since a change of that takes set-user-ID bits away. */
	if (!error && in.valid & FATTR_MODE)
		error = set_mode(&hold, in.mode);
	if (!error && in.valid & FATTR_SIZE)
		error = set_size(call, &hold, &in);
	if (!error && in.valid & (FATTR_ATIME | FATTR_MTIME))
		error = set_times(&hold, &in);
	if (!error)
		error = put_attr(call, &hold);
	fs_let_go(call->fs, &hold);
	return error;
}

int fs_finish(struct fs_call *call, int parent, const char *name, mode_t mode)
{
	const struct fuse_setattr_in in = {
		.valid = FATTR_UID | FATTR_GID,
		.uid = call->header.uid,
		.gid = call->header.gid,
	};
	struct stat stat;
	char path[64];
	int fd, error = 0;

	fd = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat))
		error = -errno;
	/* A directory hands its group on. Where we are not privileged it is ours. */
	else if (in.uid || (in.gid && !(stat.st_mode & S_ISGID)))
		set_owner(call->fs, fd, &in);
	/* The kernel has applied the caller's mask; the process's must not count too. */
	if (!error && !S_ISLNK(mode) && (stat.st_mode ^ mode) & 01777 &&
	    chmod(path_of(fd, path), (mode & 07777) | (stat.st_mode & S_ISGID)))
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

int fs_statfs(struct fs_call *call)
{
	struct fuse_statfs_out out = { 0 };
	struct statvfs stat;

	if (fstatvfs(call->fs->root.fd, &stat))
		return -errno;
	out.st = (struct fuse_kstatfs){
		.blocks = stat.f_blocks,
		.bfree = stat.f_bfree,
		.bavail = stat.f_bavail,
		.files = stat.f_files,
		.ffree = stat.f_ffree,
		.bsize = stat.f_bsize,
		.namelen = stat.f_namemax,
		.frsize = stat.f_frsize,
	};
	return fs_put(call, &out, sizeof(out));
}

/* ---- extended attributes ---- */

/* There is no race-free way to those of a link, and it can hardly have any. */
static int hold_with_xattrs(struct fs_call *call, struct fs_hold *hold)
{
	int error = fs_hold(call->fs, call->header.nodeid, hold);

	if (!error && S_ISLNK(hold->node->type)) {
		fs_let_go(call->fs, hold);
		error = -EOPNOTSUPP;
	}
	return error;
}

int fs_setxattr(struct fs_call *call)
{
	struct fuse_setxattr_in in = { 0 };
	struct fs_hold hold;
	const char *name;
	char path[64];
	int error;

	fs_take(call, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
	error = fs_take_string(call, &name);
	if (!error && in.size > call->args_len)
		error = -EINVAL;
	if (!error)
		error = hold_with_xattrs(call, &hold);
	if (error)
		return error;
	if (setxattr(path_of(hold.fd, path), name, call->args, in.size, in.flags))
		error = -errno;
	fs_let_go(call->fs, &hold);
	return error;
}

int fs_removexattr(struct fs_call *call)
{
	struct fs_hold hold;
	const char *name;
	char path[64];
	int error = fs_take_string(call, &name);

	if (!error)
		error = hold_with_xattrs(call, &hold);
	if (error)
		return error;
	if (removexattr(path_of(hold.fd, path), name))
		error = -errno;
	fs_let_go(call->fs, &hold);
	return error;
}

/* name NULL: the list. A size of 0 asks how large it is. */
static int read_xattr(struct fs_call *call, const char *name, size_t size)
{
	struct fuse_getxattr_out out = { 0 };
	struct fs_hold hold;
	char path[64], *data;
	ssize_t len;
	int error;

	if (size > XATTR_SIZE_MAX)
		size = XATTR_SIZE_MAX;
	error = hold_with_xattrs(call, &hold);
	if (error)
		return error;
	data = malloc(size ? size : 1);
	path_of(hold.fd, path);
	if (!data)
		error = -ENOMEM;
	else if ((len = name ? getxattr(path, name, data, size) : listxattr(path, data, size)) < 0)
		error = -errno;
	else if (size)
		error = fs_put(call, data, len);
	else
		out.size = len;
	if (!error && !size)
		error = fs_put(call, &out, sizeof(out));
	free(data);
	fs_let_go(call->fs, &hold);
	return error;
}

int fs_getxattr(struct fs_call *call)
{
	struct fuse_getxattr_in in;
	const char *name;
	int error;

	fs_take(call, &in, sizeof(in));
	error = fs_take_string(call, &name);
	return error ? error : read_xattr(call, name, in.size);
}

int fs_listxattr(struct fs_call *call)
{
	struct fuse_getxattr_in in;

	fs_take(call, &in, sizeof(in));
	return read_xattr(call, NULL, in.size);
}
