// SPDX-License-Identifier: GPL-2.0-only
/* Overlays: the file's header, how it is made and read. */
#define _GNU_SOURCE
#include "overlay.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_EXTENDED_L2 (1ull << 4)
#define BACKING_FORMAT 0xe2792acau
#define BASE_STAMP 0x52554d50u /* "RUMP": a struct stamp; others ignore what they do not know */

struct header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_offset, refcount_offset;
	uint32_t refcount_clusters, snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, header_length;
};

struct extension {
	uint32_t type, len;
};

/* What the base was when something was last written over it. */
struct stamp {
	uint64_t size, seconds, ns;
};

#define UNCHECKED (~0ull) /* a commit has begun: the base may be anything in between */

static uint64_t clusters_of(uint64_t bytes)
{
	return (bytes + CLUSTER - 1) / CLUSTER;
}

/* ---- making a file ---- */

static int take_stamp(const struct rumpel_overlay *overlay, struct stamp *stamp)
{
	int fd = overlay->below ? overlay->below->fd : overlay->base_fd;
	struct stat stat;

	*stamp = (struct stamp){ .size = htobe64(overlay->base_size) };
	/* It is behind a socket, and has no file here. */
	if (fd < 0)
		return 0;
	if (fstat(fd, &stat))
		return -errno;
	/* Devices and memory have no time of their own. */
	if (S_ISREG(stat.st_mode) && overlay->base_name) {
		stamp->seconds = htobe64(stat.st_mtim.tv_sec);
		stamp->ns = htobe64(stat.st_mtim.tv_nsec);
	}
	return 0;
}

static char *put(char *at, uint32_t type, const void *data, uint32_t len)
{
	struct extension extension = { htobe32(type), htobe32(len) };

	memcpy(at, &extension, sizeof(extension));
	memcpy(at + sizeof(extension), data, len);
	return at + sizeof(extension) + (len + 7) / 8 * 8;
}

static int write_header(const struct rumpel_overlay *overlay, const struct stamp *stamp)
{
	const char *format = overlay->base_format;
	char block[4096] = { 0 }, *at = block + sizeof(struct header);
	struct header header = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(3),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(overlay->size),
		.l1_size = htobe32(overlay->l1_entries),
		.l1_offset = htobe64(overlay->l1_offset),
		.refcount_offset = htobe64(overlay->refcount_table),
		.refcount_clusters = htobe32(overlay->refcount_entries * 8 / CLUSTER),
		.incompatible = htobe64(QCOW2_EXTENDED_L2),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(header)),
	};

	at = put(at, BASE_STAMP, stamp, sizeof(*stamp));
	if (overlay->base_name) {
		at = put(at, BACKING_FORMAT, format, strlen(format));
		at = put(at, 0, "", 0);
		header.backing_offset = htobe64(at - block);
		header.backing_size = htobe32(strlen(overlay->base_name));
		memcpy(at, overlay->base_name, strlen(overlay->base_name));
	}
	memcpy(block, &header, sizeof(header));
	return rumpel_file_write(overlay->fd, block, sizeof(block), 0);
}

/* The file is empty: header, table and first block of reference counts, L1 table. */
int overlay_file_make(struct rumpel_overlay *overlay)
{
	uint64_t block = htobe64(2 * CLUSTER);
	struct stamp stamp;
	int error;

	overlay->refcount_table = CLUSTER;
	overlay->refcount_entries = CLUSTER / 8;
	overlay->l1_offset = 3 * CLUSTER;
	overlay->end = 3 + clusters_of(overlay->l1_entries * 8);
	overlay->counted = 0;
	overlay->l1_dirty = true;
	error = take_stamp(overlay, &stamp);
	if (!error)
		error = rumpel_file_write(overlay->fd, &block, sizeof(block), CLUSTER);
	/* A file without a header is an empty one: it comes when all else is there. */
	if (!error)
		error = rumpel_overlay_sync(overlay);
	if (!error)
		error = write_header(overlay, &stamp);
	if (!error && !overlay->volatile_file && fdatasync(overlay->fd))
		error = -errno;
	return error;
}

/* ---- reading one ---- */

static int check_header(const struct rumpel_overlay *overlay, const struct header *header,
			const char **why)
{
	const uint64_t known = QCOW2_EXTENDED_L2;

	*why = "not a qcow2 file of version 3";
	if (be32toh(header->magic) != QCOW2_MAGIC || be32toh(header->version) != 3)
		return -EINVAL;
	*why = "a qcow2 file of a kind that only QEMU can write to: make it anew with "
	       "cluster_size=128k,extended_l2=on";
	if (be32toh(header->cluster_bits) != CLUSTER_BITS ||
	    be64toh(header->incompatible) != known || be32toh(header->refcount_order) != 4 ||
	    header->crypt_method || header->snapshots || header->autoclear)
		return -EINVAL;
	*why = "the overlay is of another size than its base";
	if (be64toh(header->size) != overlay->size)
		return -EINVAL;
	*why = "damaged: tables lie outside the file";
	if (be32toh(header->l1_size) < overlay->l1_entries ||
	    be64toh(header->l1_offset) % CLUSTER || be64toh(header->refcount_offset) % CLUSTER ||
	    be64toh(header->l1_offset) / CLUSTER >= overlay->end ||
	    be64toh(header->refcount_offset) / CLUSTER >= overlay->end ||
	    !header->refcount_clusters || be32toh(header->refcount_clusters) > 1024)
		return -EINVAL;
	return 0;
}

