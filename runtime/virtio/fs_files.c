// SPDX-License-Identifier: GPL-2.0-only
/* Requests about open files. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs_server.h"
#include "queue.h"

#define DIRENTS (32 << 10)
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_DSYNC | O_SYNC)

/* ---- handles ---- */

struct fs_file *fs_file_get(struct rumpel_fs *fs, uint64_t handle)
{
	struct fs_file *file = NULL;

	pthread_mutex_lock(&fs->lock);
	if (handle - 1 < fs->file_room && (file = fs->files[handle - 1]))
		file->refs++;
	pthread_mutex_unlock(&fs->lock);
	return file;
}

/* Locked. */
static void unref(struct fs_file *file)
{
	if (--file->refs)
		return;
	close(file->fd);
	pthread_mutex_destroy(&file->reading);
	free(file);
}

void fs_file_put(struct rumpel_fs *fs, struct fs_file *file)
{
	pthread_mutex_lock(&fs->lock);
	unref(file);
	pthread_mutex_unlock(&fs->lock);
}

/* Locked. */
static int take_handle(struct rumpel_fs *fs, struct fs_file *file, uint64_t *handle)
{
	uint64_t at = 0, room = fs->file_room ? fs->file_room * 2 : 64;
	struct fs_file **larger;

	if (fs->file_count >= fs->most_files)
		return -ENFILE;
	while (at < fs->file_room && fs->files[at])
		at++;
	if (at == fs->file_room) {
		larger = realloc(fs->files, room * sizeof(struct fs_file *));
		if (!larger)
			return -ENOMEM;
		memset(larger + fs->file_room, 0, (room - fs->file_room) * sizeof(*larger));
		fs->files = larger;
		fs->file_room = room;
	}
	fs->files[at] = file;
	fs->file_count++;
	*handle = at + 1;
	return 0;
}

/* Takes the descriptor over, also if it fails. */
static int file_new(struct rumpel_fs *fs, int fd, bool directory, uint64_t *handle)
{
	struct fs_file *file = malloc(sizeof(*file));
	int error = -ENOMEM;

	if (file) {
		*file = (struct fs_file){ .fd = fd, .refs = 1, .directory = directory };
		pthread_mutex_init(&file->reading, NULL);
		pthread_mutex_lock(&fs->lock);
		error = take_handle(fs, file, handle);
		pthread_mutex_unlock(&fs->lock);
	}
	if (error) {
		free(file);
		close(fd);
	}
	return error;
}

static void drop_handle(struct rumpel_fs *fs, uint64_t handle)
{
	pthread_mutex_lock(&fs->lock);
	if (handle - 1 < fs->file_room && fs->files[handle - 1]) {
		unref(fs->files[handle - 1]);
		fs->files[handle - 1] = NULL;
		fs->file_count--;
	}
	pthread_mutex_unlock(&fs->lock);
}

void fs_files_clear(struct rumpel_fs *fs)
{
	for (uint64_t i = 0; i < fs->file_room; i++)
		drop_handle(fs, i + 1);
}

/* ---- opening ---- */

static int put_open(struct fs_call *call, int fd, bool directory)
{
	struct fuse_open_out out = { 0 };
	int error = file_new(call->fs, fd, directory, &out.fh);

	if (error)
		return error;
	error = fs_put(call, &out, sizeof(out));
	if (error)
		drop_handle(call->fs, out.fh);
	return error;
}

