// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-blk: takes requests off the queue, checks them, and does at once what
 * needs no waiting. The rest becomes jobs, so that a slow disk never holds the
 * token. Requests complete in any order, as they may (5.2.6).
 */
#include "block.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

/* A request takes two elements of a chain besides its data. */
#define BLOCK_SEGMENTS (RUMPEL_QUEUE_MAX - 2)
#define BLOCK_OPTIMUM (512u << 10)
#define BLOCK_RANGES 16 /* of one discard */
#define BLOCK_RANGE_SECTORS (1u << 22) /* 2 GiB */
#define BLOCK_RANGE_FLAGS VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

static struct rumpel_block *to_block(struct rumpel_virtio *virtio)
{
	return (struct rumpel_block *)virtio;
}

/* Locked. */
static struct rumpel_block_request *request_get(struct rumpel_block *block)
{
	struct rumpel_block_request *request = block->spare;

	if (request) {
		block->spare = request->spare;
		return request;
	}
	request = malloc(sizeof(*request));
	if (!request)
		return NULL;
	request->block = block;
	request->all = block->all;
	block->all = request;
	return request;
}

/* Locked. */
static void request_release(struct rumpel_block_request *request)
{
	request->deferred = false;
	request->spare = request->block->spare;
	request->block->spare = request;
}

static uint8_t status_of(int error)
{
	if (!error)
		return VIRTIO_BLK_S_OK;
	return error == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* Locked. The request's element goes on the used ring; not published yet. */
static void request_answer(struct rumpel_block_request *request, int error)
{
	struct rumpel_block *block = request->block;
	struct rumpel_device_stats *stats = &block->virtio.stats;
	bool reads = request->chain.in_len > 1;

	*request->status = status_of(error);
	if (error) {
		rumpel_virtio_count(&stats->errors, 1);
	} else if (request->type == VIRTIO_BLK_T_IN) {
		rumpel_virtio_count(&stats->in, 1);
		rumpel_virtio_count(&stats->in_bytes, request->len);
	} else if (request->type == VIRTIO_BLK_T_OUT) {
		rumpel_virtio_count(&stats->out, 1);
		rumpel_virtio_count(&stats->out_bytes, request->len);
	}
	/* 2.7.8: no more than was surely written, counted from the start. */
	rumpel_queue_put(&block->virtio.queues[0], request->chain.head,
			 !error ? request->chain.in_len : !reads);
}

/* Locked. */
static void request_end(struct rumpel_block_request *request, int error)
{
	request_answer(request, error);
	request_release(request);
}

/* VIRTIO 1.2, 5.2.6: DISCARD and WRITE_ZEROES carry a list of ranges. */
static int do_ranges(struct rumpel_block_request *request)
{
	struct virtio_blk_discard_write_zeroes ranges[BLOCK_RANGES];
	struct rumpel_block *block = request->block;
	bool zero = request->type == VIRTIO_BLK_T_WRITE_ZEROES;
	size_t count = request->len / sizeof(ranges[0]);
	uint64_t capacity = __atomic_load_n(&block->size, __ATOMIC_RELAXED) / RUMPEL_SECTOR;
	int error;

	if (!count || count > BLOCK_RANGES || request->len % sizeof(ranges[0]))
		return -EINVAL;
	rumpel_iov_read(request->data, request->data_count, 0, ranges, request->len);
	for (size_t i = 0; i < count; i++) {
		uint64_t sectors = ranges[i].num_sectors;
		uint64_t flags = ranges[i].flags;

		/* 5.2.6.2: unknown flags, and UNMAP of a discard, are unsupported. */
		if (flags & ~(uint64_t)BLOCK_RANGE_FLAGS || (flags && !zero))
			return -EOPNOTSUPP;
		if (sectors > BLOCK_RANGE_SECTORS || ranges[i].sector > capacity ||
		    sectors > capacity - ranges[i].sector)
			return -EINVAL;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t offset = ranges[i].sector * RUMPEL_SECTOR;
		uint64_t len = (uint64_t)ranges[i].num_sectors * RUMPEL_SECTOR;

		if (!len)
			continue;
		if (zero)
			error = block->ops->zero(block, offset, len, ranges[i].flags);
		else
			error = block->ops->discard(block, offset, len);
		if (error)
			return error;
	}
	return 0;
}

/* May wait. */
static int request_do(struct rumpel_block_request *request, struct iovec *data)
{
	struct rumpel_block *block = request->block;

	if (block->virtio.device.lost)
		return -EIO;
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
		return block->ops->read(block, data, request->data_count, request->offset);
	case VIRTIO_BLK_T_OUT:
		return block->ops->write(block, data, request->data_count, request->offset);
	case VIRTIO_BLK_T_FLUSH:
		return block->ops->flush(block);
	default:
		return do_ranges(request);
	}
}

