// SPDX-License-Identifier: GPL-2.0-only
/* Requests: parsing, dispatch, answers. */
#define _GNU_SOURCE
#include "fs_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "queue.h"

/* Most that any request has, but for the data of a write: a value of an attribute. */
#define ARGS_MAX (sizeof(struct fuse_setxattr_in) + FS_NAME_MAX + 1 + 65536)
#define ARGS_STACK 1024
/* Of this version we know everything that we answer. */
#define FS_MINOR 36

struct rumpel_fs *rumpel_fs_new(const char *path, bool read_only, uint64_t valid_ns, int *error)
{
	struct rumpel_fs *fs = calloc(1, sizeof(*fs));

	*error = fs ? 0 : -ENOMEM;
	if (!fs)
		return NULL;
	pthread_mutex_init(&fs->lock, NULL);
	fs->read_only = read_only;
	fs->valid_ns = valid_ns;
	fs->uid = geteuid();
	fs->gid = getegid();
	*error = fs_nodes_init(fs, path);
	if (!*error)
		return fs;
	rumpel_fs_free(fs);
	return NULL;
}

void rumpel_fs_reset(struct rumpel_fs *fs)
{
	fs_files_clear(fs);
	pthread_mutex_lock(&fs->lock);
	fs_nodes_clear(fs);
	pthread_mutex_unlock(&fs->lock);
}

void rumpel_fs_free(struct rumpel_fs *fs)
{
	if (!fs)
		return;
	fs_files_clear(fs);
	fs_nodes_exit(fs);
	free(fs->files);
	pthread_mutex_destroy(&fs->lock);
	free(fs);
}

/* ---- arguments and answers ---- */

void fs_take(struct fs_call *call, void *to, size_t len)
{
	size_t n = len < call->args_len ? len : call->args_len;

	memset(to, 0, len);
	memcpy(to, call->args, n);
	call->args += n;
	call->args_len -= n;
}

int fs_take_string(struct fs_call *call, const char **string)
{
	const char *end = memchr(call->args, '\0', call->args_len);

	if (!end)
		return -EINVAL;
	*string = call->args;
	call->args_len -= end + 1 - call->args;
	call->args = end + 1;
	return 0;
}

int fs_take_name(struct fs_call *call, const char **name)
{
	int error = fs_take_string(call, name);

	if (error)
		return error;
	if (strlen(*name) > FS_NAME_MAX)
		return -ENAMETOOLONG;
	if (!**name || strchr(*name, '/') || !strcmp(*name, ".") || !strcmp(*name, ".."))
		return -EINVAL;
	return 0;
}

int fs_put(struct fs_call *call, const void *data, size_t len)
{
	size_t at = sizeof(struct fuse_out_header) + call->answer;

	if (len > call->in_len - at)
		return -ERANGE;
	rumpel_iov_write(call->in, call->in_count, at, data, len);
	call->answer += len;
	return 0;
}

/* ---- dispatch ---- */

static int fs_init(struct fs_call *call)
{
	const uint32_t wanted = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
				FUSE_AUTO_INVAL_DATA | FUSE_PARALLEL_DIROPS |
				FUSE_HANDLE_KILLPRIV_V2 | FUSE_MAX_PAGES;
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FS_MINOR };
	struct fuse_init_in in;

	fs_take(call, &in, sizeof(in));
	if (in.major != FUSE_KERNEL_VERSION || in.minor < 31)
		return -EPROTO;
	rumpel_fs_reset(call->fs);
	out.flags = in.flags & wanted;
	out.max_readahead = in.max_readahead;
	out.max_background = 64;
	out.congestion_threshold = 48;
	out.max_pages = FS_MAX_PAGES;
	out.max_write = FS_MAX_PAGES * 4096;
	out.time_gran = 1;
	return fs_put(call, &out, sizeof(out));
}

static int fs_destroy(struct fs_call *call)
{
	rumpel_fs_reset(call->fs);
	return 0;
}

static int do_forget(struct fs_call *call)
{
	struct fuse_forget_in in;

	fs_take(call, &in, sizeof(in));
	fs_forget(call->fs, call->header.nodeid, in.nlookup);
	return 0;
}

static int do_batch_forget(struct fs_call *call)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	fs_take(call, &in, sizeof(in));
	for (; in.count && call->args_len >= sizeof(one); in.count--) {
		fs_take(call, &one, sizeof(one));
		fs_forget(call->fs, one.nodeid, one.nlookup);
	}
	return 0;
}

enum op_flags {
	OP_CHANGES = 1 << 0, /* not on a read-only file system */
	OP_SILENT = 1 << 1, /* there is no answer */
};

