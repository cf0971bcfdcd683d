// SPDX-License-Identifier: GPL-2.0-only
/* Overlays: which bytes are where, and how that gets into the file. */
#define _GNU_SOURCE
#include "overlay.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

_Static_assert(CLUSTER / L2_PAGE == 32, "the pages of a table are bits of a word");

static struct overlay_entry *entry_of(struct overlay_l2 *table, uint64_t offset)
{
	return &table->entries[offset >> CLUSTER_BITS & (L2_ENTRIES - 1)];
}

static void touch(struct overlay_l2 *table, const struct overlay_entry *entry)
{
	table->dirty |= 1u << ((const char *)entry - (const char *)table->entries) / L2_PAGE;
}

static uint32_t bit_of(uint64_t offset)
{
	return 1u << (offset >> SUB_BITS & 31);
}

static enum overlay_kind kind_of(const struct overlay_entry *entry, uint64_t offset)
{
	if (be32toh(entry->data) & bit_of(offset))
		return OVERLAY_DATA;
	return be32toh(entry->zero) & bit_of(offset) ? OVERLAY_ZERO : OVERLAY_BELOW;
}

static uint64_t cluster_of(const struct overlay_entry *entry)
{
	return be64toh(entry->cluster) & OFFSET_MASK;
}

/* A table that was made, and never written to its end, is shorter in the file. */
static int read_table(struct rumpel_overlay *overlay, struct overlay_l2 *table)
{
	char *to = (char *)table->entries;
	size_t done = 0;

	while (done < CLUSTER) {
		ssize_t got = pread(overlay->fd, to + done, CLUSTER - done, table->offset + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		done += got;
	}
	return 0;
}

/* Clusters that are used already are never given to something else. */
static bool is_sound(const struct rumpel_overlay *overlay, const struct overlay_l2 *table)
{
	for (unsigned int i = 0; i < L2_ENTRIES; i++) {
		uint64_t raw = be64toh(table->entries[i].cluster), cluster = raw & OFFSET_MASK;

		if ((table->entries[i].data && !cluster) || (raw & ~(OFFSET_MASK | COPIED)) ||
		    cluster % CLUSTER || cluster / CLUSTER >= overlay->end ||
		    (cluster && !(raw & COPIED)) ||
		    (table->entries[i].data & table->entries[i].zero))
			return false;
	}
	return true;
}

int overlay_table(struct rumpel_overlay *overlay, uint64_t offset, bool make, bool wait,
		  struct overlay_l2 **table)
{
	uint64_t index = offset / L2_SPAN;
	int error;

	*table = overlay->l2[index];
	if (*table || (!overlay->l1[index] && !make))
		return 0;
	if (!wait)
		return -EAGAIN;
	*table = calloc(1, sizeof(**table));
	if (!*table)
		return -ENOMEM;
	if (overlay->l1[index]) {
		(*table)->offset = overlay->l1[index];
		error = read_table(overlay, *table);
		if (!error && !is_sound(overlay, *table))
			error = -EIO;
		if (error) {
			free(*table);
			*table = NULL;
			return error;
		}
	} else {
		(*table)->offset = overlay->end++ * CLUSTER;
		(*table)->dirty = ~0u;
		overlay->l1[index] = (*table)->offset;
		overlay->l1_dirty = true;
	}
	overlay->l2[index] = *table;
	return 0;
}

/* How far the bytes from `offset` on are of one kind, and side by side. */
static void extend(struct overlay_l2 *table, uint64_t offset, uint64_t len, struct overlay_run *run)
{
	const struct overlay_entry *entry = entry_of(table, offset);
	uint64_t end = smaller_of(offset + len, (offset / L2_SPAN + 1) * L2_SPAN), at;

	run->kind = kind_of(entry, offset);
	run->where = cluster_of(entry) + offset % CLUSTER;
	for (at = (offset / SUB + 1) * SUB; at < end; at += SUB) {
		entry = entry_of(table, at);
		if (kind_of(entry, at) != run->kind)
			break;
		if (run->kind == OVERLAY_DATA &&
		    cluster_of(entry) + at % CLUSTER != run->where + (at - offset))
			break;
	}
	run->len = smaller_of(at, end) - offset;
}

int overlay_find(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool wait,
		 struct overlay_run *run)
{
	struct overlay_l2 *table;
	int error;

	pthread_mutex_lock(&overlay->lock);
	error = overlay_table(overlay, offset, false, wait, &table);
	if (!error && table) {
		extend(table, offset, len, run);
	} else {
		run->kind = OVERLAY_BELOW;
		run->len = smaller_of(len, L2_SPAN - offset % L2_SPAN);
	}
	pthread_mutex_unlock(&overlay->lock);
	return error;
}

int overlay_reserve(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool wait,
		    struct overlay_run *run)
{
	uint64_t end = smaller_of(offset + len, (offset / L2_SPAN + 1) * L2_SPAN), at = offset;
	struct overlay_entry *entry;
	struct overlay_l2 *table;
	int error;

	pthread_mutex_lock(&overlay->lock);
	error = overlay_table(overlay, offset, true, wait, &table);
	while (!error && at < end) {
		entry = entry_of(table, at);
		if (!cluster_of(entry)) {
			entry->cluster = htobe64(overlay->end++ * CLUSTER | COPIED);
			touch(table, entry);
		}
		if (at == offset)
			run->where = cluster_of(entry) + at % CLUSTER;
		else if (cluster_of(entry) != run->where + (at - offset))
			break;
		at = (at / CLUSTER + 1) * CLUSTER;
	}
	pthread_mutex_unlock(&overlay->lock);
	run->kind = OVERLAY_DATA;
	run->len = smaller_of(at, end) - offset;
	return error;
}

void overlay_have(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len,
		  enum overlay_kind kind)
{
	for (uint64_t at = offset; at < offset + len; at += SUB) {
		struct overlay_l2 *table = overlay->l2[at / L2_SPAN];
		struct overlay_entry *entry = entry_of(table, at);
		uint32_t bit = htobe32(bit_of(at));

		entry->data = kind == OVERLAY_DATA ? entry->data | bit : entry->data & ~bit;
		entry->zero = kind == OVERLAY_ZERO ? entry->zero | bit : entry->zero & ~bit;
		touch(table, entry);
	}
}

/* ---- into the file ---- */

/* A page of a table as it was when the host was asked to sync the data. */
struct saved_page {
	uint64_t offset;
	char data[L2_PAGE];
};

struct saved {
	struct saved_page *pages;
	size_t count;
	uint64_t *l1; /* or NULL: it has not changed */
};

/* Locked. What is marked is what is in `saved`. */
static void mark_again(struct rumpel_overlay *overlay, const struct saved *saved)
{
	for (size_t i = 0; i < saved->count; i++) {
		for (uint64_t index = 0; index < overlay->l1_entries; index++) {
			struct overlay_l2 *table = overlay->l2[index];
			uint64_t offset = saved->pages[i].offset;

			if (table && offset >= table->offset && offset < table->offset + CLUSTER)
				table->dirty |= 1u << (offset - table->offset) / L2_PAGE;
		}
	}
	overlay->l1_dirty |= saved->l1 != NULL;
}

/* Locked. */
static int save(struct rumpel_overlay *overlay, struct saved *saved)
{
	size_t count = 0;

	for (uint64_t i = 0; i < overlay->l1_entries; i++)
		if (overlay->l2[i])
			count += __builtin_popcount(overlay->l2[i]->dirty);
	*saved = (struct saved){ 0 };
	if (count && !(saved->pages = malloc(count * sizeof(*saved->pages))))
		return -ENOMEM;
	if (overlay->l1_dirty) {
		saved->l1 = malloc(overlay->l1_entries * sizeof(uint64_t));
		if (!saved->l1)
			return -ENOMEM;
		for (uint64_t i = 0; i < overlay->l1_entries; i++)
			saved->l1[i] = overlay->l1[i] ? htobe64(overlay->l1[i] | COPIED) : 0;
		overlay->l1_dirty = false;
	}
	for (uint64_t i = 0; i < overlay->l1_entries; i++) {
		struct overlay_l2 *table = overlay->l2[i];

		for (; table && table->dirty; table->dirty &= table->dirty - 1) {
			struct saved_page *page = &saved->pages[saved->count++];
			unsigned int at = __builtin_ctz(table->dirty) * L2_PAGE;

			page->offset = table->offset + at;
			memcpy(page->data, (const char *)table->entries + at, L2_PAGE);
		}
	}
	return 0;
}

/* The block of reference counts that counts this cluster; makes it if need be. */
static int refcount_block(struct rumpel_overlay *overlay, uint64_t cluster, uint64_t *block)
{
	uint64_t at = overlay->refcount_table + cluster / REFCOUNTS * sizeof(*block);
	int error;

	if (cluster / REFCOUNTS >= overlay->refcount_entries)
		return -EFBIG;
	error = rumpel_file_read(overlay->fd, block, sizeof(*block), at);
	*block = be64toh(*block) & OFFSET_MASK;
	if (error || *block)
		return error;
	pthread_mutex_lock(&overlay->lock);
	*block = overlay->end++ * CLUSTER;
	pthread_mutex_unlock(&overlay->lock);
	at = htobe64(*block);
	return rumpel_file_write(overlay->fd, &at, sizeof(at),
				 overlay->refcount_table + cluster / REFCOUNTS * sizeof(at));
}

static uint64_t end_of(struct rumpel_overlay *overlay)
{
	uint64_t end;

	pthread_mutex_lock(&overlay->lock);
	end = overlay->end;
	pthread_mutex_unlock(&overlay->lock);
	return end;
}

/* Flushing. Also those that are taken meanwhile, as by the counts themselves. */
static int count_clusters(struct rumpel_overlay *overlay)
{
	uint64_t block, end;
	uint16_t ones[2048];
	int error;

	for (size_t i = 0; i < sizeof(ones) / sizeof(ones[0]); i++)
		ones[i] = htobe16(1);
	while (overlay->counted < (end = end_of(overlay))) {
		uint64_t at = overlay->counted % REFCOUNTS;
		uint64_t n = smaller_of(end - overlay->counted, sizeof(ones) / sizeof(ones[0]));

		n = smaller_of(n, REFCOUNTS - at);
		error = refcount_block(overlay, overlay->counted, &block);
		if (!error)
			error = rumpel_file_write(overlay->fd, ones, n * 2, block + at * 2);
		if (error)
			return error;
		overlay->counted += n;
	}
	return 0;
}

/* Whole clusters: others who read the file expect them. */
static int fill_up(struct rumpel_overlay *overlay)
{
	int error;

	/* Locked, since what is reserved after this must not be cut off. */
	pthread_mutex_lock(&overlay->lock);
	error = ftruncate(overlay->fd, overlay->end * CLUSTER) ? -errno : 0;
	pthread_mutex_unlock(&overlay->lock);
	return error;
}

static int write_saved(struct rumpel_overlay *overlay, const struct saved *saved)
{
	int error = count_clusters(overlay);

	if (!error)
		error = fill_up(overlay);
	for (size_t i = 0; i < saved->count && !error; i++)
		error = rumpel_file_write(overlay->fd, saved->pages[i].data, L2_PAGE,
					  saved->pages[i].offset);
	if (!error && saved->l1)
		error = rumpel_file_write(overlay->fd, saved->l1,
					  overlay->l1_entries * sizeof(uint64_t),
					  overlay->l1_offset);
	return error;
}

static int sync_file(const struct rumpel_overlay *overlay)
{
	if (overlay->volatile_file)
		return 0;
	return fdatasync(overlay->fd) ? -errno : 0;
}

/*
 * First the data, then what says that it is there: whenever the machine stops,
 * each subcluster has its old content or its new one.
 */
static int sync_all(struct rumpel_overlay *overlay)
{
	struct saved saved;
	int error;

	pthread_mutex_lock(&overlay->lock);
	error = save(overlay, &saved);
	pthread_mutex_unlock(&overlay->lock);
	if (!error)
		error = sync_file(overlay);
	if (!error && (saved.count || saved.l1)) {
		error = write_saved(overlay, &saved);
		if (!error)
			error = sync_file(overlay);
	}
	if (error) {
		pthread_mutex_lock(&overlay->lock);
		mark_again(overlay, &saved);
		pthread_mutex_unlock(&overlay->lock);
	}
	free(saved.pages);
	free(saved.l1);
	return error;
}

int rumpel_overlay_sync(struct rumpel_overlay *overlay)
{
	int error = 0;

	pthread_mutex_lock(&overlay->flushing);
	if (overlay->fd >= 0)
		error = sync_all(overlay);
	pthread_mutex_unlock(&overlay->flushing);
	return error;
}
