// SPDX-License-Identifier: GPL-2.0-only
/*
 * A disk that the program serves itself. It takes requests when it has time, and
 * ends them in any order, so that nothing in the kernel waits but who wants the
 * data. Data is copied: what the program does to it, and for how long, is no
 * concern of the driver's buffers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"

/* The disk's part and the program's; the last of both to go frees it. */
struct rumpel_block_server {
	struct rumpel_block block; /* first */
	unsigned int refs; /* of the device, the handle, and each request that was taken; atomic */
	void (*ready)(void *context);
	void *context;
	pthread_mutex_t queue_lock;
	pthread_cond_t more;
	struct rumpel_block_request *first, **last; /* not taken yet */
	bool gone; /* the kernel is */
	bool at_once; /* a virtual clock: requests are taken in ready() only */
	bool failed; /* for good */
};

static struct rumpel_block_server *to_server(struct rumpel_block *block)
{
	return (struct rumpel_block_server *)block;
}

static struct rumpel_block_request *next_of(const struct rumpel_block_request *request)
{
	return (struct rumpel_block_request *)request->job.next;
}

static void server_put(struct rumpel_block_server *server)
{
	if (!__atomic_sub_fetch(&server->refs, 1, __ATOMIC_ACQ_REL))
		rumpel_block_free(&server->block);
}

static void end(struct rumpel_block_request *request, const void *data, int error)
{
	struct rumpel_block *block = request->block;
	void *copy = NULL;

	/*
	 * What is given may be a mapping of the kernel, and its pages may have to be
	 * read from this disk: not with the lock.
	 */
	if (request->type == VIRTIO_BLK_T_IN && data && !error) {
		copy = malloc(request->len);
		if (copy)
			memcpy(copy, data, request->len);
		else
			error = -ENOMEM;
	}
	pthread_mutex_lock(&block->lock);
	if (request->epoch == block->epoch && copy && !error)
		rumpel_iov_write(request->data, request->data_count, 0, copy, request->len);
	rumpel_block_end_locked(request, error);
	pthread_mutex_unlock(&block->lock);
	free(copy);
	server_put(to_server(block));
}

/* Queue locked. */
static struct rumpel_block_request *take_one(struct rumpel_block_server *server)
{
	struct rumpel_block_request *request = server->first;

	if (!request)
		return NULL;
	server->first = next_of(request);
	if (!server->first)
		server->last = &server->first;
	__atomic_add_fetch(&server->refs, 1, __ATOMIC_RELAXED);
	return request;
}

static void fail_queued(struct rumpel_block_server *server)
{
	struct rumpel_block_request *request;

	do {
		pthread_mutex_lock(&server->queue_lock);
		request = take_one(server);
		pthread_mutex_unlock(&server->queue_lock);
		if (request)
			end(request, NULL, -EIO);
	} while (request);
}

static void server_submit(struct rumpel_block *block, struct rumpel_block_request *requests)
{
	struct rumpel_block_server *server = to_server(block);
	bool at_once = rumpel_kernel_is_virtual(block->virtio.device.kernel), failed;

	pthread_mutex_lock(&server->queue_lock);
	server->at_once = at_once;
	*server->last = requests;
	while (*server->last)
		server->last = (struct rumpel_block_request **)&(*server->last)->job.next;
	pthread_cond_broadcast(&server->more);
	/* Nobody comes for them again once it was taken away. */
	failed = server->failed || server->gone;
	pthread_mutex_unlock(&server->queue_lock);
	if (failed)
		fail_queued(server);
	else if (at_once)
		server->ready(server->context);
}

static void server_detach(struct rumpel_block *block)
{
	struct rumpel_block_server *server = to_server(block);

	pthread_mutex_lock(&server->queue_lock);
	server->gone = true;
	pthread_cond_broadcast(&server->more);
	pthread_mutex_unlock(&server->queue_lock);
}

/* Who serves it is a thread of the parent. */
static bool server_forked(struct rumpel_block *block)
{
	struct rumpel_block_server *server = to_server(block);

	pthread_mutex_init(&server->queue_lock, NULL);
	pthread_cond_init(&server->more, NULL);
	server->gone = server->failed = true;
	for (struct rumpel_block_request *request = server->first; request;
	     request = next_of(request))
		request->taken = true;
	server->first = NULL;
	server->last = &server->first;
	rumpel_block_fail_taken(block);
	return false;
}

static bool server_linger(struct rumpel_block *block)
{
	/* Also of a device that no kernel ever had. */
	server_detach(block);
	server_put(to_server(block));
	return true;
}

static void server_free(struct rumpel_block *block)
{
	struct rumpel_block_server *server = to_server(block);

	pthread_mutex_destroy(&server->queue_lock);
	pthread_cond_destroy(&server->more);
	free(server);
}

static const struct rumpel_block_ops server_ops = {
	.submit = server_submit,
	.detach = server_detach,
	.forked = server_forked,
	.linger = server_linger,
	.free = server_free,
};

static int op_of(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return RUMPEL_BLOCK_READ;
	case VIRTIO_BLK_T_OUT:
		return RUMPEL_BLOCK_WRITE;
	case VIRTIO_BLK_T_FLUSH:
		return RUMPEL_BLOCK_FLUSH;
	case VIRTIO_BLK_T_DISCARD:
		return RUMPEL_BLOCK_DISCARD;
	default:
		return RUMPEL_BLOCK_ZERO;
	}
}

