// SPDX-License-Identifier: GPL-2.0-only
/*
 * A request of virtio-blk, from the chain that the driver put to its answer: checked,
 * tried where nothing has to wait, else run by a job. Requests complete in any order,
 * as they may (5.2.6).
 */
#include "block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* To copy so much takes several times as long as to wake a thread. */
#define BLOCK_LARGE (256u << 10)
#define BLOCK_RANGE_FLAGS VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP

struct rumpel_block_request *rumpel_block_request_get(struct rumpel_block *block)
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

void rumpel_block_request_release(struct rumpel_block_request *request)
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
	rumpel_block_request_release(request);
}

/* VIRTIO 1.2, 5.2.6: DISCARD and WRITE_ZEROES carry a list of ranges. */
static int do_ranges(struct rumpel_block_request *request)
{
	struct virtio_blk_discard_write_zeroes ranges[RUMPEL_BLOCK_RANGES];
	struct rumpel_block *block = request->block;
	bool zero = request->type == VIRTIO_BLK_T_WRITE_ZEROES;
	size_t count = request->len / sizeof(ranges[0]);
	uint64_t capacity = __atomic_load_n(&block->size, __ATOMIC_RELAXED) / RUMPEL_SECTOR;
	int error;

	if (!count || count > RUMPEL_BLOCK_RANGES || request->len % sizeof(ranges[0]))
		return -EINVAL;
	rumpel_iov_read(request->data, request->data_count, 0, ranges, request->len);
	for (size_t i = 0; i < count; i++) {
		uint64_t sectors = ranges[i].num_sectors;
		uint64_t flags = ranges[i].flags;

		/* 5.2.6.2: unknown flags, and UNMAP of a discard, are unsupported. */
		if (flags & ~(uint64_t)BLOCK_RANGE_FLAGS || (flags && !zero))
			return -EOPNOTSUPP;
		if (sectors > RUMPEL_BLOCK_RANGE_SECTORS || ranges[i].sector > capacity ||
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

void rumpel_block_end_locked(struct rumpel_block_request *request, int error)
{
	struct rumpel_block *block = request->block;

	request->taken = false;
	if (request->epoch != block->epoch) {
		rumpel_block_request_release(request);
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

/*
 * Locked. A large read that goes on where the last one ended is what Linux reads ahead:
 * whoever found it has something to do with what came before, while another CPU copies this.
 */
static bool is_ahead(const struct rumpel_block_request *request)
{
	struct rumpel_block *block = request->block;
	bool follows = request->offset == block->read_end;

	block->read_end = request->end;
	return follows && request->len >= BLOCK_LARGE && rumpel_kernel_has_cpus();
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
	if (request->type == VIRTIO_BLK_T_IN && !is_ahead(request))
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

int rumpel_block_request_start(struct rumpel_block *block, struct rumpel_block_request *request)
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
