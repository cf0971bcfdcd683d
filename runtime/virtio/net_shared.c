// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames in memory that two processes share.
 *
 * Records are in the ring, one behind the other: small frames as they are, of large
 * ones the number of the slot that they lie in. Slots are used again in any order, those
 * with low numbers first: where frames are taken as they come, few are in use, which
 * stay in a CPU's cache.
 */
#define _GNU_SOURCE
#include "net_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net.h"
#include "queue.h"

#define RING_BYTES (256u << 10)
#define SLOTS 8u /* what stays in a CPU's cache */
#define SLOT_BYTES (17u << 12)
/* Bytes of a frame that gets a slot: less are sooner copied than found room for. */
#define LARGE 16384u
#define ALIGN 16u

_Static_assert(SLOT_BYTES >= RUMPEL_NET_HEADER + RUMPEL_NET_GSO_MAX, "a slot takes any frame");

struct record {
	uint32_t size; /* of header and frame; 0: the ring goes on at its beginning */
	uint32_t slot; /* IN_RING: they are behind this */
	char bytes[];
};

#define IN_RING UINT32_MAX

/* A direction. All of these are atomic; each line of the cache has one writer, mostly. */
struct net_shared_half {
	struct {
		_Alignas(64) uint32_t put; /* bytes that were ever put into the ring */
		uint32_t ended;
	} writer;
	struct {
		_Alignas(64) uint32_t taken; /* bytes that it can have again */
	} reader;
	_Alignas(64) uint32_t used; /* slots, a bit for each */
	/* Set by who sleeps, cleared by who kicks. */
	_Alignas(64) uint32_t reader_waits;
	uint32_t writer_waits;
	_Alignas(4096) char ring[RING_BYTES];
	_Alignas(4096) char slots[SLOTS][SLOT_BYTES];
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
	/* To touch what the other end has cut off would end this process. Whoever made it without
	 * MFD_ALLOW_SEALING trusts both. */
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
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

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Of who waits: says so before it looks again. */
static void announce(uint32_t *waits)
{
	store(waits, 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Of who is waited for: looks at that after it has done something. */
static bool is_awaited(uint32_t *waits)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(waits) && __atomic_exchange_n(waits, 0, __ATOMIC_SEQ_CST);
}

static uint32_t record_size(uint32_t size)
{
	return (sizeof(struct record) + size + ALIGN - 1) & ~(ALIGN - 1);
}

/* ---- the writer ---- */

/* A record with so many bytes; NULL: there is no room. */
static struct record *record_new(struct net_shared *shared, uint32_t size)
{
	/* Before what it has read may be written over. */
	uint32_t used = shared->put - load(&shared->out->reader.taken);
	uint32_t at = shared->put % RING_BYTES, need = record_size(size);
	uint32_t skipped = at + need > RING_BYTES ? RING_BYTES - at : 0;

	if (used > RING_BYTES || need + skipped > RING_BYTES - used)
		return NULL;
	if (skipped) {
		store(&((struct record *)(shared->out->ring + at))->size, 0);
		at = 0;
	}
	shared->put += need + skipped;
	shared->fresh = true;
	return (struct record *)(shared->out->ring + at);
}

static bool put_small(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		      size_t len)
{
	struct record *record = record_new(shared, len);

	if (!record)
		return false;
	record->size = len;
	record->slot = IN_RING;
	rumpel_iov_read(iov, count, 0, record->bytes, len);
	return true;
}

static bool put_large(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		      size_t len)
{
	uint32_t used = load(&shared->out->used), slot = __builtin_ffs((int)~used) - 1u;
	struct record *record;

	if (slot >= SLOTS)
		return false;
	record = record_new(shared, 0);
	if (!record)
		return false;
	__atomic_fetch_or(&shared->out->used, 1u << slot, __ATOMIC_RELAXED);
	record->size = len;
	record->slot = slot;
	rumpel_iov_read(iov, count, 0, shared->out->slots[slot], len);
	return true;
}

bool net_shared_put(struct net_shared *shared, const struct iovec *iov, unsigned int count,
		    size_t len)
{
	if (len > SLOT_BYTES)
		return false;
	return len < LARGE ? put_small(shared, iov, count, len)
			   : put_large(shared, iov, count, len);
}

bool net_shared_publish(struct net_shared *shared)
{
	if (!shared->fresh)
		return false;
	shared->fresh = false;
	store(&shared->out->writer.put, shared->put);
	return is_awaited(&shared->out->reader_waits);
}

void net_shared_end(struct net_shared *shared)
{
	store(&shared->out->writer.ended, 1);
}

/* For a frame or two it is not worth to be woken. */
static bool has_room(const struct net_shared_half *half, uint32_t put, uint32_t taken)
{
	return put - taken <= RING_BYTES / 2 &&
	       (unsigned int)__builtin_popcount(load(&half->used)) <= SLOTS / 2;
}

bool net_shared_wait_for_room(struct net_shared *shared)
{
	struct net_shared_half *half = shared->out;

	announce(&half->writer_waits);
	if (!has_room(half, shared->put, load(&half->reader.taken)))
		return false;
	store(&half->writer_waits, 0);
	return true;
}

/* ---- the reader ---- */

enum net_shared_found net_shared_find(struct net_shared *shared, const char **bytes, uint32_t *size)
{
	const uint32_t left = load(&shared->in->writer.put) - shared->taken;
	uint32_t at = shared->taken % RING_BYTES, skipped = 0, need;
	const struct record *record = (const void *)(shared->in->ring + at);

	if (!left)
		return NET_SHARED_EMPTY;
	if (left > RING_BYTES || left % ALIGN)
		return NET_SHARED_DAMAGED;
	*size = load(&record->size);
	if (!*size) {
		skipped = RING_BYTES - at;
		at = 0;
		if (left <= skipped)
			return NET_SHARED_DAMAGED;
		record = (const void *)shared->in->ring;
		*size = load(&record->size);
	}
	shared->slot = load(&record->slot);
	if (*size > SLOT_BYTES || (shared->slot != IN_RING && shared->slot >= SLOTS))
		return NET_SHARED_DAMAGED;
	need = record_size(shared->slot == IN_RING ? *size : 0);
	if (need > left - skipped || need > RING_BYTES - at)
		return NET_SHARED_DAMAGED;
	*bytes = shared->slot == IN_RING ? record->bytes : shared->in->slots[shared->slot];
	shared->found = skipped + need;
	return NET_SHARED_FRAME;
}

void net_shared_take(struct net_shared *shared)
{
	struct net_shared_half *half = shared->in;

	if (shared->slot != IN_RING)
		__atomic_fetch_and(&half->used, ~(1u << shared->slot), __ATOMIC_RELEASE);
	shared->taken += shared->found;
	store(&half->reader.taken, shared->taken);
}

bool net_shared_made_room(struct net_shared *shared)
{
	struct net_shared_half *half = shared->in;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(&half->writer_waits) &&
	       has_room(half, load(&half->writer.put), shared->taken) &&
	       is_awaited(&half->writer_waits);
}

bool net_shared_has_ended(const struct net_shared *shared)
{
	return load(&shared->in->writer.ended);
}

bool net_shared_wait_for_frames(struct net_shared *shared)
{
	struct net_shared_half *half = shared->in;

	announce(&half->reader_waits);
	if (load(&half->writer.put) == shared->taken && !load(&half->writer.ended))
		return false;
	store(&half->reader_waits, 0);
	return true;
}
