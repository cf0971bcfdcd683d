// SPDX-License-Identifier: GPL-2.0-only
/* Promises of the block devices. */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake.h"

#define DISK (1u << 20)

struct disk {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queue;
	uint64_t header, data, status;
};

static struct disk disk_up(struct rumpel_device *device, bool is_virtual)
{
	struct disk disk = { .kernel = fake_kernel(is_virtual), .device = device };

	fake_attach(disk.kernel, device);
	driver_up(device, &disk.queue, 1, 64);
	disk.header = fake_pages(disk.kernel, 4096);
	disk.data = fake_pages(disk.kernel, 128 << 10);
	disk.status = fake_pages(disk.kernel, 4096);
	return disk;
}

static void header(struct disk *disk, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr *header = fake_at(disk->kernel, disk->header);

	*header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	*(uint8_t *)fake_at(disk->kernel, disk->status) = 0xff;
}

static void submit(struct disk *disk, uint32_t type, uint64_t sector, size_t len)
{
	bool reads = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct driver_buffer buffers[] = {
		{ disk->header, sizeof(struct virtio_blk_outhdr), false },
		{ disk->data, len, reads },
		{ disk->status, 1, true },
	};

	header(disk, type, sector);
	driver_add(&disk->queue, buffers, 3);
	driver_kick(&disk->queue);
	fake_run(disk->kernel);
}

static int request(struct disk *disk, uint32_t type, uint64_t sector, size_t len)
{
	submit(disk, type, sector, len);
	fake_jobs(disk->kernel);
	CHECK(driver_used(&disk->queue, NULL, NULL));
	return *(uint8_t *)fake_at(disk->kernel, disk->status);
}

static char *temporary(size_t size)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/rumpel-test-XXXXXX");
	fd = mkstemp(path);
	CHECK(fd >= 0 && !ftruncate(fd, size));
	close(fd);
	return path;
}

static void round_trip(struct disk *disk)
{
	char *data = fake_at(disk->kernel, disk->data);

	for (int i = 0; i < 8192; i++)
		data[i] = i * 7;
	EQUAL(request(disk, VIRTIO_BLK_T_OUT, 3, 8192), VIRTIO_BLK_S_OK);
	memset(data, 0, 8192);
	EQUAL(request(disk, VIRTIO_BLK_T_IN, 3, 8192), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 8192; i++)
		EQUAL(data[i], (char)(i * 7));
	EQUAL(request(disk, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	EQUAL(fake_stats(disk->device).in_bytes, 8192);
	EQUAL(fake_stats(disk->device).out, 1);
	CHECK(fake_interrupts(disk->device) > 0);
}

static void test_memory(void)
{
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_memory(NULL, DISK + 100, 0, &device), 0);
	disk = disk_up(device, false);
	EQUAL(driver_read(device, VIRTIO_MMIO_CONFIG), DISK / 512);
	round_trip(&disk);
	fake_kernel_free(disk.kernel);
}

static void test_callers_memory(void)
{
	static char data[65536];
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_memory(data, sizeof(data), 0, &device), 0);
	disk = disk_up(device, true);
	round_trip(&disk);
	EQUAL(data[3 * 512 + 1], 7);
	fake_kernel_free(disk.kernel);
}

static void test_file(bool is_virtual)
{
	struct rumpel_device *device;
	char *path = temporary(DISK + 100);
	struct disk disk;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, is_virtual);
	EQUAL(driver_read(device, VIRTIO_MMIO_CONFIG), DISK / 512);
	round_trip(&disk);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void test_file_host(void)
{
	test_file(false);
}

static void test_file_virtual(void)
{
	test_file(true);
}

static void test_file_no_jobs(void)
{
	struct rumpel_device *device;
	char *path = temporary(DISK);
	struct disk disk;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, true);
	submit(&disk, VIRTIO_BLK_T_OUT, 0, 512);
	submit(&disk, VIRTIO_BLK_T_FLUSH, 0, 0);
	CHECK(!disk.kernel->jobs);
	EQUAL(disk.queue.used->idx, 2);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