static int check_stamp(const struct rumpel_overlay *overlay, const char *data, const char **why)
{
	struct stamp was, is;
	int error = take_stamp(overlay, &is);

	memcpy(&was, data, sizeof(was));
	if (error || was.seconds == UNCHECKED)
		return error;
	if (!memcmp(&was, &is, sizeof(was)))
		return 0;
	*why = "the base has changed since the overlay was made over it";
	return -ESTALE;
}

static int check_extensions(const struct rumpel_overlay *overlay, const char *block, size_t size,
			    const char **why)
{
	const struct header *header = (const void *)block;
	size_t at = be32toh(header->header_length);
	struct extension extension;

	while (at + sizeof(extension) <= size) {
		memcpy(&extension, block + at, sizeof(extension));
		at += sizeof(extension);
		extension.len = be32toh(extension.len);
		if (!extension.type || extension.len > size - at)
			break;
		if (be32toh(extension.type) == BASE_STAMP && extension.len == sizeof(struct stamp))
			return check_stamp(overlay, block + at, why);
		at += (extension.len + 7) / 8 * 8;
	}
	return 0;
}

/* Clusters that are counted: all up to the last one that is. */
static int find_counted(struct rumpel_overlay *overlay)
{
	uint16_t *counts = malloc(CLUSTER);
	uint64_t block;
	int error = counts ? 0 : -ENOMEM;

	overlay->counted = 0;
	for (uint64_t i = 0; i * REFCOUNTS < overlay->end && !error; i++) {
		if (i >= overlay->refcount_entries)
			break;
		error = rumpel_file_read(overlay->fd, &block, sizeof(block),
					 overlay->refcount_table + i * sizeof(block));
		block = be64toh(block) & OFFSET_MASK;
		if (error || !block)
			break;
		error = rumpel_file_read(overlay->fd, counts, CLUSTER, block);
		for (uint64_t at = 0; at < REFCOUNTS && !error; at++)
			if (counts[at])
				overlay->counted = i * REFCOUNTS + at + 1;
	}
	free(counts);
	return error;
}

static int read_l1(struct rumpel_overlay *overlay, const char **why)
{
	int error = rumpel_file_read(overlay->fd, overlay->l1, overlay->l1_entries * 8,
				     overlay->l1_offset);

	for (uint64_t i = 0; i < overlay->l1_entries && !error; i++) {
		overlay->l1[i] = be64toh(overlay->l1[i]) & OFFSET_MASK;
		if (overlay->l1[i] % CLUSTER || overlay->l1[i] / CLUSTER >= overlay->end) {
			*why = "damaged: tables lie outside the file";
			error = -EINVAL;
		}
	}
	return error;
}

static int file_read_in(struct rumpel_overlay *overlay, uint64_t size, const char **why)
{
	char block[4096] = { 0 };
	const struct header *header = (const void *)block;
	int error = rumpel_file_read(overlay->fd, block, smaller_of(size, sizeof(block)), 0);

	overlay->end = clusters_of(size);
	if (!error)
		error = check_header(overlay, header, why);
	if (!error)
		error = check_extensions(overlay, block, sizeof(block), why);
	if (error)
		return error;
	overlay->l1_offset = be64toh(header->l1_offset);
	overlay->refcount_table = be64toh(header->refcount_offset);
	overlay->refcount_entries = be32toh(header->refcount_clusters) * CLUSTER / 8;
	error = read_l1(overlay, why);
	return error ? error : find_counted(overlay);
}

/*
 * A file that was being made when its maker was killed or the machine stopped. The number is
 * there before the file grows past it, see overlay_file_make(); all else is zeroes and counts.
 */
static bool is_unfinished(struct rumpel_overlay *overlay, uint64_t size)
{
	uint64_t first = 1, block = 0;

	return size >= CLUSTER + sizeof(block) &&
	       size <= (3 + clusters_of(overlay->l1_entries * 8)) * CLUSTER &&
	       !rumpel_file_read(overlay->fd, &first, sizeof(first), 0) && !first &&
	       !rumpel_file_read(overlay->fd, &block, sizeof(block), CLUSTER) &&
	       be64toh(block) == 2 * CLUSTER;
}

int overlay_file_open(struct rumpel_overlay *overlay, const char *path, const char **why)
{
	uint64_t size = 0;
	int error;

	overlay->volatile_file = !path;
	if (!path) {
		overlay->fd = memfd_create("rumpel-overlay", MFD_CLOEXEC);
		return overlay->fd < 0 ? -errno : overlay_file_make(overlay);
	}
	overlay->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
	if (overlay->fd < 0)
		return -errno;
	close(overlay->fd);
	error = rumpel_file_open(path, false, &overlay->fd, &size);
	if (error) {
		overlay->fd = -1;
		return error;
	}
	if (!size || is_unfinished(overlay, size))
		return overlay_file_make(overlay);
	return file_read_in(overlay, size, why);
}

int overlay_file_leave_unchecked(const struct rumpel_overlay *overlay)
{
	const struct stamp unchecked = { 0, UNCHECKED, 0 };
	int error = write_header(overlay, &unchecked);

	if (!error && !overlay->volatile_file && fdatasync(overlay->fd))
		error = -errno;
	return error;
}
