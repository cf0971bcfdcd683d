/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A server of FUSE for the root directory of a kernel: what the host knows of, and answers to
 * what it asks most. All else it asks is Python's to answer, with the same nodes.
 *
 * fuse.c          the server as Python has it
 * fuse_take.c     taking requests
 * fuse_answer.c   answers
 * fuse_list.c     those about directories
 * fuse_ahead.c    reading what may be asked next
 * fuse_open.c     descriptors of the kernel that are kept
 * fuse_nodes.c    nodes
 *
 * Source: include/uapi/linux/fuse.h.
 */
#ifndef RUMPEL_NATIVE_FUSE_H
#define RUMPEL_NATIVE_FUSE_H

#include "files.h"

#include <limits.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#define FUSE_ROOM (1 << 20) /* of an answer */
#define FUSE_FILES 64 /* open at a time */
#define FUSE_DIRECTORIES 32
#define FUSE_FOREVER (1 << 30) /* seconds; nobody else changes the image */
#define FUSE_PATIENT_NS 60000 /* for which the next request is looked for at least */
#define FUSE_EARLY 8 /* files and directories that are read ahead */
#define FUSE_SMALL (64 << 10) /* bytes; larger files are not */

struct opened;

/* An inode that the host knows, and a name that leads to it. */
typedef struct FuseNode {
	PyObject_HEAD
	uint64_t id; /* what the host calls it */
	uint64_t device, inode; /* what the kernel calls it */
	struct FuseNode *parent; /* where its name is; NULL: the root */
	PyObject *name; /* bytes */
	int64_t lookups; /* how often the host was told, and has not forgotten */
	size_t below; /* nodes whose names are in it */
	int fd; /* once it has no name; -1 before */
	uint8_t kind; /* as of struct dirent, if it was listed */
	bool listed; /* all that is in it */
	uint32_t size; /* when it was listed; the most, if it is larger than that */
	uint64_t first; /* file or directory in it, as it was listed, */
	uint64_t next; /* and of the directory that it is in; 0: none */
	struct opened *file, *directory; /* what is kept open of it */
	struct FuseNode *by_id, *by_key; /* the next of the same hash */
} FuseNode;

/* A directory that is read. */
struct listing {
	uint64_t at; /* where the first entry that the host has not seen is */
	unsigned int start, size; /* entries that were read, and the host has not seen */
	bool ended; /* there are no more */
	uint64_t changes; /* so many had been made when they were read */
	uint64_t last; /* node of the host that was told */
	char *data;
};

struct opened {
	FuseNode *node; /* NULL: nothing is open */
	uint64_t used; /* when last */
	int fd;
	bool writable;
	struct listing listing;
};

/* What is known of an entry of a directory. */
struct fuse_about {
	unsigned int start; /* where it is in the listing */
	int error; /* negative; 0: it is */
	struct statx found;
};

/* A file or directory that was read before anybody has asked. */
struct fuse_early {
	uint64_t id; /* 0: none */
	uint64_t changes; /* it is right while no more than these have been made */
	char *data; /* all of a file, or struct fuse_about of the entries of a directory */
	long size; /* of the file */
	int found, seen; /* how many entries, and how many of them the host has got */
};

struct fuse_ahead {
	bool allowed;
	uint64_t wanted[FUSE_EARLY]; /* who may be asked about next, in this order */
	int count;
	struct fuse_early early[FUSE_EARLY];
	int files; /* above 0: files are read, not only listed */
	int sure; /* above some number: most guesses were right */
};

typedef struct {
	PyObject_HEAD
	Kernel *kernel;
	PyTypeObject *node_type;
	struct side side; /* while requests are answered */
	int device; /* of the host */
	bool read_only;

	FuseNode **by_id, **by_key; /* hashes */
	size_t hashes, nodes;
	size_t nameless; /* nodes that have a descriptor instead of a name */
	uint64_t last_id;
	uint64_t *devices; /* in the order in which they were seen */
	size_t device_count;

	struct opened files[FUSE_FILES], directories[FUSE_DIRECTORIES];
	struct fuse_ahead ahead;
	uint64_t clock; /* counts uses */
	uint64_t changes; /* requests so far that have changed something */
	uint64_t served; /* requests */
	int unlooked; /* since it was seen whether this shall stop */
	int64_t patience; /* ns, for which requests are looked for */
	int crowded; /* others want the CPU: so many requests are waited for, not looked for, */
	int crowd; /* and so many were when that was seen last */

	char path[PATH_MAX];
	char *data; /* an answer */
} FuseServer;

