// SPDX-License-Identifier: GPL-2.0-only
/* Overlays: moving bytes. */
#define _GNU_SOURCE
#include "overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "nbd.h"
#include "queue.h"

#define PIECE (1u << 20)

/* The `len` bytes from `skip` on, as elements of `to`; returns their number. */
static unsigned int slice(const struct iovec *from, uint64_t skip, uint64_t len, struct iovec *to)
{
	unsigned int count = 0;

	for (; skip >= from->iov_len; from++)
		skip -= from->iov_len;
	for (; len; from++) {
		uint64_t n = smaller_of(from->iov_len - skip, len);

		if (n)
			to[count++] = (struct iovec){ (char *)from->iov_base + skip, n };
		skip = 0;
		len -= n;
	}
	return count;
}

static void clear(const struct iovec *iov, unsigned int count)
{
	for (; count; iov++, count--)
		memset(iov->iov_base, 0, iov->iov_len);
}

static uint64_t length(const struct iovec *iov, unsigned int count)
{
	uint64_t len = 0;

	for (; count; iov++, count--)
		len += iov->iov_len;
	return len;
}

/* A base may end before the overlay does. */
static uint64_t in_base(const struct rumpel_overlay *overlay, uint64_t offset, uint64_t len)
{
	if (offset >= overlay->base_size)
		return 0;
	return smaller_of(len, overlay->base_size - offset);
}

static ssize_t cached(int fd, const struct iovec *iov, unsigned int count, uint64_t offset)
{
	ssize_t done = preadv2(fd, iov, count, offset, RWF_NOWAIT);

	return done < 0 ? 0 : done;
}

/* As far as it goes without waiting. */
static uint64_t run_some(struct rumpel_overlay *overlay, const struct overlay_run *run,
			 const struct iovec *iov, unsigned int count, uint64_t offset)
{
	uint64_t len = in_base(overlay, offset, run->len);
	struct iovec part[RUMPEL_QUEUE_MAX];
	ssize_t done;

	if (run->kind == OVERLAY_DATA)
		return cached(overlay->fd, iov, count, run->where);
	if (run->kind == OVERLAY_BELOW && len) {
		count = slice(iov, 0, len, part);
		if (overlay->below)
			done = overlay_read_some(overlay->below, part, count, offset);
		else if (overlay->base_nbd)
			done = 0;
		else
			done = cached(overlay->base_fd, part, count, offset);
		/* What is behind the base's end is for the next round. */
		return done;
	}
	clear(iov, count);
	return run->len;
}

ssize_t overlay_read_some(struct rumpel_overlay *overlay, const struct iovec *iov, int count,
			  uint64_t offset)
{
	uint64_t done = 0, len = length(iov, count), got;
	struct iovec part[RUMPEL_QUEUE_MAX];
	struct overlay_run run;

	while (done < len) {
		if (overlay_find(overlay, offset + done, len - done, false, &run))
			break;
		got = run_some(overlay, &run, part, slice(iov, done, run.len, part), offset + done);
		done += got;
		if (!got)
			break;
	}
	return done;
}

static int base_read(struct rumpel_overlay *overlay, struct iovec *iov, unsigned int count,
		     uint64_t offset)
{
	if (overlay->below)
		return overlay_read(overlay->below, iov, count, offset);
	if (overlay->base_nbd)
		return rumpel_nbd_transfer(overlay->base_nbd, iov, count, offset, false);
	return rumpel_file_transfer(overlay->base_fd, iov, count, offset, false);
}

static int run_read(struct rumpel_overlay *overlay, const struct overlay_run *run,
		    const struct iovec *iov, uint64_t offset)
{
	struct iovec part[RUMPEL_QUEUE_MAX];
	uint64_t len = 0;
	unsigned int n;
	int error = 0;

	if (run->kind == OVERLAY_DATA) {
		n = slice(iov, 0, run->len, part);
		return rumpel_file_transfer(overlay->fd, part, n, run->where, false);
	}
	if (run->kind == OVERLAY_BELOW)
		len = in_base(overlay, offset, run->len);
	if (len) {
		n = slice(iov, 0, len, part);
		error = base_read(overlay, part, n, offset);
	}
	if (len < run->len)
		clear(part, slice(iov, len, run->len - len, part));
	return error;
}

