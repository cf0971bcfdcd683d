/* SPDX-License-Identifier: GPL-2.0-only */
/* The runtime when processes share it: see platform.h for what each thing is. */
#ifndef RUMPEL_RUNTIME_SHARED_PLATFORM_H
#define RUMPEL_RUNTIME_SHARED_PLATFORM_H

#include <rumpel/shared.h>
#include <sys/types.h>

#define rumpel_self ((struct rumpel_local __seg_gs *)0)
#define rumpel_tid (rumpel_self->tid)

/* Futexes lie in memory of several processes. */
#define RUMPEL_FUTEX 0

struct rumpel_kernel;

static inline bool rumpel_interrupted(void)
{
	return rumpel_self->interrupted;
}

static inline bool rumpel_take_interrupt(void)
{
	bool was = rumpel_self->interrupted;

	rumpel_self->interrupted = 0;
	return was;
}

static inline void rumpel_interrupt_again(void)
{
	rumpel_self->interrupted = 1;
}

uint64_t rumpel_patience(uint64_t limit);
uint64_t rumpel_patience_of_leader(uint64_t limit);
void rumpel_look_after(struct rumpel_kernel *kernel);
void rumpel_look_around(struct rumpel_kernel *kernel);
unsigned int rumpel_own_process(void);
void rumpel_took_over(struct rumpel_kernel *kernel);
/* Who may die while he does a disk's work is not to begin with it. */
uint64_t rumpel_rest_limit(void);
bool rumpel_may_work(void);
void rumpel_call_worker(void);
/* A snapshot has all of the image that is written to, not only what has been. */
#define RUMPEL_SNAPSHOT_IS_WHOLE true
void *rumpel_image_map(void *at, size_t len, int prot, int fd, off_t offset);

#endif