/* Locked. */
void rumpel_block_end_locked(struct rumpel_block_request *request, int error)
{
	struct rumpel_block *block = request->block;

	request->taken = false;
	if (request->epoch != block->epoch) {
		request_release(request);
		return;
	}
	request_end(request, error);
	rumpel_virtio_publish(&block->virtio, &block->virtio.queues[0]);
	if (block->starved) {
		block->starved = false;
		rumpel_device_notify(&block->virtio.device);
	}
}

void rumpel_block_fail_taken(struct rumpel_block *block)
{
	bool any = false;

	for (struct rumpel_block_request *request = block->all; request; request = request->all) {
		if (!request->taken || request->epoch != block->epoch)
			continue;
		request_answer(request, -EIO);
		request->epoch--;
		any = true;
	}
	if (any)
		rumpel_virtio_publish(&block->virtio, &block->virtio.queues[0]);
}

/* A job: without the token, on any thread of the kernel. */
static void request_run(struct rumpel_job *job)
{
	struct rumpel_block_request *request = (struct rumpel_block_request *)job;
	struct rumpel_block *block = request->block;
	struct iovec data[RUMPEL_QUEUE_MAX];
	int error = 0;
	bool fits;

	pthread_mutex_lock(&block->lock);
	if (request->epoch == block->epoch) {
		block->running++;
		/* The disk may have shrunk. */
		fits = request->end <= block->size;
		request->thread = pthread_self();
		/* The back end may change it, and the child of a fork begins again. */
		memcpy(data, request->data, request->data_count * sizeof(data[0]));
		pthread_mutex_unlock(&block->lock);
		error = fits ? request_do(request, data) : -EIO;
		pthread_mutex_lock(&block->lock);
		block->running--;
	}
	block->deferred--;
	rumpel_block_end_locked(request, error);
	if (!block->running)
		pthread_cond_broadcast(&block->idle);
	pthread_mutex_unlock(&block->lock);
}

/* Locked. What needs no waiting. 1: done, with *error; 0: not (all of it). */
static int request_try(struct rumpel_block_request *request, int *error)
{
	const struct rumpel_block_ops *ops = request->block->ops;
	ssize_t (*some)(struct rumpel_block *, const struct iovec *, int, uint64_t) = NULL;
	ssize_t done;

	*error = 0;
	if (request->block->virtio.device.lost) {
		*error = -EIO;
		return 1;
	}
	if (ops->submit)
		return 0;
	if (ops->instant || rumpel_kernel_is_virtual(request->block->virtio.device.kernel)) {
		*error = request_do(request, request->data);
		return 1;
	}
	if (request->type == VIRTIO_BLK_T_IN)
		some = ops->read_some;
	else if (request->type == VIRTIO_BLK_T_OUT)
		some = ops->write_some;
	if (!some)
		return 0;
	done = some(request->block, request->data, request->data_count, request->offset);
	if (done < 0) {
		*error = done;
		return 1;
	}
	request->offset += done;
	request->data_count = rumpel_iov_skip(&request->data, request->data_count, done);
	return !request->data_count;
}

