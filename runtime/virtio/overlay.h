/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A copy-on-write overlay: a qcow2 file (version 3, subclusters) over a base
 * that is only read. overlay.c opens and ends it, overlay_file.c makes and checks
 * the file, overlay_map.c says where which bytes are, overlay_io.c moves them.
 *
 * The format is described in QEMU's docs/interop/qcow2.rst. Of it we write: one
 * level of backing file, 32 subclusters a cluster, 16-bit reference counts, which
 * are all 1, since clusters are only ever appended.
 */
#ifndef RUMPEL_VIRTIO_OVERLAY_H
#define RUMPEL_VIRTIO_OVERLAY_H

#include <pthread.h>
#include <rumpel/rumpel.h>
#include <stdint.h>
#include <sys/uio.h>

#define CLUSTER_BITS 17
#define CLUSTER (1ull << CLUSTER_BITS)
#define SUB_BITS (CLUSTER_BITS - 5)
#define SUB (1ull << SUB_BITS)
#define L2_ENTRIES (CLUSTER / sizeof(struct overlay_entry))
/* What one table of the second level is about: 1 GiB. */
#define L2_SPAN (L2_ENTRIES << CLUSTER_BITS)
#define L2_PAGE 4096u /* written as one */
#define REFCOUNTS (CLUSTER / 2) /* in a block of them */

#define OFFSET_MASK 0x00fffffffffffe00ull
#define COPIED (1ull << 63)

/* Big endian, as in the file. */
struct overlay_entry {
	uint64_t cluster;
	uint32_t zero; /* the subclusters that read as zeroes... */
	uint32_t data; /* ...and those that are in the cluster */
};

struct overlay_l2 {
	uint64_t offset; /* in the file */
	uint32_t dirty; /* a bit for each L2_PAGE */
	struct overlay_entry entries[L2_ENTRIES];
};

struct rumpel_overlay {
	pthread_mutex_t lock; /* all below, but what is set once; never held while the host syncs */
	pthread_mutex_t flushing; /* who syncs */
	pthread_mutex_t copying; /* who fills a part of a subcluster */
	unsigned int refs; /* of handles, children and devices; atomic */
	struct rumpel_overlay *next; /* of all that are open */
	int fd; /* the overlay's own file; -1: it is the parent's of this fork */
	bool volatile_file; /* memory: there is nothing to sync */
	bool ready; /* the file is an overlay of this base, and read */
	bool in_use; /* by a device or for commit and discard */
	unsigned int children;
	uint64_t size;
	int base_fd; /* or -1 */
	struct rumpel_nbd *base_nbd; /* what reads and writes it instead, or NULL */
	uint64_t base_size;
	struct rumpel_overlay *below; /* or NULL */
	char *base_name; /* as the file says it, or NULL */
	char base_format[16]; /* the same */
	uint64_t end; /* clusters of the file */
	uint64_t counted; /* of them have their reference counts in the file */
	uint64_t refcount_table; /* its offset */
	uint64_t refcount_entries;
	uint64_t l1_offset, l1_entries;
	struct overlay_l2 **l2; /* loaded tables */
	uint64_t *l1; /* offsets of tables, or 0 */
	bool l1_dirty;
};

enum overlay_kind { OVERLAY_BELOW, OVERLAY_ZERO, OVERLAY_DATA };

/* A range of bytes that are in one place. */
struct overlay_run {
	enum overlay_kind kind;
	uint64_t len;
	uint64_t where; /* in the file, of DATA */
};

/* ---- overlay_map.c ---- */

/*
 * Where the bytes from `offset` on are. -EAGAIN: a table has to be read first,
 * and `wait` is false.
 */
int overlay_find(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool wait,
		 struct overlay_run *run);
/*
 * Has room in the file for whole subclusters: `run` says where. What is there does
 * not count before overlay_have().
 */
int overlay_reserve(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool wait,
		    struct overlay_run *run);
/* Locked: whole subclusters are data, or zeroes, from now on. */
void overlay_have(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len,
		  enum overlay_kind kind);
/* Locked: the table that has this offset. With `make`, if need be a new one. */
int overlay_table(struct rumpel_overlay *overlay, uint64_t offset, bool make, bool wait,
		  struct overlay_l2 **table);

/* ---- overlay_io.c ---- */

ssize_t overlay_read_some(struct rumpel_overlay *overlay, const struct iovec *iov, int count,
			  uint64_t offset);
int overlay_read(struct rumpel_overlay *overlay, struct iovec *iov, int count, uint64_t offset);
int overlay_write(struct rumpel_overlay *overlay, struct iovec *iov, int count, uint64_t offset);
int overlay_zero(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool exactly);
/* What is above the base goes into `fd`, or into the overlay below. */
int overlay_merge(struct rumpel_overlay *overlay, int fd);

/* ---- overlay_file.c ---- */

/* `path` NULL: memory. Opens, checks and reads it, or makes it. */
int overlay_file_open(struct rumpel_overlay *overlay, const char *path, const char **why);
/* The file is empty. */
int overlay_file_make(struct rumpel_overlay *overlay);
/* The base is about to change: whatever it becomes is right. */
int overlay_file_leave_unchecked(const struct rumpel_overlay *overlay);

/* ---- overlay.c ---- */

/*
 * For a device: nobody else uses it until the same with `begin` false. -EBUSY: somebody
 * does, or it stayed with the parent of a fork.
 */
int overlay_use(struct rumpel_overlay *overlay, bool begin);

static inline uint64_t smaller_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
