// SPDX-License-Identifier: GPL-2.0-only
/* Promises of disks that a server of NBD has. */
#include <endian.h>
#include <linux/nbd.h>
#include <linux/virtio_blk.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../virtio/nbd.h"
#include "fake.h"

#define DISK (1u << 20)
#define CAN (NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_TRIM | 1 << 6)
#define THREADS 8
#define ROUNDS 200

/* How the server answers. */
enum manner { WELL, BACKWARDS, NO_MAGIC, OF_NOBODY, HALF, ERROR };

struct server {
	int fd, theirs;
	pthread_mutex_t lock; /* all below, but while it waits */
	enum manner manner;
	uint32_t error; /* that it says */
	unsigned int wanted; /* BACKWARDS: so many at a time */
	char *data;
	unsigned int flushes, trims, holes, zeroes;
	bool goodbye;
	pthread_t thread;
};

static bool all(int fd, void *data, size_t len, bool send_it)
{
	for (ssize_t done; len; len -= done, data = (char *)data + done) {
		done = send_it ? send(fd, data, len, MSG_NOSIGNAL) : recv(fd, data, len, 0);
		if (done <= 0)
			return false;
	}
	return true;
}

static bool answer(struct server *server, const struct nbd_request *request)
{
	struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };
	uint64_t from = be64toh(request->from);
	uint32_t len = be32toh(request->len);

	memcpy(&reply.handle, &request->handle, sizeof(reply.handle));
	if (server->manner == NO_MAGIC)
		reply.magic = 0;
	if (server->manner == OF_NOBODY)
		reply.handle[7] ^= 0x55;
	if (server->manner == ERROR)
		reply.error = htobe32(server->error);
	if (server->manner == HALF)
		return all(server->fd, &reply, sizeof(reply), true) &&
		       all(server->fd, server->data, len / 2, true) && false;
	if (!all(server->fd, &reply, sizeof(reply), true))
		return false;
	return server->manner == ERROR || be32toh(request->type) != NBD_CMD_READ ||
	       all(server->fd, server->data + from, len, true);
}

static bool do_it(struct server *server, const struct nbd_request *request)
{
	uint64_t from = be64toh(request->from);
	uint32_t type = be32toh(request->type), len = be32toh(request->len);

	CHECK(be32toh(request->magic) == NBD_REQUEST_MAGIC);
	CHECK(from <= DISK && len <= DISK - from);
	switch (type & 0xffff) {
	case NBD_CMD_WRITE:
		return all(server->fd, server->data + from, len, false);
	case NBD_CMD_FLUSH:
		server->flushes++;
		break;
	case NBD_CMD_TRIM:
		server->trims++;
		break;
	case 6:
		memset(server->data + from, 0, len);
		*(type >> 16 ? &server->zeroes : &server->holes) += 1;
		break;
	case NBD_CMD_DISC:
		server->goodbye = true;
		return false;
	}
	return true;
}

static bool locked(bool (*function)(struct server *, const struct nbd_request *),
		   struct server *server, const struct nbd_request *request)
{
	bool going;

	pthread_mutex_lock(&server->lock);
	going = function(server, request);
	pthread_mutex_unlock(&server->lock);
	return going;
}

static int byte_at(struct server *server, uint64_t offset)
{
	int byte;

	pthread_mutex_lock(&server->lock);
	byte = server->data[offset];
	pthread_mutex_unlock(&server->lock);
	return byte;
}

static unsigned int count_of(struct server *server, const unsigned int *what)
{
	unsigned int count;

	pthread_mutex_lock(&server->lock);
	count = *what;
	pthread_mutex_unlock(&server->lock);
	return count;
}

static void *serve(void *arg)
{
	struct server *server = arg;
	struct nbd_request requests[THREADS];
	unsigned int count;
	bool going = true;

	while (going) {
		for (count = 0; going && count < server->wanted; count++)
			going = all(server->fd, &requests[count], sizeof(requests[0]), false) &&
				locked(do_it, server, &requests[count]);
		while (going && count)
			going = locked(answer, server, &requests[--count]);
	}
	close(server->fd);
	return NULL;
}

