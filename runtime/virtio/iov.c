// SPDX-License-Identifier: GPL-2.0-only
/* Lists of buffers: copying from, to and between them. */
#include "queue.h"

#include <string.h>

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t rumpel_iov_read(const struct iovec *iov, unsigned int count, size_t skip, void *data,
		       size_t len)
{
	size_t done = 0;

	for (; count && done < len; iov++, count--) {
		size_t n;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		n = smaller(iov->iov_len - skip, len - done);
		memcpy((char *)data + done, (char *)iov->iov_base + skip, n);
		done += n;
		skip = 0;
	}
	return done;
}

size_t rumpel_iov_write(const struct iovec *iov, unsigned int count, size_t skip, const void *data,
			size_t len)
{
	size_t done = 0;

	for (; count && done < len; iov++, count--) {
		size_t n;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		n = smaller(iov->iov_len - skip, len - done);
		memcpy((char *)iov->iov_base + skip, (const char *)data + done, n);
		done += n;
		skip = 0;
	}
	return done;
}

void rumpel_iov_copy(const struct iovec *to, size_t to_skip, const struct iovec *from,
		     size_t from_skip, size_t len)
{
	while (len) {
		size_t n;

		if (from_skip >= from->iov_len) {
			from_skip -= from->iov_len;
			from++;
			continue;
		}
		if (to_skip >= to->iov_len) {
			to_skip -= to->iov_len;
			to++;
			continue;
		}
		n = smaller(smaller(from->iov_len - from_skip, to->iov_len - to_skip), len);
		/* Two buffers of one guest may overlap: its own fault, but no undefined one. */
		memmove((char *)to->iov_base + to_skip, (char *)from->iov_base + from_skip, n);
		from_skip += n;
		to_skip += n;
		len -= n;
	}
}

unsigned int rumpel_iov_skip(struct iovec **iov, unsigned int count, size_t skip)
{
	while (count && skip >= (*iov)->iov_len) {
		skip -= (*iov)->iov_len;
		(*iov)++;
		count--;
	}
	if (count && skip) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + skip;
		(*iov)->iov_len -= skip;
	}
	return count;
}

unsigned int rumpel_iov_trim(struct iovec *iov, unsigned int count, size_t len)
{
	unsigned int kept = 0;

	while (kept < count && len) {
		if (iov[kept].iov_len > len)
			iov[kept].iov_len = len;
		len -= iov[kept].iov_len;
		kept++;
	}
	return kept;
}
