/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the library, whose kernels belong to one process, and the
 * runtime that several processes share (shared/).
 */
#ifndef RUMPEL_RUNTIME_PLATFORM_H
#define RUMPEL_RUNTIME_PLATFORM_H

#ifdef RUMPEL_SHARED
#include "shared/platform.h"
#else
#include <linux/futex.h>
#include <sys/mman.h>

/* The calling thread's number; 0 until it has called rumpel_thread_init(). */
extern __thread uint32_t rumpel_tid __attribute__((tls_model("initial-exec")));

#define RUMPEL_FUTEX FUTEX_PRIVATE_FLAG

struct rumpel_kernel;

/* Whose memory the calls of this thread's tasks mean: see struct rumpel_caller. */
static inline unsigned int rumpel_own_process(void)
{
	return 0;
}

/* Token held, as it was by another thread before. */
static inline void rumpel_took_over(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

/* A leader has slept for that long. Token held. */
static inline void rumpel_look_around(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

/* Has something ended this thread's waits? Then each of them is as if a signal had come. */
static inline bool rumpel_interrupted(void)
{
	return false;
}

/* The same, and it is not so any more; it is again. */
static inline bool rumpel_take_interrupt(void)
{
	return false;
}

static inline void rumpel_interrupt_again(void)
{
}

/* How long to wait for the token, up to `limit`, before rumpel_look_after(). */
static inline uint64_t rumpel_patience(uint64_t limit)
{
	return limit;
}

/* How long a leader sleeps, up to `limit`, before rumpel_look_around(). */
static inline uint64_t rumpel_patience_of_leader(uint64_t limit)
{
	return limit;
}

/* The token's holder may be gone. Token not held. */
static inline void rumpel_look_after(struct rumpel_kernel *kernel)
{
	(void)kernel;
}

/* How long a housekeeper rests at most while somebody leads. */
static inline uint64_t rumpel_rest_limit(void)
{
	return RUMPEL_NO_DEADLINE;
}

/* Does this process do the work of devices, and may it open descriptors? */
static inline bool rumpel_may_work(void)
{
	return true;
}

/* Where it does not: the one that does is told that there is some. */
static inline void rumpel_call_worker(void)
{
}

/* A snapshot has only those pages of an image's data that have been written to. */
#define RUMPEL_SNAPSHOT_IS_WHOLE false

/* Puts a part of an image there, or zeroes (fd -1). */
static inline void *rumpel_image_map(void *at, size_t len, int prot, int fd, off_t offset)
{
	const int flags = MAP_PRIVATE | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0);

	return mmap(at, len, prot, flags, fd, offset);
}
#endif

#endif