int overlay_read(struct rumpel_overlay *overlay, struct iovec *iov, int count, uint64_t offset)
{
	uint64_t done = 0, len = length(iov, count);
	struct iovec part[RUMPEL_QUEUE_MAX];
	struct overlay_run run;
	int error = 0;

	for (; done < len && !error; done += run.len) {
		error = overlay_find(overlay, offset + done, len - done, true, &run);
		if (error)
			break;
		slice(iov, done, run.len, part);
		error = run_read(overlay, &run, part, offset + done);
	}
	return error;
}

/* ---- writing ---- */

static int write_whole(struct rumpel_overlay *overlay, const struct iovec *iov, uint64_t skip,
		       uint64_t len, uint64_t offset, uint64_t *done)
{
	struct iovec part[RUMPEL_QUEUE_MAX];
	struct overlay_run run;
	unsigned int count;
	int error = overlay_reserve(overlay, offset, len, true, &run);

	if (error)
		return error;
	count = slice(iov, skip, run.len, part);
	error = rumpel_file_transfer(overlay->fd, part, count, run.where, true);
	if (error)
		return error;
	pthread_mutex_lock(&overlay->lock);
	overlay_have(overlay, offset, run.len, OVERLAY_DATA);
	pthread_mutex_unlock(&overlay->lock);
	*done = run.len;
	return 0;
}

/* Locked by `copying`: the rest of the subcluster is copied first. */
static int fill_subcluster(struct rumpel_overlay *overlay, const struct iovec *iov, uint64_t skip,
			   uint64_t len, uint64_t offset)
{
	uint64_t start = offset & ~(SUB - 1), done;
	struct iovec part[RUMPEL_QUEUE_MAX];
	char sub[SUB];
	struct iovec whole = { sub, SUB };
	int error = overlay_read(overlay, &whole, 1, start);

	if (error)
		return error;
	rumpel_iov_read(part, slice(iov, skip, len, part), 0, sub + (offset - start), len);
	whole = (struct iovec){ sub, SUB };
	return write_whole(overlay, &whole, 0, SUB, start, &done);
}

static int write_data(struct rumpel_overlay *overlay, const struct iovec *iov, uint64_t skip,
		      uint64_t len, uint64_t where)
{
	struct iovec part[RUMPEL_QUEUE_MAX];

	return rumpel_file_transfer(overlay->fd, part, slice(iov, skip, len, part), where, true);
}

/* Less than a subcluster. */
static int write_part(struct rumpel_overlay *overlay, const struct iovec *iov, uint64_t skip,
		      uint64_t len, uint64_t offset)
{
	struct overlay_run run;
	int error = overlay_find(overlay, offset, len, true, &run);

	if (error)
		return error;
	if (run.kind == OVERLAY_DATA)
		return write_data(overlay, iov, skip, len, run.where);
	pthread_mutex_lock(&overlay->copying);
	/* Another request may have filled it meanwhile. */
	error = overlay_find(overlay, offset, len, true, &run);
	if (!error && run.kind == OVERLAY_DATA)
		error = write_data(overlay, iov, skip, len, run.where);
	else if (!error)
		error = fill_subcluster(overlay, iov, skip, len, offset);
	pthread_mutex_unlock(&overlay->copying);
	return error;
}

int overlay_write(struct rumpel_overlay *overlay, struct iovec *iov, int count, uint64_t offset)
{
	uint64_t len = length(iov, count), done = 0, step;
	int error = 0;

	for (; done < len && !error; done += step) {
		uint64_t at = offset + done, left = len - done;

		step = smaller_of(left, SUB - at % SUB);
		if (step < SUB)
			error = write_part(overlay, iov, done, step, at);
		else
			error = write_whole(overlay, iov, done, left & ~(SUB - 1), at, &step);
	}
	return error;
}

/* ---- zeroes ---- */

