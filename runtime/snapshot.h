/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A kernel that has booted, in a file: its memory page by page, at addresses that are the
 * file's own, since the kernel's pointers are all over it. What is not in it comes from the
 * image. To start from one takes a tenth of a boot.
 *
 * A file is good for the very image, CPU and librumpel that made it, and is put in place once
 * it is complete. Several kernels of a process need several files: FILE.0, FILE.1, ...
 */
#ifndef RUMPEL_RUNTIME_SNAPSHOT_H
#define RUMPEL_RUNTIME_SNAPSHOT_H

#include "core.h"

/* Changes with all that is below, and with what a kernel is before it is saved. */
#define SNAPSHOT_MAGIC 0x3230706e736c7572ull

/* Of those that have bound tasks: pid 1 and the agent. */
#define SNAPSHOT_TASKS 2

struct snapshot_identity {
	uint64_t magic, abi;
	uint64_t image_device, image_inode, image_size, image_seconds, image_nanoseconds;
	uint64_t memory_size;
	uint32_t cpu[8]; /* what it can do */
};

struct snapshot_header {
	struct snapshot_identity identity;
	uint64_t arena, mappings; /* addresses */
	uint64_t now, age; /* ns: as the kernel counts; since it booted */
	uint64_t pieces, parts, aliases, log; /* how many of them follow, and bytes of text */
	uint64_t runnable;
	struct {
		struct rumpel_caller caller;
		int64_t id;
	} tasks[SNAPSHOT_TASKS];
};

/*
 * Pages that lie together: struct rumpel_alias is what the aliases are. Parts are such of the
 * image's file, which nobody has written to: where all else is copied, these are mapped.
 */
struct snapshot_piece {
	uint64_t address, len, offset; /* in the file, or the image's */
};

/* 0 or -errno. */
int snapshot_identify(struct snapshot_identity *identity, const char *image, uint64_t memory_size);

/*
 * Starts a kernel, of which nothing is there yet, from the file. -ENOENT: there is no
 * such file; -ESTALE: it is of no use; -EEXIST: its addresses are taken. Then there is
 * still nothing.
 */
int snapshot_load(struct rumpel_kernel *kernel, const char *file,
		  const struct snapshot_identity *identity, const char *image);
/* 0 or -errno: then the file is as it was. */
int snapshot_save(struct rumpel_kernel *kernel, const char *file,
		  const struct snapshot_identity *identity, const char *image);

#endif