static const struct {
	fs_op *run;
	unsigned int flags;
} ops[] = {
	[FUSE_LOOKUP] = { fs_lookup, 0 },
	[FUSE_FORGET] = { do_forget, OP_SILENT },
	[FUSE_BATCH_FORGET] = { do_batch_forget, OP_SILENT },
	[FUSE_GETATTR] = { fs_getattr, 0 },
	[FUSE_SETATTR] = { fs_setattr, OP_CHANGES },
	[FUSE_READLINK] = { fs_readlink, 0 },
	[FUSE_SYMLINK] = { fs_symlink, OP_CHANGES },
	[FUSE_MKNOD] = { fs_mknod, OP_CHANGES },
	[FUSE_MKDIR] = { fs_mkdir, OP_CHANGES },
	[FUSE_UNLINK] = { fs_unlink, OP_CHANGES },
	[FUSE_RMDIR] = { fs_rmdir, OP_CHANGES },
	[FUSE_RENAME] = { fs_rename, OP_CHANGES },
	[FUSE_RENAME2] = { fs_rename2, OP_CHANGES },
	[FUSE_LINK] = { fs_link, OP_CHANGES },
	[FUSE_OPEN] = { fs_open, 0 },
	[FUSE_CREATE] = { fs_create, OP_CHANGES },
	[FUSE_READ] = { fs_read, 0 },
	[FUSE_WRITE] = { fs_write, OP_CHANGES },
	[FUSE_RELEASE] = { fs_release, 0 },
	[FUSE_FSYNC] = { fs_fsync, 0 },
	[FUSE_FALLOCATE] = { fs_fallocate, OP_CHANGES },
	[FUSE_LSEEK] = { fs_lseek, 0 },
	[FUSE_COPY_FILE_RANGE] = { fs_copy, OP_CHANGES },
	[FUSE_OPENDIR] = { fs_opendir, 0 },
	[FUSE_READDIR] = { fs_readdir, 0 },
	[FUSE_RELEASEDIR] = { fs_release, 0 },
	[FUSE_FSYNCDIR] = { fs_fsync, 0 },
	[FUSE_STATFS] = { fs_statfs, 0 },
	[FUSE_SETXATTR] = { fs_setxattr, OP_CHANGES },
	[FUSE_GETXATTR] = { fs_getxattr, 0 },
	[FUSE_LISTXATTR] = { fs_listxattr, 0 },
	[FUSE_REMOVEXATTR] = { fs_removexattr, OP_CHANGES },
	[FUSE_INIT] = { fs_init, 0 },
	[FUSE_DESTROY] = { fs_destroy, 0 },
};

static int run(struct fs_call *call)
{
	uint32_t op = call->header.opcode;

	if (op >= sizeof(ops) / sizeof(ops[0]) || !ops[op].run)
		return -ENOSYS;
	if (call->fs->read_only && ops[op].flags & OP_CHANGES)
		return -EROFS;
	return ops[op].run(call);
}

static bool is_silent(uint32_t op)
{
	return op == FUSE_INTERRUPT ||
	       (op < sizeof(ops) / sizeof(ops[0]) && ops[op].flags & OP_SILENT);
}

/* Reads the arguments behind the header, all but what a write brings. */
static size_t read_args(const struct fs_call *call, size_t out_len, char *small, char **args)
{
	size_t len = out_len - sizeof(call->header);

	if (call->header.opcode == FUSE_WRITE && len > sizeof(struct fuse_write_in))
		len = sizeof(struct fuse_write_in);
	if (len > ARGS_MAX)
		len = ARGS_MAX;
	*args = len <= ARGS_STACK ? small : malloc(len);
	if (!*args)
		return 0;
	return rumpel_iov_read(call->out, call->out_count, sizeof(call->header), *args, len);
}

static size_t answer(const struct fs_call *call, int error)
{
	struct fuse_out_header header = {
		.len = sizeof(header) + (error ? 0 : call->answer),
		.error = error,
		.unique = call->header.unique,
	};

	rumpel_iov_write(call->in, call->in_count, 0, &header, sizeof(header));
	return header.len;
}

static size_t length(const struct iovec *iov, unsigned int count)
{
	size_t len = 0;

	while (count--)
		len += iov++->iov_len;
	return len;
}

size_t rumpel_fs_serve(struct rumpel_fs *fs, const struct iovec *out, unsigned int out_count,
		       const struct iovec *in, unsigned int in_count)
{
	struct fs_call call = {
		.fs = fs, .out = out, .out_count = out_count, .in = in, .in_count = in_count
	};
	size_t out_len = length(out, out_count);
	char small[ARGS_STACK], *args;
	int error;

	call.in_len = length(in, in_count);
	if (out_len < sizeof(call.header))
		return 0;
	rumpel_iov_read(out, out_count, 0, &call.header, sizeof(call.header));
	if (!is_silent(call.header.opcode) && call.in_len < sizeof(struct fuse_out_header))
		return 0;
	call.args_len = read_args(&call, out_len, small, &args);
	call.args = args;
	error = args ? run(&call) : -ENOMEM;
	if (args != small)
		free(args);
	return is_silent(call.header.opcode) ? 0 : answer(&call, error);
}