static bool may_write(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

static int open_node(struct fs_call *call, uint64_t id, uint32_t flags)
{
	struct fs_hold hold;
	int fd, error;

	if (call->fs->read_only && may_write(flags))
		return -EROFS;
	error = fs_hold(call->fs, id, &hold);
	if (error)
		return error;
	/* Nothing else, for to open a device does something, and a pipe may wait. */
	if (!S_ISREG(hold.node->type) && !S_ISDIR(hold.node->type))
		fd = -ENXIO;
	else
		fd = fs_reopen(hold.fd, flags & OPEN_FLAGS);
	if (fd >= 0)
		error = put_open(call, fd, S_ISDIR(hold.node->type));
	fs_let_go(call->fs, &hold);
	return fd < 0 ? fd : error;
}

int fs_open(struct fs_call *call)
{
	struct fuse_open_in in;

	fs_take(call, &in, sizeof(in));
	return open_node(call, call->header.nodeid, in.flags);
}

int fs_opendir(struct fs_call *call)
{
	return open_node(call, call->header.nodeid, O_RDONLY | O_DIRECTORY);
}

int fs_create(struct fs_call *call)
{
	struct fs_hold parent;
	struct fuse_create_in in;
	uint64_t id = 0;
	const char *name;
	int error, fd = -1;

	fs_take(call, &in, sizeof(in));
	error = fs_take_name(call, &name);
	if (!error)
		error = fs_hold(call->fs, call->header.nodeid, &parent);
	if (error)
		return error;
	fd = openat(parent.fd, name,
		    (in.flags & OPEN_FLAGS) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    in.mode & 07777);
	if (fd >= 0)
		error = fs_finish(call, parent.fd, name, in.mode);
	else if (errno != EEXIST || in.flags & O_EXCL)
		error = -errno;
	if (!error)
		error = fs_put_entry(call, &parent, name, &id);
	/* Somebody else was faster: it is opened as any other. */
	if (!error)
		error = fd >= 0 ? put_open(call, fd, false) : open_node(call, id, in.flags);
	else if (fd >= 0)
		close(fd);
	if (error && id)
		fs_forget(call->fs, id, 1);
	fs_let_go(call->fs, &parent);
	return error;
}

int fs_release(struct fs_call *call)
{
	struct fuse_release_in in;

	fs_take(call, &in, sizeof(in));
	drop_handle(call->fs, in.fh);
	return 0;
}

/* ---- reading and writing ---- */

static struct fs_file *file_of(struct fs_call *call, uint64_t handle, bool directory)
{
	struct fs_file *file = fs_file_get(call->fs, handle);

	if (file && file->directory != directory) {
		fs_file_put(call->fs, file);
		return NULL;
	}
	return file;
}

/* As much as there is, straight into the kernel's pages. */
static ssize_t read_all(int fd, struct iovec *iov, unsigned int count, uint64_t offset)
{
	ssize_t got, done = 0;

	while (count) {
		got = preadv(fd, iov, count, offset + done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return done ? done : -errno;
		if (!got)
			break;
		done += got;
		count = rumpel_iov_skip(&iov, count, got);
	}
	return done;
}

int fs_read(struct fs_call *call)
{
	struct iovec parts[RUMPEL_QUEUE_MAX], *iov = parts;
	struct fuse_read_in in;
	struct fs_file *file;
	unsigned int count;
	ssize_t got;

	fs_take(call, &in, sizeof(in));
	file = file_of(call, in.fh, false);
	if (!file)
		return -EBADF;
	memcpy(parts, call->in, call->in_count * sizeof(*parts));
	count = rumpel_iov_skip(&iov, call->in_count, sizeof(struct fuse_out_header));
	count = rumpel_iov_trim(iov, count, in.size);
	got = in.offset > INT64_MAX ? -EINVAL : read_all(file->fd, iov, count, in.offset);
	fs_file_put(call->fs, file);
	if (got < 0)
		return (int)got;
	call->answer = got;
	return 0;
}

/* A write by others than root takes set-user-ID bits away, also where we are root. */
static void drop_set_id(int fd)
{
	struct stat stat;

	if (!fstat(fd, &stat) && stat.st_mode & (S_ISUID | S_ISGID))
		fchmod(fd, stat.st_mode & 07777 & ~(S_ISUID | S_ISGID));
}

static ssize_t write_all(int fd, struct iovec *iov, unsigned int count, uint64_t offset, int flags)
{
	ssize_t done = 0, put;

	while (count) {
		put = pwritev2(fd, iov, count, offset + done, flags);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return done ? done : -errno;
		done += put;
		count = rumpel_iov_skip(&iov, count, put);
	}
	return done;
}

int fs_write(struct fs_call *call)
{
	const size_t before = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
	struct iovec parts[RUMPEL_QUEUE_MAX], *iov = parts;
	struct fuse_write_out out = { 0 };
	struct fuse_write_in in;
	struct fs_file *file;
	unsigned int count;
	ssize_t put;
	bool append;

	fs_take(call, &in, sizeof(in));
	if (in.offset > INT64_MAX)
		return -EINVAL;
	file = file_of(call, in.fh, false);
	if (!file)
		return -EBADF;
	/* Where the end is only the host knows, who may have other writers. But pages
	 * that the kernel writes back go where they belong. */
	append = in.flags & O_APPEND && !(in.write_flags & FUSE_WRITE_CACHE);
	memcpy(parts, call->out, call->out_count * sizeof(*parts));
	count = rumpel_iov_skip(&iov, call->out_count, before);
	count = rumpel_iov_trim(iov, count, in.size);
	put = write_all(file->fd, iov, count, in.offset, append ? RWF_APPEND : 0);
	if (put > 0 && in.write_flags & FUSE_WRITE_KILL_SUIDGID)
		drop_set_id(file->fd);
	fs_file_put(call->fs, file);
	if (put < 0)
		return (int)put;
	out.size = put;
	return fs_put(call, &out, sizeof(out));
}

int fs_fsync(struct fs_call *call)
{
	struct fuse_fsync_in in;
	struct fs_file *file;
	int error;

	fs_take(call, &in, sizeof(in));
	file = fs_file_get(call->fs, in.fh);
	if (!file)
		return -EBADF;
	error = in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(file->fd) : fsync(file->fd);
	error = error ? -errno : 0;
	fs_file_put(call->fs, file);
	return error;
}

int fs_fallocate(struct fs_call *call)
{
	struct fuse_fallocate_in in;
	struct fs_file *file;
	int error;

	fs_take(call, &in, sizeof(in));
	file = file_of(call, in.fh, false);
	if (!file)
		return -EBADF;
	error = fallocate(file->fd, in.mode, in.offset, in.length) ? -errno : 0;
	fs_file_put(call->fs, file);
	return error;
}

int fs_lseek(struct fs_call *call)
{
	struct fuse_lseek_out out = { 0 };
	struct fuse_lseek_in in;
	struct fs_file *file;
	off_t found;

	fs_take(call, &in, sizeof(in));
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	file = file_of(call, in.fh, false);
	if (!file)
		return -EBADF;
	found = lseek(file->fd, in.offset, in.whence);
	out.offset = found;
	fs_file_put(call->fs, file);
	return found < 0 ? -errno : fs_put(call, &out, sizeof(out));
}

int fs_copy(struct fs_call *call)
{
	struct fuse_copy_file_range_in in;
	struct fuse_write_out out = { 0 };
	struct fs_file *from, *to;
	loff_t from_offset, to_offset;
	ssize_t done = -EBADF;

	fs_take(call, &in, sizeof(in));
	from = file_of(call, in.fh_in, false);
	to = file_of(call, in.fh_out, false);
	from_offset = in.off_in;
	to_offset = in.off_out;
	if (from && to) {
		done = copy_file_range(from->fd, &from_offset, to->fd, &to_offset,
				       in.len < 1 << 30 ? in.len : 1 << 30, 0);
		/* The kernel copies by reading and writing if we say so. */
		if (done < 0)
			done = errno == EXDEV || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	}
	if (from)
		fs_file_put(call->fs, from);
	if (to)
		fs_file_put(call->fs, to);
	out.size = done;
	return done < 0 ? (int)done : fs_put(call, &out, sizeof(out));
}

/* ---- directories ---- */

/* What getdents64(2) fills in. */
struct host_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* False: there is no room for it. */
static bool put_dirent(struct fs_call *call, const struct host_dirent *entry, size_t *left)
{
	struct fuse_dirent out = { .ino = entry->ino, .off = entry->off, .type = entry->type };
	static const char padding[8];
	size_t size;

	out.namelen = strlen(entry->name);
	size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + out.namelen);
	if (size > *left || fs_put(call, &out, FUSE_NAME_OFFSET))
		return false;
	*left -= size;
	fs_put(call, entry->name, out.namelen);
	fs_put(call, padding, size - FUSE_NAME_OFFSET - out.namelen);
	return true;
}

int fs_readdir(struct fs_call *call)
{
	char buffer[DIRENTS];
	struct fuse_read_in in;
	struct fs_file *file;
	size_t left;
	long got;

	fs_take(call, &in, sizeof(in));
	file = file_of(call, in.fh, true);
	if (!file)
		return -EBADF;
	left = call->in_len - sizeof(struct fuse_out_header);
	left = in.size < left ? in.size : left;
	pthread_mutex_lock(&file->reading);
	got = lseek(file->fd, in.offset, SEEK_SET);
	if (got >= 0)
		got = syscall(SYS_getdents64, file->fd, buffer,
			      left < sizeof(buffer) ? left : sizeof(buffer));
	got = got < 0 ? -errno : got;
	pthread_mutex_unlock(&file->reading);
	fs_file_put(call->fs, file);
	for (long at = 0; at < got;) {
		const struct host_dirent *entry = (const void *)(buffer + at);

		if (!put_dirent(call, entry, &left))
			break;
		at += entry->len;
	}
	return got < 0 ? (int)got : 0;
}