/*
 * All that follow return false with an exception, if the kernel is gone or there is no memory.
 * Values are what a system call returns: a number or a negative errno.
 */

/* fuse.c: around all that follows */
int fuse_begin(FuseServer *server);
void fuse_end(FuseServer *server);

/* fuse_take.c: methods */
PyObject *fuse_take(PyObject *self, PyObject *args);
PyObject *fuse_answer(PyObject *self, PyObject *args);

/* fuse_nodes.c */
int fuse_nodes_begin(FuseServer *server, const struct statx *root);
void fuse_nodes_end(FuseServer *server);
FuseNode *fuse_node(const FuseServer *server, uint64_t id);
FuseNode *fuse_find(const FuseServer *server, const struct statx *found);
/* The host is told of a file by this name. Borrowed; NULL: no memory. */
FuseNode *fuse_tell(FuseServer *server, const struct statx *found, FuseNode *parent,
		    const char *name, size_t length);
int fuse_move(FuseServer *server, FuseNode *node, FuseNode *parent, PyObject *name);
void fuse_forget(FuseServer *server, uint64_t id, uint64_t count);
/* Path of a node, or of a name in it, in server->path; NULL and *error (negative) if there is none. */
const char *fuse_path(FuseServer *server, const FuseNode *node, const char *name, size_t length,
		      long *error);

/* fuse_open.c */
bool fuse_file(FuseServer *server, FuseNode *node, bool writable, long *fd);
bool fuse_directory(FuseServer *server, FuseNode *node, long *fd);
/* Close what is open of a node, also what it had instead of a name. */
void fuse_release(FuseServer *server, FuseNode *node);
void fuse_close(FuseServer *server, struct opened *opened);

/* fuse_answer.c; what the host gets lies in server->data, as many bytes as they say */
bool fuse_look(FuseServer *server, FuseNode *node, struct statx *found, long *result);
bool fuse_look_at(FuseServer *server, FuseNode *parent, const char *name, size_t length,
		  struct statx *found, long *result);
/* -1 or NULL: no memory */
int fuse_attributes(FuseServer *server, const struct statx *found, struct fuse_attr *to);
FuseNode *fuse_entry(FuseServer *server, const struct statx *found, FuseNode *parent,
		     const char *name, size_t length, struct fuse_entry_out *to);
int fuse_number(FuseServer *server, uint64_t inode, uint64_t device, uint64_t *number);
bool fuse_lookup(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result);
bool fuse_getattr(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result);
bool fuse_read(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result);

/* fuse_list.c */
bool fuse_readdir(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result);
bool fuse_readdirplus(FuseServer *server, FuseNode *node, const char *body, size_t size,
		      long *result);
/* Has the entries of a directory from the beginning; *result: 0, or a negative errno. */
bool fuse_list_begin(FuseServer *server, FuseNode *node, long *result);
/* Looks at those that were read. */
bool fuse_list_look(FuseServer *server, FuseNode *node, struct fuse_about *to, int room,
		    int *count);

/* fuse_ahead.c */
/* Reads something that may be asked for next: 1; 0: there is nothing; -1: an exception. */
int fuse_ahead(FuseServer *server);
/* What is here of a node, and still right; or NULL. */
struct fuse_early *fuse_early(FuseServer *server, const FuseNode *node);
/* A file or directory is asked for from its beginning; a file was read, a directory listed. */
void fuse_ahead_begins(FuseServer *server, const FuseNode *node);
void fuse_ahead_read(FuseServer *server, FuseNode *node);
void fuse_ahead_listed(FuseServer *server, FuseNode *node);
/* The host is told of what is in a directory. */
void fuse_ahead_told(FuseServer *server, FuseNode *directory, FuseNode *node,
		     const struct statx *found);

static inline uint64_t fuse_device(const struct statx *found)
{
	return (uint64_t)found->stx_dev_major << 32 | found->stx_dev_minor;
}

#endif
