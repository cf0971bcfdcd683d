// SPDX-License-Identifier: GPL-2.0-only
/* Promises of disks that the program serves itself. */
#include <linux/virtio_blk.h>
#include <unistd.h>

#include "fake.h"

#define DISK (1u << 20)

struct disk {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct rumpel_block_server *server;
	struct driver_queue queue;
	uint64_t header, data, status;
	unsigned int ready; /* calls */
};

static void on_ready(void *context)
{
	struct disk *disk = context;
	struct rumpel_block_io io;
	static char data[DISK];

	disk->ready++;
	while (rumpel_block_take(disk->server, false, &io, 1) == 1)
		rumpel_block_io_end(&io, data, 0);
}

static struct disk *begin(bool is_virtual)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	disk->kernel = fake_kernel(is_virtual);
	EQUAL(rumpel_block_served(DISK, 512, 0, on_ready, disk, &disk->server, &disk->device), 0);
	fake_attach(disk->kernel, disk->device);
	driver_up(disk->device, &disk->queue, 1, 64);
	disk->header = fake_pages(disk->kernel, 4096);
	disk->data = fake_pages(disk->kernel, 4096);
	disk->status = fake_pages(disk->kernel, 4096);
	return disk;
}

static void end(struct disk *disk)
{
	fake_kernel_free(disk->kernel);
	rumpel_block_server_free(disk->server);
	free(disk);
}

static void submit(struct disk *disk, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr *header = fake_at(disk->kernel, disk->header);
	struct driver_buffer buffers[] = {
		{ disk->header, sizeof(*header), false },
		{ disk->data, 4096, type == VIRTIO_BLK_T_IN },
		{ disk->status, 1, true },
	};

	*header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	driver_add(&disk->queue, buffers, 3);
	driver_kick(&disk->queue);
	fake_run(disk->kernel);
}

static int status(struct disk *disk)
{
	CHECK(driver_used(&disk->queue, NULL, NULL));
	return *(uint8_t *)fake_at(disk->kernel, disk->status);
}

static void test_round_trip(void)
{
	struct disk *disk = begin(false);
	struct rumpel_block_io io;
	char *data = fake_at(disk->kernel, disk->data), copy[4096];

	EQUAL(rumpel_block_take(disk->server, false, &io, 1), 0);
	memset(data, 'w', 4096);
	submit(disk, VIRTIO_BLK_T_OUT, 3);
	EQUAL(rumpel_block_take(disk->server, true, &io, 1), 1);
	EQUAL(io.op, RUMPEL_BLOCK_WRITE);
	EQUAL(io.offset, 3 * 512);
	EQUAL(io.len, 4096);
	EQUAL(rumpel_block_io_data(&io, copy), 0);
	EQUAL(copy[4095], 'w');
	CHECK(!driver_used(&disk->queue, NULL, NULL));
	rumpel_block_io_end(&io, NULL, 0);
	EQUAL(status(disk), VIRTIO_BLK_S_OK);
	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(rumpel_block_take(disk->server, true, &io, 1), 1);
	memset(copy, 'r', sizeof(copy));
	rumpel_block_io_end(&io, copy, 0);
	EQUAL(status(disk), VIRTIO_BLK_S_OK);
	EQUAL(data[4095], 'r');
	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(rumpel_block_take(disk->server, true, &io, 1), 1);
	rumpel_block_io_end(&io, NULL, -EOPNOTSUPP);
	EQUAL(status(disk), VIRTIO_BLK_S_UNSUPP);
	EQUAL(disk->ready, 0);
	end(disk);
}

static void test_at_once(void)
{
	struct disk *disk = begin(true);

	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(status(disk), VIRTIO_BLK_S_OK);
	EQUAL(disk->ready, 1);
	end(disk);
}

/* The driver has its buffers back after a reset, whatever the program still does. */
static void test_void(void)
{
	struct disk *disk = begin(false);
	struct rumpel_block_io taken, queued;
	char *data = fake_at(disk->kernel, disk->data), copy[4096];

	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(rumpel_block_take(disk->server, true, &taken, 1), 1);
	submit(disk, VIRTIO_BLK_T_OUT, 0);
	driver_up(disk->device, &disk->queue, 1, 64);
	memset(data, 'd', 4096);
	memset(copy, 'x', sizeof(copy));
	EQUAL(rumpel_block_io_data(&taken, copy), -ECANCELED);
	rumpel_block_io_end(&taken, copy, 0);
	EQUAL(rumpel_block_take(disk->server, false, &queued, 1), 0);
	EQUAL(data[0], 'd');
	CHECK(!driver_used(&disk->queue, NULL, NULL));
	/* Also once the kernel is gone, and the device with it. */
	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(rumpel_block_take(disk->server, true, &taken, 1), 1);
	fake_kernel_free(disk->kernel);
	EQUAL(rumpel_block_take(disk->server, true, &queued, 1), -ESHUTDOWN);
	rumpel_block_server_free(disk->server);
	rumpel_block_io_end(&taken, copy, 0);
	free(disk);
}

static void test_dies(void)
{
	struct disk *disk = begin(false);
	struct rumpel_block_io taken;
	char copy[4096] = { 0 };

	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(rumpel_block_take(disk->server, true, &taken, 1), 1);
	submit(disk, VIRTIO_BLK_T_IN, 8);
	rumpel_block_fail(disk->server);
	EQUAL(status(disk), VIRTIO_BLK_S_IOERR);
	EQUAL(status(disk), VIRTIO_BLK_S_IOERR);
	rumpel_block_io_end(&taken, copy, 0);
	CHECK(!driver_used(&disk->queue, NULL, NULL));
	submit(disk, VIRTIO_BLK_T_IN, 0);
	EQUAL(status(disk), VIRTIO_BLK_S_IOERR);
	end(disk);
}

static void *serve(void *argument)
{
	struct rumpel_block_server *server = argument;
	struct rumpel_block_io ios[4];
	static const char data[4096];
	int count;

	while ((count = rumpel_block_take(server, true, ios, 4)) > 0)
		for (int i = count; i--;)
			rumpel_block_io_end(&ios[i], data, 0);
	EQUAL(count, -ESHUTDOWN);
	return NULL;
}

static void test_threads(void)
{
	struct disk *disk = begin(false);
	pthread_t threads[2];
	unsigned int sent = 0, used = 0;

	for (int i = 0; i < 2; i++)
		EQUAL(pthread_create(&threads[i], NULL, serve, disk->server), 0);
	while (used < 2000) {
		if (sent < 2000 && sent - used < 16) {
			submit(disk, VIRTIO_BLK_T_IN, sent % 100);
			sent++;
		}
		while (driver_used(&disk->queue, NULL, NULL))
			used++;
	}
	fake_kernel_free(disk->kernel);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	rumpel_block_server_free(disk->server);
	free(disk);
}

static const struct test tests[] = {
	{ test_round_trip, "requests are taken and ended" },
	{ test_at_once, "with a virtual clock they are served at once" },
	{ test_void, "what a reset or the kernel's end overtook touches nothing" },
	{ test_dies, "a disk that dies fails all requests, also those that were taken" },
	{ test_threads, "several threads serve" },
};

TEST_MAIN(tests)
