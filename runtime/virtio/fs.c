// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-fs (VIRTIO 1.2, 5.11): a directory of the host. Requests may wait for
 * the host, so each is a job; those of both queues are served alike.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "fs_server.h"
#include "mmio.h"

#define FS_QUEUES 2 /* the first is for what must not wait behind others */

struct fs;

struct fs_request {
	struct rumpel_job job; /* first */
	struct fs *fs;
	struct fs_request *spare; /* the next one that is free */
	struct fs_request *all; /* the next one there is */
	unsigned int epoch, queue;
	bool busy; /* deferred, and has not ended */
	struct rumpel_chain chain;
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

struct fs {
	struct rumpel_virtio virtio; /* first */
	struct rumpel_fs *server;
	struct virtio_fs_config config;
	pthread_mutex_t lock; /* all below, the queues; never held while a request is served */
	pthread_cond_t idle;
	unsigned int running, deferred; /* requests that are served; with those not begun */
	unsigned int epoch; /* resets so far: older requests are void */
	struct fs_request *spare, *all;
};

static struct fs *to_fs(struct rumpel_virtio *virtio)
{
	return (struct fs *)virtio;
}

/* Locked. */
static struct fs_request *request_get(struct fs *fs)
{
	struct fs_request *request = fs->spare;

	if (request) {
		fs->spare = request->spare;
		return request;
	}
	request = malloc(sizeof(*request));
	if (!request)
		return NULL;
	request->fs = fs;
	request->all = fs->all;
	fs->all = request;
	return request;
}

/* Locked. */
static void request_release(struct fs_request *request)
{
	request->busy = false;
	request->spare = request->fs->spare;
	request->fs->spare = request;
}

/* In the child of a fork: what the parent's threads have begun must not be done twice. */
static size_t refuse(const struct fs_request *request)
{
	const struct rumpel_chain *chain = &request->chain;
	struct fuse_out_header answer = { .len = sizeof(answer), .error = -EIO };
	struct fuse_in_header asked = { 0 };

	rumpel_iov_read(request->iov, chain->out, 0, &asked, sizeof(asked));
	if (asked.opcode == FUSE_FORGET || asked.opcode == FUSE_BATCH_FORGET)
		return 0;
	answer.unique = asked.unique;
	return rumpel_iov_write(request->iov + chain->out, chain->in, 0, &answer, sizeof(answer));
}

static void request_serve(struct rumpel_job *job)
{
	struct fs_request *request = (struct fs_request *)job;
	const struct rumpel_chain *chain = &request->chain;
	struct fs *fs = request->fs;
	struct rumpel_queue *queue = &fs->virtio.queues[request->queue];
	size_t len = 0;

	pthread_mutex_lock(&fs->lock);
	if (request->epoch == fs->epoch) {
		fs->running++;
		pthread_mutex_unlock(&fs->lock);
		len = fs->virtio.device.lost
			      ? refuse(request)
			      : rumpel_fs_serve(fs->server, request->iov, chain->out,
						request->iov + chain->out, chain->in);
		pthread_mutex_lock(&fs->lock);
		fs->running--;
	}
	fs->deferred--;
	if (request->epoch == fs->epoch) {
		rumpel_virtio_count(&fs->virtio.stats.in, 1);
		rumpel_virtio_count(&fs->virtio.stats.in_bytes, chain->out_len);
		rumpel_virtio_count(&fs->virtio.stats.out_bytes, len);
		rumpel_queue_put(queue, chain->head, len);
		rumpel_virtio_publish(&fs->virtio, queue);
	}
	request_release(request);
	if (!fs->running)
		pthread_cond_broadcast(&fs->idle);
	pthread_mutex_unlock(&fs->lock);
}

/* Locked. Takes all there is; 0, -ENOMEM or -EIO: broken. */
static int fs_drain(struct fs *fs, unsigned int index, struct rumpel_job **jobs)
{
	struct rumpel_queue *queue = &fs->virtio.queues[index];
	struct fs_request *request;
	int result = 0;

	while (*jobs)
		jobs = &(*jobs)->next;
	for (;;) {
		request = request_get(fs);
		if (!request)
			return -ENOMEM;
		result = rumpel_queue_peek(queue, 0, request->iov, RUMPEL_QUEUE_MAX,
					   &request->chain);
		if (result <= 0)
			break;
		rumpel_queue_take(queue, 1);
		request->job = (struct rumpel_job){ .run = request_serve };
		request->busy = true;
		request->queue = index;
		request->epoch = fs->epoch;
		fs->deferred++;
		*jobs = &request->job;
		jobs = &request->job.next;
	}
	request_release(request);
	return result;
}

static bool fs_serve_queue(struct fs *fs, unsigned int index)
{
	struct rumpel_queue *queue = &fs->virtio.queues[index];
	struct rumpel_job *jobs = NULL, *job;
	int result;

	if (!queue->ready)
		return false;
	pthread_mutex_lock(&fs->lock);
	rumpel_queue_notify_off(queue);
	result = fs_drain(fs, index, &jobs);
	if (result)
		rumpel_virtio_break(&fs->virtio);
	pthread_mutex_unlock(&fs->lock);
	while ((job = jobs)) {
		jobs = job->next;
		rumpel_kernel_defer(fs->virtio.device.kernel, job);
	}
	return !result && rumpel_queue_notify_on(queue, 0);
}

static void fs_service(struct rumpel_virtio *virtio)
{
	for (unsigned int i = 0; i < FS_QUEUES; i++)
		while (fs_serve_queue(to_fs(virtio), i))
			;
}

static void fs_lock(struct rumpel_virtio *virtio)
{
	pthread_mutex_lock(&to_fs(virtio)->lock);
}

static void fs_unlock(struct rumpel_virtio *virtio)
{
	pthread_mutex_unlock(&to_fs(virtio)->lock);
}

/* As of disks: what is being served is waited for. */
static void fs_quiesce(struct rumpel_virtio *virtio)
{
	struct fs *fs = to_fs(virtio);

	fs->epoch++;
	while (fs->running)
		pthread_cond_wait(&fs->idle, &fs->lock);
}

/* As of disks: void requests still lie in their jobs. */
static void fs_drained(struct rumpel_virtio *virtio)
{
	struct fs *fs = to_fs(virtio);

	pthread_mutex_lock(&fs->lock);
	while (fs->deferred)
		pthread_cond_wait(&fs->idle, &fs->lock);
	pthread_mutex_unlock(&fs->lock);
}

/* A directory of the host is nothing that can be copied. */
static void fs_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct fs *fs = to_fs(virtio);