/* What has no whole subcluster in it. */
static int zero_part(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len)
{
	static const char zeroes[2 * SUB];
	struct iovec iov = { (void *)zeroes, len };

	return len ? overlay_write(overlay, &iov, 1, offset) : 0;
}

/* Whole subclusters of one table. */
static int zero_whole(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len)
{
	struct overlay_l2 *table;
	struct overlay_run run;
	int error = 0;

	/* Gives the room back; what is there counts until it is marked below. */
	for (uint64_t at = offset; at < offset + len && !error; at += run.len) {
		error = overlay_find(overlay, at, offset + len - at, true, &run);
		if (!error && run.kind == OVERLAY_DATA)
			error = rumpel_file_discard(overlay->fd, run.where, run.len);
	}
	if (error)
		return error;
	pthread_mutex_lock(&overlay->lock);
	error = overlay_table(overlay, offset, true, true, &table);
	if (!error)
		overlay_have(overlay, offset, len, OVERLAY_ZERO);
	pthread_mutex_unlock(&overlay->lock);
	return error;
}

/* `exactly`: else what does not fill a subcluster stays. */
int overlay_zero(struct rumpel_overlay *overlay, uint64_t offset, uint64_t len, bool exactly)
{
	uint64_t end = offset + len, first = (offset + SUB - 1) & ~(SUB - 1),
		 last = end & ~(SUB - 1);
	int error = 0;

	/* The disk's end need not be a subcluster's. */
	if (end == overlay->size)
		last = (end + SUB - 1) & ~(SUB - 1);
	if (first >= last)
		return exactly ? zero_part(overlay, offset, len) : 0;
	for (uint64_t at = first; at < last && !error;) {
		uint64_t n = smaller_of(last - at, L2_SPAN - at % L2_SPAN);

		error = zero_whole(overlay, at, n);
		at += n;
	}
	if (!error && exactly)
		error = zero_part(overlay, offset, first - offset);
	if (!error && exactly && last < end)
		error = zero_part(overlay, last, end - last);
	return error;
}

/* ---- commit ---- */

/* No more than `buffer` has room for. */
static int nbd_zero(struct rumpel_nbd *nbd, uint64_t offset, uint64_t len, char *buffer)
{
	struct iovec iov = { buffer, len };
	int error = rumpel_nbd_zero(nbd, offset, len, true);

	if (error != -EOPNOTSUPP)
		return error;
	memset(buffer, 0, len);
	return rumpel_nbd_transfer(nbd, &iov, 1, offset, true);
}

static int merge_run(struct rumpel_overlay *overlay, const struct overlay_run *run, int fd,
		     uint64_t offset, char *buffer)
{
	struct iovec iov = { buffer, run->len };
	int error;

	if (run->kind == OVERLAY_ZERO && overlay->below)
		return overlay_zero(overlay->below, offset, run->len, true);
	if (run->kind == OVERLAY_ZERO && overlay->base_nbd)
		return nbd_zero(overlay->base_nbd, offset, run->len, buffer);
	if (run->kind == OVERLAY_ZERO)
		return rumpel_file_zero(fd, offset, run->len, true);
	error = rumpel_file_read(overlay->fd, buffer, run->len, run->where);
	if (error)
		return error;
	if (overlay->below)
		return overlay_write(overlay->below, &iov, 1, offset);
	if (overlay->base_nbd)
		return rumpel_nbd_transfer(overlay->base_nbd, &iov, 1, offset, true);
	return rumpel_file_write(fd, buffer, run->len, offset);
}

int overlay_merge(struct rumpel_overlay *overlay, int fd)
{
	char *buffer = malloc(PIECE);
	struct overlay_run run;
	int error = buffer ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < overlay->size && !error; at += run.len) {
		error = overlay_find(overlay, at, overlay->size - at, true, &run);
		if (!error && run.kind != OVERLAY_BELOW) {
			run.len = smaller_of(run.len, PIECE);
			error = merge_run(overlay, &run, fd, at, buffer);
		}
	}
	free(buffer);
	return error;
}