/* Of 128 KiB from a buffer that is taken as often as it needs; whether it became a job. */
static bool read_is_job(struct disk *disk, uint64_t sector, unsigned int times)
{
	struct driver_buffer buffers[8] = {
		{ disk->header, sizeof(struct virtio_blk_outhdr), false },
	};
	unsigned int jobs;

	header(disk, VIRTIO_BLK_T_IN, sector);
	for (unsigned int i = 1; i <= times; i++)
		buffers[i] = (struct driver_buffer){ disk->data, 128 << 10, true };
	buffers[1 + times] = (struct driver_buffer){ disk->status, 1, true };
	driver_add(&disk->queue, buffers, 2 + times);
	driver_kick(&disk->queue);
	fake_run(disk->kernel);
	jobs = fake_jobs(disk->kernel);
	CHECK(driver_used(&disk->queue, NULL, NULL));
	EQUAL(*(uint8_t *)fake_at(disk->kernel, disk->status), VIRTIO_BLK_S_OK);
	return jobs;
}

/* After the first two all of it is in the host's page cache, so that nothing has to wait. */
static void test_file_ahead(void)
{
	struct rumpel_device *device;
	char *path = temporary(DISK);
	struct disk disk;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	read_is_job(&disk, 0, 6);
	read_is_job(&disk, 6 * 256, 2);
	CHECK(!read_is_job(&disk, 256, 2));
	CHECK(read_is_job(&disk, 3 * 256, 2));
	CHECK(!read_is_job(&disk, 5 * 256, 1));
	CHECK(!read_is_job(&disk, 0, 2));
	fake_one_cpu = true;
	CHECK(!read_is_job(&disk, 2 * 256, 2));
	fake_one_cpu = false;
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void test_open_errors(void)
{
	struct rumpel_device *device;
	char *path = temporary(0);

	EQUAL(rumpel_block_file("/nonexistent/disk", 0, &device), -ENOENT);
	EQUAL(rumpel_block_file("/tmp", 0, &device), -EISDIR);
	EQUAL(rumpel_block_file("/tmp", RUMPEL_BLOCK_READ_ONLY, &device), -EISDIR);
	EQUAL(rumpel_block_file("/dev/null", 0, &device), -ENOTBLK);
	EQUAL(rumpel_block_file(path, 0, &device), -EINVAL);
	EQUAL(rumpel_block_file(path, 1 << 30, &device), -EINVAL);
	EQUAL(rumpel_block_memory(NULL, 511, 0, &device), -EINVAL);
	unlink(path);
}

static void test_locks(void)
{
	struct rumpel_device *first, *second;
	char *path = temporary(DISK);

	EQUAL(rumpel_block_file(path, 0, &first), 0);
	EQUAL(rumpel_block_file(path, 0, &second), -EBUSY);
	EQUAL(rumpel_block_file(path, RUMPEL_BLOCK_READ_ONLY, &second), -EBUSY);
	rumpel_device_free(first);
	EQUAL(rumpel_block_file(path, RUMPEL_BLOCK_READ_ONLY, &first), 0);
	EQUAL(rumpel_block_file(path, RUMPEL_BLOCK_READ_ONLY, &second), 0);
	rumpel_device_free(second);
	EQUAL(rumpel_block_file(path, 0, &second), -EBUSY);
	rumpel_device_free(first);
	unlink(path);
}

static void test_read_only(void)
{
	struct rumpel_device *device;
	char *path = temporary(DISK);
	struct disk disk;

	EQUAL(rumpel_block_file(path, RUMPEL_BLOCK_READ_ONLY, &device), 0);
	disk = disk_up(device, false);
	CHECK(driver_offered(device) & 1ull << VIRTIO_BLK_F_RO);
	EQUAL(request(&disk, VIRTIO_BLK_T_IN, 0, 512), VIRTIO_BLK_S_OK);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void test_bounds(void)
{
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	disk = disk_up(device, false);
	EQUAL(request(&disk, VIRTIO_BLK_T_IN, DISK / 512 - 1, 512), VIRTIO_BLK_S_OK);
	EQUAL(request(&disk, VIRTIO_BLK_T_IN, DISK / 512 - 1, 1024), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, DISK / 512, 512), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, ~0ull, 512), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, 1ull << 55, 512), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_IN, 0, 100), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, 99, 0, 512), VIRTIO_BLK_S_UNSUPP);
	EQUAL(fake_stats(device).errors, 6);
	fake_kernel_free(disk.kernel);
}

static int ranges(struct disk *disk, uint32_t type, uint64_t sector, uint32_t sectors,
		  uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes *range = fake_at(disk->kernel, disk->data);

	*range = (struct virtio_blk_discard_write_zeroes){ sector, sectors, flags };
	return request(disk, type, 0, sizeof(*range));
}

