/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-blk (VIRTIO 1.2, 5.2): requests; what the disk is made of is a
 * struct rumpel_block_ops.
 */
#ifndef RUMPEL_VIRTIO_BLOCK_H
#define RUMPEL_VIRTIO_BLOCK_H

#include <linux/virtio_blk.h>
#include <pthread.h>

#include "mmio.h"

#define RUMPEL_SECTOR 512
#define RUMPEL_BLOCK_RANGES 16 /* of one discard */
#define RUMPEL_BLOCK_RANGE_SECTORS (1u << 22) /* 2 GiB */

struct rumpel_block;

struct rumpel_block_request {
	struct rumpel_job job; /* first */
	struct rumpel_block *block;
	struct rumpel_block_request *spare; /* the next one that is free */
	struct rumpel_block_request *all; /* the next one there is */
	unsigned int epoch; /* of the block; another one's request is void */
	bool deferred; /* to a job, and has not ended */
	pthread_t thread; /* that runs the job; 0: none yet */
	uint32_t type; /* VIRTIO_BLK_T_* */
	uint64_t offset, end; /* bytes; end 0: it has none */
	size_t len;
	struct rumpel_chain chain;
	struct iovec *data; /* in iov */
	unsigned int data_count;
	struct iovec iov[RUMPEL_QUEUE_MAX];
	uint8_t *status;
	bool taken; /* by somebody who will end it, at some time */
};

/*
 * Ranges are checked against the disk and whole sectors. 0 or a negative
 * errno; reads and writes are complete or have failed. Several calls may run
 * at a time, on several threads. `iov` may be changed.
 */
struct rumpel_block_ops {
	/* Never waits: all is done where the request is found. */
	bool instant;
	/*
	 * As far as it goes without waiting: bytes, 0 for none. May be NULL.
	 */
	ssize_t (*read_some)(struct rumpel_block *block, const struct iovec *iov, int count,
			     uint64_t offset);
	ssize_t (*write_some)(struct rumpel_block *block, const struct iovec *iov, int count,
			      uint64_t offset);
	int (*read)(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset);
	int (*write)(struct rumpel_block *block, struct iovec *iov, int count, uint64_t offset);
	int (*flush)(struct rumpel_block *block);
	/* The range need not be kept. */
	int (*discard)(struct rumpel_block *block, uint64_t offset, uint64_t len);
	/* The range reads as zeroes; with `unmap` it need not take room. */
	int (*zero)(struct rumpel_block *block, uint64_t offset, uint64_t len, bool unmap);
	/* Locked, no request under way: makes it so long. NULL: its size is fixed. */
	int (*resize)(struct rumpel_block *block, uint64_t size);
	/*
	 * In the child of a fork: false if parent and child cannot both use the
	 * disk. All requests fail in the child then. NULL: they can.
	 */
	bool (*forked)(struct rumpel_block *block);
	void (*free)(struct rumpel_block *block);
	/*
	 * Instead of all of the above: takes the requests, which are chained by
	 * job.next, and ends each by rumpel_block_end_locked, in any thread. It must
	 * not wait; with a virtual clock they have all ended when it returns.
	 */
	void (*submit)(struct rumpel_block *block, struct rumpel_block_request *requests);
	/* The kernel is gone. */
	void (*detach)(struct rumpel_block *block);
	/* True: somebody has requests still, and calls rumpel_block_free later. */
	bool (*linger)(struct rumpel_block *block);
};

struct rumpel_block {
	struct rumpel_virtio virtio;
	const struct rumpel_block_ops *ops;
	struct virtio_blk_config config;
	char id[VIRTIO_BLK_ID_BYTES];
	uint64_t size; /* bytes, whole sectors */
	bool read_only;
	pthread_mutex_t lock; /* all below, the queue; never held during input and output */
	pthread_cond_t idle;
	unsigned int running; /* requests that use guest memory outside the lock */
	unsigned int deferred; /* requests that are jobs: these, and those not begun */
	unsigned int epoch; /* resets so far: older requests are void */
	uint64_t read_end; /* of the last read that came */
	bool starved; /* no memory for a request: look again when one ends */
	struct rumpel_block_request *spare, *all;
};

/* `block` is zeroed but for its back end's own part. -EINVAL: no whole
 * sector; -ENOMEM. */
int rumpel_block_init(struct rumpel_block *block, const struct rumpel_block_ops *ops, uint64_t size,
		      bool read_only, const char *id);
/* Locked. All that were taken fail now, and are void when they are ended. */
void rumpel_block_fail_taken(struct rumpel_block *block);
/* Any thread, locked. A void request is only given back. */
void rumpel_block_end_locked(struct rumpel_block_request *request, int error);
void rumpel_block_free(struct rumpel_block *block);

/* ---- block_request.c; all of it locked ---- */

/* NULL: no memory. */
struct rumpel_block_request *rumpel_block_request_get(struct rumpel_block *block);
void rumpel_block_request_release(struct rumpel_block_request *request);
/* Its chain was taken. 1: ended, to be published; 0: to be deferred; -EIO: broken. */
int rumpel_block_request_start(struct rumpel_block *block, struct rumpel_block_request *request);

#endif