static struct server *start(enum manner manner, unsigned int wanted)
{
	struct server *server = calloc(1, sizeof(*server));
	int ends[2];

	EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	*server = (struct server){ .fd = ends[0], .theirs = ends[1], .manner = manner };
	server->wanted = wanted;
	server->data = calloc(1, DISK);
	memset(server->data, 'b', DISK);
	pthread_mutex_init(&server->lock, NULL);
	EQUAL(pthread_create(&server->thread, NULL, serve, server), 0);
	return server;
}

static void stop(struct server *server)
{
	close(server->theirs);
	EQUAL(pthread_join(server->thread, NULL), 0);
	free(server->data);
	free(server);
}

static struct rumpel_nbd *client(struct server *server, unsigned int flags)
{
	struct rumpel_nbd *nbd;

	EQUAL(rumpel_nbd_open(server->theirs, DISK, flags, &nbd), 0);
	return nbd;
}

static int transfer(struct rumpel_nbd *nbd, void *data, size_t len, uint64_t offset, bool write)
{
	struct iovec iov[] = { { data, len / 2 }, { (char *)data + len / 2, len - len / 2 } };

	return rumpel_nbd_transfer(nbd, iov, 2, offset, write);
}

/* ---- as disk of a kernel ---- */

struct disk {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queue;
	uint64_t header, data, status;
};

/* Its data. */
static char *disk_up(struct disk *disk)
{
	fake_attach(disk->kernel, disk->device);
	driver_up(disk->device, &disk->queue, 1, 64);
	disk->header = fake_pages(disk->kernel, 4096);
	disk->data = fake_pages(disk->kernel, 4096);
	disk->status = fake_pages(disk->kernel, 4096);
	return fake_at(disk->kernel, disk->data);
}

static int ask(struct disk *disk, uint32_t type, uint64_t sector, uint32_t len)
{
	struct virtio_blk_outhdr *header = fake_at(disk->kernel, disk->header);
	struct driver_buffer buffers[] = {
		{ disk->header, sizeof(*header), false },
		{ disk->data, len, type == VIRTIO_BLK_T_IN },
		{ disk->status, 1, true },
	};

	*header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	if (!len)
		buffers[1] = buffers[2];
	driver_add(&disk->queue, buffers, len ? 3 : 2);
	driver_kick(&disk->queue);
	fake_run(disk->kernel);
	fake_jobs(disk->kernel);
	CHECK(driver_used(&disk->queue, NULL, NULL));
	return *(uint8_t *)fake_at(disk->kernel, disk->status);
}