static void zeroes(struct disk *disk, uint32_t flags)
{
	char *data = fake_at(disk->kernel, disk->data);

	memset(data, 'x', 65536);
	EQUAL(request(disk, VIRTIO_BLK_T_OUT, 0, 65536), VIRTIO_BLK_S_OK);
	EQUAL(ranges(disk, VIRTIO_BLK_T_WRITE_ZEROES, 1, 100, flags), VIRTIO_BLK_S_OK);
	EQUAL(request(disk, VIRTIO_BLK_T_IN, 0, 65536), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 65536; i++)
		EQUAL(data[i], i < 512 || i >= 101 * 512 ? 'x' : 0);
	EQUAL(ranges(disk, VIRTIO_BLK_T_DISCARD, 8, 64, 0), VIRTIO_BLK_S_OK);
	EQUAL(ranges(disk, VIRTIO_BLK_T_DISCARD, 8, 64, 1), VIRTIO_BLK_S_UNSUPP);
	EQUAL(ranges(disk, VIRTIO_BLK_T_DISCARD, DISK / 512, 1, 0), VIRTIO_BLK_S_IOERR);
	EQUAL(ranges(disk, VIRTIO_BLK_T_WRITE_ZEROES, 1, 0xffffffff, 0), VIRTIO_BLK_S_IOERR);
}

static void test_zeroes(void)
{
	char *path = temporary(DISK);
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	disk = disk_up(device, false);
	zeroes(&disk, 0);
	zeroes(&disk, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	fake_kernel_free(disk.kernel);

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	zeroes(&disk, 0);
	zeroes(&disk, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void test_discard_gives_room_back(void)
{
	char *path = temporary(DISK);
	struct rumpel_device *device;
	struct stat before, after;
	struct disk disk;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	memset(fake_at(disk.kernel, disk.data), 'x', 65536);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, 0, 65536), VIRTIO_BLK_S_OK);
	EQUAL(stat(path, &before), 0);
	EQUAL(ranges(&disk, VIRTIO_BLK_T_DISCARD, 0, 64, 0), VIRTIO_BLK_S_OK);
	EQUAL(stat(path, &after), 0);
	CHECK(after.st_blocks < before.st_blocks);
	EQUAL(after.st_size, DISK);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void test_id(void)
{
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	disk = disk_up(device, false);
	EQUAL(request(&disk, VIRTIO_BLK_T_GET_ID, 0, 20), VIRTIO_BLK_S_OK);
	CHECK(!strcmp(fake_at(disk.kernel, disk.data), "rumpel-memory"));
	fake_kernel_free(disk.kernel);
}

/* 2.7.4.1: a device must not care where a driver cuts its buffers. */
static void test_any_layout(void)
{
	struct rumpel_device *device;
	struct disk disk;
	char *data;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	disk = disk_up(device, false);
	data = fake_at(disk.kernel, disk.data);
	memset(data, 'a', 1024);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, 5, 1024), VIRTIO_BLK_S_OK);
	header(&disk, VIRTIO_BLK_T_IN, 5);
	{
		/* Header in three parts, data in two odd ones, status with data. */
		struct driver_buffer buffers[] = {
			{ disk.header, 1, false },	 { disk.header + 1, 0, false },
			{ disk.header + 1, 10, false },	 { disk.header + 11, 5, false },
			{ disk.data + 4096, 300, true }, { disk.data + 8192, 725, true },
		};

		driver_add_indirect(&disk.queue, buffers, 6);
	}
	driver_kick(&disk.queue);
	fake_run(disk.kernel);
	CHECK(driver_used(&disk.queue, NULL, NULL));
	EQUAL(data[8192 + 724], VIRTIO_BLK_S_OK);
	for (int i = 0; i < 300; i++)
		EQUAL(data[4096 + i], 'a');
	for (int i = 0; i < 724; i++)
		EQUAL(data[8192 + i], 'a');
	fake_kernel_free(disk.kernel);
}

