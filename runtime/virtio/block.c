// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk: the device. Requests are taken off the queue; what cannot be done at
 * once becomes jobs, so that a slow disk never holds the token.
 */
#include "block.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

/* A request takes two elements of a chain besides its data. */
#define BLOCK_SEGMENTS (RUMPEL_QUEUE_MAX - 2)
#define BLOCK_OPTIMUM (512u << 10)

static struct rumpel_block *to_block(struct rumpel_virtio *virtio)
{
	return (struct rumpel_block *)virtio;
}

/*
 * Locked. Everything that is on the queue now. `jobs` gets what has to wait.
 * 0, -ENOMEM, or -EIO: broken.
 */
static int block_drain(struct rumpel_block *block, struct rumpel_job **jobs)
{
	struct rumpel_queue *queue = &block->virtio.queues[0];
	struct rumpel_block_request *request;
	bool publish = false;
	int result;

	for (;;) {
		request = rumpel_block_request_get(block);
		if (!request) {
			/* There is one at least: when it ends it looks here again. */
			block->starved = true;
			result = -ENOMEM;
			break;
		}
		result = rumpel_queue_peek(queue, 0, request->iov, RUMPEL_QUEUE_MAX,
					   &request->chain);
		if (result <= 0) {
			rumpel_block_request_release(request);
			break;
		}
		rumpel_queue_take(queue, 1);
		result = rumpel_block_request_start(block, request);
		if (result < 0) {
			rumpel_block_request_release(request);
			break;
		}
		if (result) {
			publish = true;
		} else {
			block->deferred += !block->ops->submit;
			*jobs = &request->job;
			jobs = &request->job.next;
		}
	}
	if (publish)
		rumpel_virtio_publish(&block->virtio, queue);
	return result;
}

static void defer_all(struct rumpel_kernel *kernel, struct rumpel_job *jobs)
{
	struct rumpel_job *job;

	while ((job = jobs)) {
		jobs = job->next;
		job->next = NULL;
		rumpel_kernel_defer(kernel, job);
	}
}

static void block_service(struct rumpel_virtio *virtio)
{
	struct rumpel_block *block = to_block(virtio);
	struct rumpel_queue *queue = &virtio->queues[0];
	struct rumpel_job *jobs;
	int result;

	do {
		jobs = NULL;
		pthread_mutex_lock(&block->lock);
		rumpel_queue_notify_off(queue);
		result = block_drain(block, &jobs);
		if (result == -EIO)
			rumpel_virtio_break(virtio);
		pthread_mutex_unlock(&block->lock);
		if (!block->ops->submit)
			defer_all(virtio->device.kernel, jobs);
		else if (jobs)
			block->ops->submit(block, (struct rumpel_block_request *)jobs);
	} while (!result && rumpel_queue_notify_on(queue, 0));
}

static void block_lock(struct rumpel_virtio *virtio)
{
	pthread_mutex_lock(&to_block(virtio)->lock);
}

static void block_unlock(struct rumpel_virtio *virtio)
{
	pthread_mutex_unlock(&to_block(virtio)->lock);
}

/*
 * Requests that a thread works on are waited for: their buffers are the
 * driver's again after this. Jobs that have not begun find themselves void.
 */
static void block_quiesce(struct rumpel_virtio *virtio)
{
	struct rumpel_block *block = to_block(virtio);

	block->epoch++;
	while (block->running)
		pthread_cond_wait(&block->idle, &block->lock);
}

/* Void jobs still look at their requests: they have all been run or begun by now. */
static void block_finish(struct rumpel_virtio *virtio)
{
	struct rumpel_block *block = to_block(virtio);

	pthread_mutex_lock(&block->lock);
	while (block->deferred)
		pthread_cond_wait(&block->idle, &block->lock);
	pthread_mutex_unlock(&block->lock);
}

/*
 * Jobs of other threads are not done any more, wherever they were: again. One
 * that this thread is in the middle of goes on.
 */
static void block_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct rumpel_block *block = to_block(virtio);
	struct rumpel_block_request *request;

	if (stage != RUMPEL_FORK_CHILD)
		return;
	if (!rumpel_kernel_is_copied(virtio->device.kernel))
		block->epoch++;
	if (block->ops->forked && !block->ops->forked(block))
		virtio->device.lost = true;
	pthread_cond_init(&block->idle, NULL);
	block->running = block->deferred = 0;
	for (request = block->all; request; request = request->all) {
		if (!request->deferred)
			continue;
		if (request->thread && pthread_equal(request->thread, pthread_self())) {
			block->running++;
			block->deferred++;
			continue;
		}
		block->deferred++;
		request->thread = 0;
		request->job.next = NULL;
		rumpel_kernel_defer(virtio->device.kernel, &request->job);
	}
}