	/* The server's tables may be in use by a worker. */
	if (stage == RUMPEL_FORK_PREPARE)
		pthread_mutex_lock(&fs->server->lock);
	else
		pthread_mutex_unlock(&fs->server->lock);
	if (stage != RUMPEL_FORK_CHILD)
		return;
	virtio->device.lost = true;
	pthread_cond_init(&fs->idle, NULL);
	fs->running = fs->deferred = 0;
	for (struct fs_request *request = fs->all; request; request = request->all) {
		if (!request->busy)
			continue;
		fs->deferred++;
		request->job.next = NULL;
		rumpel_kernel_defer(virtio->device.kernel, &request->job);
	}
}

static void fs_free(struct rumpel_virtio *virtio)
{
	struct fs *fs = to_fs(virtio);
	struct fs_request *request = fs->all, *next;

	for (; request; request = next) {
		next = request->all;
		free(request);
	}
	rumpel_fs_free(fs->server);
	pthread_mutex_destroy(&fs->lock);
	pthread_cond_destroy(&fs->idle);
	free(fs);
}

static const struct rumpel_virtio_ops fs_ops = {
	.service = fs_service,
	.lock = fs_lock,
	.unlock = fs_unlock,
	.quiesce = fs_quiesce,
	.finish = fs_drained,
	.fork = fs_fork,
	.free = fs_free,
};

int rumpel_host_directory(const char *path, const char *tag, unsigned int flags, uint64_t valid_ns,
			  struct rumpel_device **device)
{
	struct fs *fs;
	int error;

	if (!*tag || strlen(tag) > sizeof(fs->config.tag) || (flags & ~RUMPEL_DIRECTORY_READ_ONLY))
		return -EINVAL;
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->server = rumpel_fs_new(path, flags & RUMPEL_DIRECTORY_READ_ONLY, valid_ns, &error);
	if (!fs->server) {
		free(fs);
		return error;
	}
	memcpy(fs->config.tag, tag, strlen(tag));
	fs->config.num_request_queues = FS_QUEUES - 1;
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->idle, NULL);
	rumpel_virtio_init(&fs->virtio, &fs_ops, VIRTIO_ID_FS, 0, &fs->config, sizeof(fs->config),
			   FS_QUEUES);
	*device = &fs->virtio.device;
	return 0;
}