/* What the device has said that it takes: seg_max, and two for the rest. */
static void test_most_segments(void)
{
	struct driver_buffer buffers[RUMPEL_QUEUE_MAX];
	struct rumpel_device *device;
	struct disk disk;
	uint64_t pages;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	disk = disk_up(device, false);
	pages = fake_pages(disk.kernel, RUMPEL_QUEUE_MAX * 512);
	header(&disk, VIRTIO_BLK_T_IN, 0);
	buffers[0] = (struct driver_buffer){ disk.header, 16, false };
	for (unsigned int i = 1; i < RUMPEL_QUEUE_MAX - 1; i++)
		buffers[i] = (struct driver_buffer){ pages + i * 512, 512, true };
	buffers[RUMPEL_QUEUE_MAX - 1] = (struct driver_buffer){ disk.data, 1, true };
	*(uint8_t *)fake_at(disk.kernel, disk.data) = 0xff;
	driver_add_indirect(&disk.queue, buffers, RUMPEL_QUEUE_MAX);
	driver_kick(&disk.queue);
	fake_run(disk.kernel);
	CHECK(driver_used(&disk.queue, NULL, NULL));
	EQUAL(*(uint8_t *)fake_at(disk.kernel, disk.data), VIRTIO_BLK_S_OK);
	fake_kernel_free(disk.kernel);
}