static int check_transfer(struct rumpel_block *block, struct rumpel_block_request *request,
			  uint64_t sector)
{
	if (request->type == VIRTIO_BLK_T_OUT && block->read_only)
		return -EROFS;
	if (request->len % RUMPEL_SECTOR || sector > block->size / RUMPEL_SECTOR ||
	    request->len / RUMPEL_SECTOR > block->size / RUMPEL_SECTOR - sector)
		return -EINVAL;
	request->offset = sector * RUMPEL_SECTOR;
	request->end = request->offset + request->len;
	return 0;
}

/*
 * Splits the chain into header, data and status (5.2.6), wherever the driver
 * cuts its buffers (2.7.4.1). 1: to be done; else the result.
 */
static int request_parse(struct rumpel_block *block, struct rumpel_block_request *request)
{
	struct virtio_blk_outhdr header;
	struct iovec *in = request->iov + request->chain.out;
	unsigned int count;
	int error;

	rumpel_iov_read(request->iov, request->chain.out, 0, &header, sizeof(header));
	request->type = header.type;
	request->end = 0;
	request->data = request->iov;
	switch (header.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_GET_ID:
		request->data = in;
		request->len = request->chain.in_len - 1;
		request->data_count = rumpel_iov_trim(in, request->chain.in, request->len);
		break;
	default:
		request->len = request->chain.out_len - sizeof(header);
		count = rumpel_iov_skip(&request->data, request->chain.out, sizeof(header));
		request->data_count = count;
	}

	switch (header.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		error = check_transfer(block, request, header.sector);
		if (error || !request->len)
			return error;
		return 1;
	case VIRTIO_BLK_T_FLUSH:
		return 1;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return block->read_only ? -EROFS : 1;
	case VIRTIO_BLK_T_GET_ID:
		rumpel_iov_write(request->data, request->data_count, 0, block->id,
				 sizeof(block->id));
		return 0;
	}
	return -EOPNOTSUPP;
}

/* Locked. 1: ended, to be published; 0: to be deferred; -EIO: broken. */
static int request_start(struct rumpel_block *block, struct rumpel_block_request *request)
{
	const struct rumpel_chain *chain = &request->chain;
	const struct iovec *last;
	int error, state;

	/* Without room for these there is no way to answer. */
	if (chain->out_len < sizeof(struct virtio_blk_outhdr) || !chain->in)
		return -EIO;
	last = &request->iov[chain->out + chain->in - 1];
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	request->epoch = block->epoch;
	request->taken = false;
	state = request_parse(block, request);
	error = state;
	if (state <= 0 || request_try(request, &error)) {
		request_end(request, error);
		return 1;
	}
	request->job = (struct rumpel_job){ .run = request_run };
	request->deferred = !block->ops->submit;
	request->thread = 0;
	return 0;
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
		request = request_get(block);
		if (!request) {
			/* There is one at least: when it ends it looks here again. */
			block->starved = true;
			result = -ENOMEM;
			break;
		}
		result = rumpel_queue_peek(queue, 0, request->iov, RUMPEL_QUEUE_MAX,
					   &request->chain);
		if (result <= 0) {
			request_release(request);
			break;
		}
		rumpel_queue_take(queue, 1);
		result = request_start(block, request);
		if (result < 0) {
			request_release(request);
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
		block->config.max_discard_sectors = BLOCK_RANGE_SECTORS;
		block->config.max_discard_seg = BLOCK_RANGES;
		block->config.discard_sector_alignment = 8;
		block->config.max_write_zeroes_sectors = BLOCK_RANGE_SECTORS;
		block->config.max_write_zeroes_seg = BLOCK_RANGES;
		block->config.write_zeroes_may_unmap = 1;
	}
	block->spare = request_get(block);
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