static void test_disk(void)
{
	struct server *server = start(WELL, 1);
	struct disk disk = { .kernel = fake_kernel(false) };
	struct virtio_blk_discard_write_zeroes range = { .sector = 8, .num_sectors = 8 };
	char *data;

	EQUAL(rumpel_block_nbd(server->theirs, DISK, CAN, &disk.device), 0);
	data = disk_up(&disk);
	memset(data, 'w', 4096);
	EQUAL(ask(&disk, VIRTIO_BLK_T_OUT, 8, 4096), VIRTIO_BLK_S_OK);
	EQUAL(byte_at(server, 8 * 512 + 4095), 'w');
	memset(data, 0, 4096);
	EQUAL(ask(&disk, VIRTIO_BLK_T_IN, 8, 4096), VIRTIO_BLK_S_OK);
	EQUAL(data[4095], 'w');
	EQUAL(ask(&disk, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	EQUAL(count_of(server, &server->flushes), 1);
	memcpy(data, &range, sizeof(range));
	EQUAL(ask(&disk, VIRTIO_BLK_T_DISCARD, 0, sizeof(range)), VIRTIO_BLK_S_OK);
	EQUAL(count_of(server, &server->trims), 1);
	EQUAL(ask(&disk, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range)), VIRTIO_BLK_S_OK);
	EQUAL(count_of(server, &server->zeroes), 1);
	EQUAL(byte_at(server, 8 * 512), 0);
	EQUAL(ask(&disk, VIRTIO_BLK_T_IN, DISK / 512, 512), VIRTIO_BLK_S_IOERR);
	fake_kernel_free(disk.kernel);
	/* It was told that nothing more comes. */
	pthread_join(server->thread, NULL);
	CHECK(server->goodbye);
	close(server->theirs);
	free(server->data);
	free(server);
}

/* What the server has not is not offered, and nothing of it is sent. */
static void test_poor_server(void)
{
	struct server *server = start(WELL, 1);
	struct rumpel_kernel *kernel = fake_kernel(false);
	struct rumpel_device *device;
	struct rumpel_nbd *nbd;
	uint64_t offered;

	EQUAL(rumpel_block_nbd(server->theirs, DISK, NBD_FLAG_HAS_FLAGS, &device), 0);
	fake_attach(kernel, device);
	offered = driver_offered(device);
	CHECK(!(offered & (1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES)));
	fake_kernel_free(kernel);
	pthread_join(server->thread, NULL);
	EQUAL(rumpel_block_nbd(-1, DISK, 0, &device), -EBADF);
	EQUAL(rumpel_block_nbd(server->theirs, 511, 0, &device), -EINVAL);
	nbd = client(server, NBD_FLAG_HAS_FLAGS);
	EQUAL(rumpel_nbd_flush(nbd), 0);
	EQUAL(rumpel_nbd_discard(nbd, 0, 4096), 0);
	EQUAL(rumpel_nbd_zero(nbd, 0, 4096, true), -EOPNOTSUPP);
	rumpel_nbd_free(nbd);
	close(server->theirs);
	free(server->data);
	free(server);
}

static void *transfer_much(void *arg)
{
	struct rumpel_nbd *nbd = ((void **)arg)[0];
	unsigned int number = (unsigned int)(uintptr_t)((void **)arg)[1];
	char data[4096], back[4096];

	for (unsigned int i = 0; i < ROUNDS; i++) {
		memset(data, (int)(number * ROUNDS + i), sizeof(data));
		EQUAL(transfer(nbd, data, sizeof(data), number * sizeof(data), true), 0);
		EQUAL(transfer(nbd, back, sizeof(back), number * sizeof(data), false), 0);
		CHECK(!memcmp(data, back, sizeof(data)));
	}
	return NULL;
}

/* As many requests as threads are under way; the last is answered first. */
static void test_threads(void)
{
	struct server *server = start(BACKWARDS, THREADS);
	struct rumpel_nbd *nbd = client(server, CAN);
	void *args[THREADS][2];
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++) {
		args[i][0] = nbd;
		args[i][1] = (void *)i;
		EQUAL(pthread_create(&threads[i], NULL, transfer_much, args[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		EQUAL(pthread_join(threads[i], NULL), 0);
	/* It waits for as many more. */
	shutdown(server->theirs, SHUT_RDWR);
	rumpel_nbd_free(nbd);
	stop(server);
}

/* Its error is ours; what Linux may not say is EIO. The connection goes on. */
static void test_errors(void)
{
	static const struct {
		uint32_t said;
		int is;
	} errors[] = { { ENOSPC, -ENOSPC }, { EPERM, -EPERM }, { EIO, -EIO }, { 4711, -EIO } };
	struct server *server = start(ERROR, 1);
	struct rumpel_nbd *nbd = client(server, CAN);
	char data[1024] = { 0 };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		pthread_mutex_lock(&server->lock);
		server->error = errors[i].said;
		pthread_mutex_unlock(&server->lock);
		EQUAL(transfer(nbd, data, sizeof(data), 0, i % 2), errors[i].is);
	}
	EQUAL(transfer(nbd, data, sizeof(data), DISK, false), -EIO);
	EQUAL(transfer(nbd, data, sizeof(data), DISK - 512, false), -EIO);
	rumpel_nbd_free(nbd);
	stop(server);
}

static void bad(enum manner manner)
{
	struct server *server = start(manner, 1);
	struct rumpel_nbd *nbd = client(server, CAN);
	char data[4096];

	EQUAL(transfer(nbd, data, sizeof(data), 0, false), -EIO);
	/* For good: nothing that it says can be trusted any more. */
	EQUAL(transfer(nbd, data, sizeof(data), 0, false), -EIO);
	EQUAL(rumpel_nbd_flush(nbd), -EIO);
	rumpel_nbd_free(nbd);
	stop(server);
}

static void test_bad_servers(void)
{
	bad(NO_MAGIC);
	bad(OF_NOBODY);
	bad(HALF);
}

static void *read_once(void *arg)
{
	char data[4096];

	return (void *)(intptr_t)transfer(arg, data, sizeof(data), 0, false);
}

/* All that wait for it, in whatever state. */
static void test_death(void)
{
	struct server *server = start(BACKWARDS, THREADS);
	struct rumpel_nbd *nbd = client(server, CAN);
	pthread_t threads[THREADS - 1];
	void *result;

	for (unsigned int i = 0; i < THREADS - 1; i++)
		EQUAL(pthread_create(&threads[i], NULL, read_once, nbd), 0);
	shutdown(server->fd, SHUT_RDWR);
	for (unsigned int i = 0; i < THREADS - 1; i++) {
		EQUAL(pthread_join(threads[i], &result), 0);
		EQUAL((intptr_t)result, -EIO);
	}
	rumpel_nbd_free(nbd);
	stop(server);
}

/* The connection stays the parent's: the child sends nothing on it, not even the end. */
static void test_fork(void)
{
	struct server *server = start(WELL, 1);
	struct rumpel_nbd *nbd = client(server, CAN);
	char data[4096] = { 1 };
	int status;
	pid_t pid = fork();

	if (!pid) {
		rumpel_nbd_forked(nbd);
		status = transfer(nbd, data, sizeof(data), 0, true) != -EIO;
		rumpel_nbd_free(nbd);
		_exit(status);
	}
	EQUAL(waitpid(pid, &status, 0), pid);
	EQUAL(status, 0);
	EQUAL(transfer(nbd, data, sizeof(data), 0, true), 0);
	rumpel_nbd_free(nbd);
	stop(server);
}

/* An overlay reads it, and commits to it. */
static void test_overlay(void)
{
	struct server *server = start(WELL, 1);
	struct rumpel_overlay_nbd base = { server->theirs, DISK, CAN, "qcow2" };
	struct rumpel_overlay *overlay;
	struct disk disk = { .kernel = fake_kernel(false) };
	const char *why;
	char *data;

	EQUAL(rumpel_overlay_open_nbd(&base, NULL, NULL, &overlay, &why), 0);
	EQUAL(rumpel_block_overlay(overlay, &disk.device), 0);
	data = disk_up(&disk);
	memset(data, 'o', 512);
	EQUAL(ask(&disk, VIRTIO_BLK_T_OUT, 3, 512), VIRTIO_BLK_S_OK);
	EQUAL(ask(&disk, VIRTIO_BLK_T_IN, 0, 4096), VIRTIO_BLK_S_OK);
	EQUAL(data[0], 'b');
	EQUAL(data[3 * 512], 'o');
	EQUAL(byte_at(server, 3 * 512), 'b');
	fake_kernel_free(disk.kernel);
	EQUAL(rumpel_overlay_commit(overlay), 0);
	EQUAL(byte_at(server, 3 * 512), 'o');
	EQUAL(byte_at(server, 4 * 512), 'b');
	EQUAL(count_of(server, &server->flushes), 1);
	rumpel_overlay_free(overlay);
	/* One that is only read has no commit. */
	base.flags |= NBD_FLAG_READ_ONLY;
	EQUAL(rumpel_overlay_open_nbd(&base, NULL, NULL, &overlay, &why), 0);
	EQUAL(rumpel_overlay_commit(overlay), -EROFS);
	rumpel_overlay_free(overlay);
	stop(server);
}

static const struct test tests[] = {
	{ test_disk, "reads, writes, flushes, trims and zeroes arrive, and the end" },
	{ test_poor_server, "what a server cannot is not offered" },
	{ test_threads, "many requests at a time, answered in any order" },
	{ test_errors, "errors of the server" },
	{ test_bad_servers, "a server that does not keep to the protocol" },
	{ test_death, "a server that dies" },
	{ test_fork, "in the child of a fork the connection is the parent's" },
	{ test_overlay, "an overlay over a server" },
};

TEST_MAIN(tests)