/* 5.2.6.2: one range, as the configuration says. The request is not void. */
static int read_range(const struct rumpel_block_request *request, struct rumpel_block_io *io)
{
	const struct rumpel_block *block = request->block;
	struct virtio_blk_discard_write_zeroes range;
	uint32_t flags = io->op == RUMPEL_BLOCK_ZERO ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;

	if (request->len != sizeof(range))
		return -EINVAL;
	rumpel_iov_read(request->data, request->data_count, 0, &range, sizeof(range));
	if (range.flags & ~flags)
		return -EOPNOTSUPP;
	if (range.sector > block->config.capacity ||
	    range.num_sectors > block->config.capacity - range.sector)
		return -EINVAL;
	io->offset = range.sector * RUMPEL_SECTOR;
	io->len = (uint64_t)range.num_sectors * RUMPEL_SECTOR;
	return 0;
}

/* False: it has ended. */
static bool describe(struct rumpel_block_request *request, struct rumpel_block_io *io)
{
	struct rumpel_block *block = request->block;
	int error = 0;

	*io = (struct rumpel_block_io){
		.op = op_of(request->type),
		.offset = request->offset,
		.len = request->len,
		.request = request,
	};
	pthread_mutex_lock(&block->lock);
	request->taken = true;
	if (request->epoch != block->epoch)
		error = -ECANCELED;
	else if (io->op >= RUMPEL_BLOCK_DISCARD)
		error = read_range(request, io);
	pthread_mutex_unlock(&block->lock);
	if (error)
		rumpel_block_io_end(io, NULL, error);
	return !error;
}

int rumpel_block_take(struct rumpel_block_server *server, bool wait, struct rumpel_block_io *ios,
		      size_t count)
{
	struct rumpel_block_request *request;
	size_t taken = 0;
	bool gone;

	do {
		pthread_mutex_lock(&server->queue_lock);
		while (wait && (!server->first || server->at_once || server->failed) &&
		       !server->gone)
			pthread_cond_wait(&server->more, &server->queue_lock);
		gone = server->gone;
		/* What comes to a dead disk is left to the one who submits it. */
		while (taken < count && !server->failed && (request = take_one(server)))
			ios[taken++].request = request;
		pthread_mutex_unlock(&server->queue_lock);
		for (size_t i = taken; i--;)
			if (!describe(ios[i].request, &ios[i]))
				ios[i] = ios[--taken];
	} while (wait && !taken && !gone);
	return taken || !gone ? (int)taken : -ESHUTDOWN;
}

int rumpel_block_io_data(const struct rumpel_block_io *io, void *data)
{
	struct rumpel_block_request *request = io->request;
	struct rumpel_block *block = request->block;
	void *copy = malloc(io->len);
	int error = 0;

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&block->lock);
	if (request->epoch != block->epoch)
		error = -ECANCELED;
	else
		rumpel_iov_read(request->data, request->data_count, 0, copy, io->len);
	pthread_mutex_unlock(&block->lock);
	/* As in end(): to a mapping only without the lock. */
	if (!error)
		memcpy(data, copy, io->len);
	free(copy);
	return error;
}

void rumpel_block_io_end(const struct rumpel_block_io *io, const void *data, int error)
{
	end(io->request, data, error);
}

void rumpel_block_fail(struct rumpel_block_server *server)
{
	struct rumpel_block *block = &server->block;

	pthread_mutex_lock(&server->queue_lock);
	server->failed = true;
	pthread_mutex_unlock(&server->queue_lock);
	fail_queued(server);
	pthread_mutex_lock(&block->lock);
	rumpel_block_fail_taken(block);
	pthread_mutex_unlock(&block->lock);
}

void rumpel_block_server_free(struct rumpel_block_server *server)
{
	if (server)
		server_put(server);
}

/* The unit of transfers is a power of two from a sector to a page. */
static bool is_block_size(uint32_t size)
{
	return size >= RUMPEL_SECTOR && size <= 4096 && !(size & (size - 1));
}

int rumpel_block_served(uint64_t size, uint32_t block_size, unsigned int flags,
			void (*ready)(void *context), void *context,
			struct rumpel_block_server **server, struct rumpel_device **device)
{
	struct rumpel_block_server *made;
	int error;

	if (!is_block_size(block_size) ||
	    (flags & ~(RUMPEL_BLOCK_READ_ONLY | RUMPEL_BLOCK_NO_DISCARD)))
		return -EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	error = rumpel_block_init(&made->block, &server_ops, size - size % block_size,
				  flags & RUMPEL_BLOCK_READ_ONLY, "rumpel-served");
	if (error) {
		free(made);
		return error;
	}
	made->block.config.blk_size = block_size;
	made->block.config.max_discard_seg = 1;
	made->block.config.max_write_zeroes_seg = 1;
	if (flags & RUMPEL_BLOCK_NO_DISCARD)
		made->block.virtio.offered &= ~(1ull << VIRTIO_BLK_F_DISCARD);
	made->refs = 2;
	made->ready = ready;
	made->context = context;
	made->last = &made->first;
	pthread_mutex_init(&made->queue_lock, NULL);
	pthread_cond_init(&made->more, NULL);
	*server = made;
	*device = &made->block.virtio.device;
	return 0;
}
