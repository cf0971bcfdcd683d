// SPDX-License-Identifier: GPL-2.0-only
/* Frames in memory that two processes share. */
#define _GNU_SOURCE
#include "net_shared.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue.h"

#define BYTES (512u << 10) /* of a half: some frames, which stay in a CPU's cache */

struct net_shared_half {
	uint64_t done; /* atomic: what the reader needs no longer */
	char pad[56]; /* a line of the cache */
	char bytes[BYTES];
};

int net_shared_open(struct net_shared *shared, int fd, bool second)
{
	const size_t size = 2 * sizeof(struct net_shared_half);
	struct stat info;
	void *at;

	if (fstat(fd, &info))
		return -errno;
	/* Both ends say so, and the first one does it. */
	if ((size_t)info.st_size < size && ftruncate(fd, (off_t)size))
		return -errno;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	shared->halves = at;
	shared->out = shared->halves + second;
	shared->in = shared->halves + !second;
	return 0;
}

void net_shared_close(struct net_shared *shared)
{
	if (shared->halves)
		munmap(shared->halves, 2 * sizeof(*shared->halves));
	shared->halves = NULL;
}

bool net_shared_put(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		    size_t len, struct net_shared_place *place)
{
	uint64_t done, put = shared->put;
	uint32_t at = put % BYTES;

	if (!shared->halves)
		return false;
	/* Before what it has read may be written over. */
	done = __atomic_load_n(&shared->out->done, __ATOMIC_ACQUIRE);
	if (at + len > BYTES) {
		put += BYTES - at;
		at = 0;
	}
	if (len > BYTES || put + len - done > BYTES)
		return false;
	rumpel_iov_read(iov, count, 0, shared->out->bytes + at, len);
	shared->put = put + len;
	*place = (struct net_shared_place){ NET_SHARED | (uint32_t)len, at, shared->put };
	return true;
}

const char *net_shared_get(const struct net_shared *shared, const struct net_shared_place *place)
{
	uint32_t size = place->size & ~NET_SHARED;

	if (!shared->halves || place->at > BYTES || size > BYTES - place->at)
		return NULL;
	return shared->in->bytes + place->at;
}

void net_shared_done(struct net_shared *shared, uint64_t end)
{
	if (shared->halves)
		__atomic_store_n(&shared->in->done, end, __ATOMIC_RELEASE);
}
