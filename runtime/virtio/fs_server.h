/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A directory of the host behind the FUSE protocol, as virtio-fs speaks it
 * (include/uapi/linux/fuse.h). Knows nothing of virtio: a request is a list of
 * buffers, and so is the room for its answer.
 *
 * Nothing outside of the directory can be reached: names are single components,
 * symbolic links are answered and never followed, longer paths go through
 * openat2(2) with RESOLVE_BENEATH, and only regular files and directories are
 * ever opened.
 *
 *	fs_server.c  requests: parsing, dispatch, answers
 *	fs_nodes.c   what the kernel knows the files by
 *	fs_names.c   requests about names
 *	fs_attr.c    requests about attributes
 *	fs_files.c   requests about open files
 */
#ifndef RUMPEL_VIRTIO_FS_SERVER_H
#define RUMPEL_VIRTIO_FS_SERVER_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define FS_NAME_MAX 255
#define FS_PATH_MAX 4096
#define FS_MAX_PAGES 256 /* of one read or write */

struct fs_node {
	uint64_t id; /* what the kernel calls it */
	uint64_t generation; /* of what has that id */
	dev_t dev;
	ino_t ino;
	mode_t type; /* S_IFMT */
	struct fs_node *parent; /* where it was found last; NULL: the root */
	char *name;
	uint64_t lookups; /* the kernel's references */
	unsigned int refs; /* ours: children, requests, one for all of the kernel's */
	int fd; /* O_PATH, or -1: see fs_hold() */
	struct fs_node *hashed;
};

struct fs_file {
	int fd;
	unsigned int refs;
	bool directory;
	pthread_mutex_t reading; /* the position of a directory */
};

struct rumpel_fs {
	pthread_mutex_t lock; /* the tables; never held during input and output */
	bool read_only;
	uid_t uid; /* the process's: root in the kernel */
	gid_t gid;
	uint64_t valid_ns; /* how long the kernel may believe what it was told */
	struct fs_node root;
	struct fs_node **nodes; /* by id - 1 */
	uint64_t node_count, node_room, free_id, generation;
	struct fs_node **hash;
	uint64_t hash_size, hashed;
	/* Descriptors of nodes: of directories up to most_kept, of files without a name more. */
	unsigned int kept, most_kept, most_gone;
	struct fs_file **files; /* by handle - 1 */
	uint64_t file_room, file_count, most_files;
};

struct rumpel_fs *rumpel_fs_new(const char *path, bool read_only, uint64_t valid_ns, int *error);
void rumpel_fs_free(struct rumpel_fs *fs);
/* The kernel has forgotten everything, as after a reset. */
void rumpel_fs_reset(struct rumpel_fs *fs);
/*
 * Serves a request; may wait for the host. Any number of threads. Returns the
 * number of bytes written to `in`: 0 if there is no answer.
 */
size_t rumpel_fs_serve(struct rumpel_fs *fs, const struct iovec *out, unsigned int out_count,
		       const struct iovec *in, unsigned int in_count);

/* ---- a request ---- */

struct fs_call {
	struct rumpel_fs *fs;
	struct fuse_in_header header;
	const struct iovec *out, *in;
	unsigned int out_count, in_count;
	size_t in_len;
	const char *args; /* what follows the header; of a write, without the data */
	size_t args_len;
	size_t answer; /* bytes of data that are in `in` behind the header */
};

/* 0 or a negative errno; data of the answer has been put. */
typedef int fs_op(struct fs_call *call);

/* The next `len` bytes of the arguments; zeroes from where they end. */
void fs_take(struct fs_call *call, void *to, size_t len);
/* The next string. */
int fs_take_string(struct fs_call *call, const char **string);
/* The same, if it can be the name of a file: one component. */
int fs_take_name(struct fs_call *call, const char **name);
/* Appends to the answer. -ERANGE: there is no room. */
int fs_put(struct fs_call *call, const void *data, size_t len);

fs_op fs_lookup, fs_symlink, fs_mknod, fs_mkdir, fs_unlink, fs_rmdir, fs_rename, fs_rename2,
	fs_link, fs_readlink;
fs_op fs_getattr, fs_setattr, fs_statfs, fs_setxattr, fs_getxattr, fs_listxattr, fs_removexattr;
fs_op fs_open, fs_create, fs_opendir, fs_read, fs_write, fs_release, fs_fsync, fs_readdir,
	fs_fallocate, fs_lseek, fs_copy;

/* ---- fs_nodes.c ---- */

/* A node in use, with a descriptor of it (O_PATH). */
struct fs_hold {
	struct fs_node *node;
	int fd;
	bool own; /* not the node's */
};

/* -ESTALE: there is none, or another file is where it was. */
int fs_hold(struct rumpel_fs *fs, uint64_t id, struct fs_hold *hold);
void fs_let_go(struct rumpel_fs *fs, struct fs_hold *hold);
/* What the kernel shall call a file it has been told of: counts as a lookup. */
int fs_node_found(struct rumpel_fs *fs, struct fs_hold *parent, const char *name,
		  const struct stat *stat, uint64_t *id, uint64_t *generation);
/*
 * Before a name goes: the file stays reachable as long as the kernel knows it.
 * -ENFILE: it knows too many such files.
 */
int fs_node_keep(struct rumpel_fs *fs, const struct fs_hold *parent, const char *name);
void fs_node_moved(struct rumpel_fs *fs, struct fs_hold *parent, const char *name);
void fs_forget(struct rumpel_fs *fs, uint64_t id, uint64_t lookups);
int fs_nodes_init(struct rumpel_fs *fs, const char *path);
/* All but the root. */
void fs_nodes_clear(struct rumpel_fs *fs);
void fs_nodes_exit(struct rumpel_fs *fs);

/* ---- fs_attr.c ---- */

/* The file behind a hold. */
int fs_stat(const struct fs_hold *hold, struct stat *stat);
void fs_fill_attr(const struct rumpel_fs *fs, const struct stat *stat, struct fuse_attr *attr);
/* The process's own user is root in the kernel, and the other way round. */
uint32_t fs_map_uid(const struct rumpel_fs *fs, uint32_t uid);
uint32_t fs_map_gid(const struct rumpel_fs *fs, uint32_t gid);
/* Another descriptor of the same file; flags of open(2). */
int fs_reopen(int fd, int flags);
/* Owner and mode of what was just made: what the caller asked for, as far as we may. */
int fs_finish(struct fs_call *call, int parent, const char *name, mode_t mode);

/* ---- fs_names.c ---- */

/* Tells the kernel of a file, which counts as a lookup. */
int fs_put_entry(struct fs_call *call, struct fs_hold *parent, const char *name, uint64_t *id);

/* ---- fs_files.c ---- */

void fs_files_clear(struct rumpel_fs *fs);
/* A descriptor that was opened for the kernel, in use; or NULL. */
struct fs_file *fs_file_get(struct rumpel_fs *fs, uint64_t handle);
void fs_file_put(struct rumpel_fs *fs, struct fs_file *file);

#endif