static void block_detach(struct rumpel_virtio *virtio)
{
	struct rumpel_block *block = to_block(virtio);

	if (block->ops->detach)
		block->ops->detach(block);
}

void rumpel_block_free(struct rumpel_block *block)
{
	struct rumpel_block_request *request = block->all, *next;

	for (; request; request = next) {
		next = request->all;
		free(request);
	}
	pthread_mutex_destroy(&block->lock);
	pthread_cond_destroy(&block->idle);
	block->ops->free(block);
}

static void block_free(struct rumpel_virtio *virtio)
{
	struct rumpel_block *block = to_block(virtio);

	if (!block->ops->linger || !block->ops->linger(block))
		rumpel_block_free(block);
}

static const struct rumpel_virtio_ops block_virtio_ops = {
	.service = block_service,
	.lock = block_lock,
	.unlock = block_unlock,
	.quiesce = block_quiesce,
	.detach = block_detach,
	.finish = block_finish,
	.fork = block_fork,
	.free = block_free,
};

int rumpel_block_init(struct rumpel_block *block, const struct rumpel_block_ops *ops, uint64_t size,
		      bool read_only, const char *id)
{
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_TOPOLOGY | 1ull << VIRTIO_BLK_F_FLUSH;

	block->size = size - size % RUMPEL_SECTOR;
	if (!block->size)
		return -EINVAL;
	block->ops = ops;
	block->read_only = read_only;
	memcpy(block->id, id, strnlen(id, sizeof(block->id)));
	block->config.capacity = block->size / RUMPEL_SECTOR;
	block->config.seg_max = BLOCK_SEGMENTS;
	block->config.blk_size = RUMPEL_SECTOR;
	/* Any sector can be written, but the host's pages are the cheaper unit. */
	block->config.physical_block_exp = 3;
	block->config.min_io_size = 8;
	/* Linux reads ahead twice as much: each request costs what copying 64 KiB does. */
	block->config.opt_io_size = BLOCK_OPTIMUM / RUMPEL_SECTOR;
	if (read_only) {
		features |= 1ull << VIRTIO_BLK_F_RO;
	} else {
		features |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
		block->config.max_discard_sectors = RUMPEL_BLOCK_RANGE_SECTORS;
		block->config.max_discard_seg = RUMPEL_BLOCK_RANGES;
		block->config.discard_sector_alignment = 8;
		block->config.max_write_zeroes_sectors = RUMPEL_BLOCK_RANGE_SECTORS;
		block->config.max_write_zeroes_seg = RUMPEL_BLOCK_RANGES;
		block->config.write_zeroes_may_unmap = 1;
	}
	block->spare = rumpel_block_request_get(block);
	if (!block->spare)
		return -ENOMEM;
	block->spare->spare = NULL;
	pthread_mutex_init(&block->lock, NULL);
	pthread_cond_init(&block->idle, NULL);
	rumpel_virtio_init(&block->virtio, &block_virtio_ops, VIRTIO_ID_BLOCK, features,
			   &block->config, sizeof(block->config), 1);
	return 0;
}

/* Locked. Requests beyond the new end fail from now on, and none is under way. */
static int block_set_size(struct rumpel_block *block, uint64_t size)
{
	uint64_t before = block->size;
	int error = 0;

	if (size < before)
		block->size = size;
	while (block->running)
		pthread_cond_wait(&block->idle, &block->lock);
	error = block->ops->resize(block, size);
	block->size = error ? before : size;
	return error;
}

int rumpel_block_resize(struct rumpel_device *device, uint64_t size)
{
	struct rumpel_block *block =
		(struct rumpel_block *)rumpel_virtio_of(device, VIRTIO_ID_BLOCK);
	const uint64_t capacity = size / RUMPEL_SECTOR;
	int error;

	if (!block || !size || size % RUMPEL_SECTOR || size > INT64_MAX)
		return -EINVAL;
	if (block->read_only)
		return -EROFS;
	if (!block->ops->resize)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&block->lock);
	error = block_set_size(block, size);
	pthread_mutex_unlock(&block->lock);
	if (!error)
		rumpel_virtio_configure(&block->virtio, &block->config.capacity, &capacity,
					sizeof(capacity));
	return error;
}