static void test_malformed(void)
{
	struct rumpel_device *device;
	struct disk disk;

	for (int kind = 0; kind < 3; kind++) {
		struct driver_buffer buffers[2];

		EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
		disk = disk_up(device, false);
		buffers[0] = (struct driver_buffer){ disk.header, kind == 0 ? 15 : 16, false };
		buffers[1] = (struct driver_buffer){ disk.status, kind == 1 ? 0 : 1, kind != 2 };
		header(&disk, VIRTIO_BLK_T_FLUSH, 0);
		driver_add(&disk.queue, buffers, 2);
		driver_kick(&disk.queue);
		fake_run(disk.kernel);
		CHECK(!driver_used(&disk.queue, NULL, NULL));
		CHECK(driver_read(device, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		fake_kernel_free(disk.kernel);
	}
}

static void test_reset_voids_jobs(void)
{
	char *path = temporary(DISK);
	struct rumpel_device *device;
	struct disk disk;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	submit(&disk, VIRTIO_BLK_T_FLUSH, 0, 0);
	CHECK(disk.kernel->jobs);
	driver_up(device, &disk.queue, 1, 64);
	EQUAL(fake_jobs(disk.kernel), 1);
	EQUAL(disk.queue.used->idx, 0);
	EQUAL(*(uint8_t *)fake_at(disk.kernel, disk.status), 0xff);
	round_trip(&disk);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void *worker(void *kernel)
{
	for (int idle = 0; idle < 1000;) {
		if (fake_jobs(kernel))
			idle = 0;
		else
			idle++, usleep(100);
	}
	return NULL;
}

/* Many flushes and reads in flight, ended by two threads at once. */
static void test_concurrent_jobs(void)
{
	char *path = temporary(DISK);
	struct rumpel_device *device;
	pthread_t threads[2];
	struct disk disk;
	unsigned int used = 0, sent = 0;
	bool seen[64] = { 0 };

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	header(&disk, VIRTIO_BLK_T_FLUSH, 0);
	for (int i = 0; i < 2; i++)
		EQUAL(pthread_create(&threads[i], NULL, worker, disk.kernel), 0);
	while (used < 2000) {
		uint32_t head;

		while (sent < 2000 && sent - used < 32) {
			struct driver_buffer buffers[] = {
				{ disk.header, 16, false },
				{ disk.status, 1, true },
			};

			/* Chains of two: heads are even. */
			head = (disk.queue.next_desc) & 63;
			if (seen[head])
				break;
			seen[driver_add(&disk.queue, buffers, 2)] = true;
			sent++;
		}
		driver_kick(&disk.queue);
		fake_run(disk.kernel);
		while (driver_used(&disk.queue, &head, NULL)) {
			CHECK(head < 64 && seen[head]);
			seen[head] = false;
			used++;
		}
	}
	EQUAL(*(uint8_t *)fake_at(disk.kernel, disk.status), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static void grow_and_shrink(struct rumpel_device *device)
{
	struct disk disk = disk_up(device, false);
	uint32_t generation = driver_read(device, VIRTIO_MMIO_CONFIG_GENERATION);
	const uint64_t last = 2 * DISK / 512 - 1;

	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, last, 512), VIRTIO_BLK_S_IOERR);
	fake_interrupts(device);
	EQUAL(rumpel_block_resize(device, 2 * DISK), 0);
	EQUAL(driver_read(device, VIRTIO_MMIO_CONFIG), 2 * DISK / 512);
	CHECK(generation != driver_read(device, VIRTIO_MMIO_CONFIG_GENERATION));
	CHECK(driver_read(device, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	CHECK(fake_interrupts(device));
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, last, 512), VIRTIO_BLK_S_OK);
	EQUAL(rumpel_block_resize(device, DISK), 0);
	EQUAL(driver_read(device, VIRTIO_MMIO_CONFIG), DISK / 512);
	EQUAL(request(&disk, VIRTIO_BLK_T_OUT, last, 512), VIRTIO_BLK_S_IOERR);
	EQUAL(request(&disk, VIRTIO_BLK_T_IN, DISK / 512 - 1, 512), VIRTIO_BLK_S_OK);
	EQUAL(rumpel_block_resize(device, 513), -EINVAL);
	EQUAL(rumpel_block_resize(device, 0), -EINVAL);
	fake_kernel_free(disk.kernel);
}

static void test_resize(void)
{
	static char data[65536];
	struct rumpel_device *device;
	char *path = temporary(DISK);
	struct stat stat;

	EQUAL(rumpel_block_memory(NULL, DISK, 0, &device), 0);
	grow_and_shrink(device);
	EQUAL(rumpel_block_file(path, 0, &device), 0);
	grow_and_shrink(device);
	EQUAL(lstat(path, &stat), 0);
	EQUAL(stat.st_size, DISK);
	EQUAL(rumpel_block_file(path, RUMPEL_BLOCK_READ_ONLY, &device), 0);
	EQUAL(rumpel_block_resize(device, 2 * DISK), -EROFS);
	rumpel_device_free(device);
	EQUAL(rumpel_block_memory(data, sizeof(data), 0, &device), 0);
	EQUAL(rumpel_block_resize(device, 2 * DISK), -EOPNOTSUPP);
	rumpel_device_free(device);
	unlink(path);
}

/* What waits to be written beyond the new end must not make the file longer again. */
static void test_shrink_with_jobs(void)
{
	char *path = temporary(DISK);
	struct rumpel_device *device;
	struct disk disk;
	struct stat stat;

	EQUAL(rumpel_block_file(path, 0, &device), 0);
	disk = disk_up(device, false);
	EQUAL(rumpel_block_resize(device, DISK), 0);
	/* A flush always has to wait: so does what is behind it. */
	submit(&disk, VIRTIO_BLK_T_FLUSH, 0, 0);
	submit(&disk, VIRTIO_BLK_T_OUT, DISK / 512 - 1, 512);
	EQUAL(rumpel_block_resize(device, DISK / 2), 0);
	fake_jobs(disk.kernel);
	EQUAL(lstat(path, &stat), 0);
	EQUAL(stat.st_size, DISK / 2);
	fake_kernel_free(disk.kernel);
	unlink(path);
}

static const struct test tests[] = {
	{ test_memory, "memory: what is written can be read; odd sizes are rounded down" },
	{ test_callers_memory, "memory: the caller's buffer is the disk" },
	{ test_file_host, "file: what is written can be read" },
	{ test_file_virtual, "file: also with a virtual clock" },
	{ test_file_no_jobs, "file: with a virtual clock nothing is put off" },
	{ test_file_ahead, "file: what is read ahead is another CPU's, if there is one" },
	{ test_open_errors, "file: errors of opening say what is wrong" },
	{ test_locks, "file: never two writers, never readers beside a writer" },
	{ test_read_only, "file: read-only is enforced and offered" },
	{ test_bounds, "requests beyond the disk, or not of whole sectors, are errors" },
	{ test_zeroes, "write zeroes and discard touch their range only" },
	{ test_discard_gives_room_back, "discard makes the file smaller on the host's disk" },
	{ test_id, "the disk has a name" },
	{ test_most_segments, "a request may have as many segments as the device says" },
	{ test_any_layout, "a request may be cut into buffers anywhere" },
	{ test_malformed, "a request without header or status breaks the device, not the host" },
	{ test_reset_voids_jobs, "jobs from before a reset touch nothing" },
	{ test_resize, "another size: the driver hears of it, requests are held to it" },
	{ test_shrink_with_jobs, "a disk that shrinks is not made longer by what was under way" },
	{ test_concurrent_jobs, "jobs end on several threads, each request once" },
};

TEST_MAIN(tests)
