// SPDX-License-Identifier: GPL-2.0-only
/* Promises of copy-on-write overlays. */
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../virtio/overlay.h"
#include "fake.h"

/* More than a table of the second level is about, and no whole cluster. */
#define DISK ((1ull << 30) + 9 * CLUSTER + 3 * 512)
#define PARTS 3
#define PART (512u << 10) /* what is looked at: the start, around the 2nd table, the end */

static const uint64_t parts[PARTS] = { 0, (1ull << 30) - PART / 2, DISK - PART };

struct scene {
	char directory[64], base[96], file[96];
	char *model[PARTS]; /* what the disk should have */
	char *under[PARTS]; /* what the base has */
	struct rumpel_overlay *overlay;
};

static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

static void fill(char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = chance(256);
}

static struct rumpel_overlay *must_open(const char *base, struct rumpel_overlay *below,
					const char *file)
{
	struct rumpel_overlay *overlay;
	const char *why;

	EQUAL(rumpel_overlay_open(base, below, file, &overlay, &why), 0);
	return overlay;
}

static struct scene begin(bool in_file)
{
	struct scene scene = { .directory = "/tmp/rumpel-overlay-XXXXXX" };
	int fd;

	seed = 1;
	CHECK(mkdtemp(scene.directory));
	snprintf(scene.base, sizeof(scene.base), "%s/base", scene.directory);
	snprintf(scene.file, sizeof(scene.file), "%s/file", scene.directory);
	fd = open(scene.base, O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && !ftruncate(fd, DISK + 100));
	for (int i = 0; i < PARTS; i++) {
		scene.model[i] = malloc(PART);
		scene.under[i] = malloc(PART);
		fill(scene.under[i], PART);
		memcpy(scene.model[i], scene.under[i], PART);
		EQUAL(pwrite(fd, scene.under[i], PART, parts[i]), PART);
	}
	close(fd);
	scene.overlay = must_open(scene.base, NULL, in_file ? scene.file : NULL);
	return scene;
}

static void end(struct scene *scene)
{
	rumpel_overlay_free(scene->overlay);
	unlink(scene->base);
	unlink(scene->file);
	rmdir(scene->directory);
	for (int i = 0; i < PARTS; i++) {
		free(scene->model[i]);
		free(scene->under[i]);
	}
}

static void compare(struct rumpel_overlay *overlay, char **model)
{
	char *data = malloc(PART);
	struct iovec iov[2];

	for (int i = 0; i < PARTS; i++) {
		memset(data, 'x', PART);
		iov[0] = (struct iovec){ data, 1000 };
		iov[1] = (struct iovec){ data + 1000, PART - 1000 };
		EQUAL(overlay_read(overlay, iov, 2, parts[i]), 0);
		CHECK(!memcmp(data, model[i], PART));
	}
	free(data);
}

/* Something that a file system might do. */
static void random_write(struct scene *scene)
{
	int part = chance(PARTS);
	uint64_t sectors = 1 + chance(chance(4) ? 16 : PART / 512 / 2);
	uint64_t at = chance(PART / 512 - sectors) * 512, len = sectors * 512;
	char *data = scene->model[part] + at;
	struct iovec iov[2] = { { data, 512 }, { data + 512, len - 512 } };

	switch (chance(6)) {
	case 0:
		memset(data, 0, len);
		EQUAL(overlay_zero(scene->overlay, parts[part] + at, len, true), 0);
		break;
	default:
		fill(data, len);
		EQUAL(overlay_write(scene->overlay, iov, 2, parts[part] + at), 0);
	}
}

static void random_writes(struct scene *scene, int count)
{
	for (int i = 0; i < count; i++) {
		random_write(scene);
		if (!chance(10))
			EQUAL(rumpel_overlay_sync(scene->overlay), 0);
	}
}

static void check_base(struct scene *scene, char **model)
{
	char *data = malloc(PART);
	int fd = open(scene->base, O_RDONLY);

	for (int i = 0; i < PARTS; i++) {
		EQUAL(pread(fd, data, PART, parts[i]), PART);
		CHECK(!memcmp(data, model[i], PART));
	}
	close(fd);
	free(data);
}

static void test_model(bool in_file)
{
	struct scene scene = begin(in_file);

	compare(scene.overlay, scene.model);
	for (int i = 0; i < 20; i++) {
		random_writes(&scene, 20);
		compare(scene.overlay, scene.model);
	}
	check_base(&scene, scene.under);
	EQUAL(rumpel_overlay_discard(scene.overlay), 0);
	compare(scene.overlay, scene.under);
	end(&scene);
}

static void test_model_file(void)
{
	test_model(true);
}

static void test_model_memory(void)
{
	test_model(false);
}

static void test_reopen(void)
{
	struct scene scene = begin(true);

	for (int i = 0; i < 10; i++) {
		random_writes(&scene, 20);
		EQUAL(rumpel_overlay_sync(scene.overlay), 0);
		rumpel_overlay_free(scene.overlay);
		scene.overlay = must_open(scene.base, NULL, scene.file);
		compare(scene.overlay, scene.model);
	}
	end(&scene);
}

static void copy_file(const char *from, const char *to)
{
	char command[256];

	snprintf(command, sizeof(command), "cp --sparse=always %s %s", from, to);
	EQUAL(system(command), 0);
}

/*
 * The process dies at some time after a flush: what was flushed is there, what
 * was written since has its old content or the new one in each sector.
 */
static void test_crash(void)
{
	struct scene scene = begin(true);
	char copy[128], *flushed[PARTS], *data = malloc(PART);
	struct rumpel_overlay *crashed;

	snprintf(copy, sizeof(copy), "%s/copy", scene.directory);
	for (int i = 0; i < PARTS; i++)
		flushed[i] = malloc(PART);
	for (int round = 0; round < 10; round++) {
		random_writes(&scene, 10);
		EQUAL(rumpel_overlay_sync(scene.overlay), 0);
		for (int i = 0; i < PARTS; i++)
			memcpy(flushed[i], scene.model[i], PART);
		for (int i = 0; i < 5; i++)
			random_write(&scene);
		copy_file(scene.file, copy);
		crashed = must_open(scene.base, NULL, copy);
		for (int i = 0; i < PARTS; i++) {
			struct iovec iov = { data, PART };

			EQUAL(overlay_read(crashed, &iov, 1, parts[i]), 0);
			for (size_t at = 0; at < PART; at += 512)
				CHECK(!memcmp(data + at, flushed[i] + at, 512) ||
				      !memcmp(data + at, scene.model[i] + at, 512));
		}
		rumpel_overlay_free(crashed);
		unlink(copy);
	}
	for (int i = 0; i < PARTS; i++)
		free(flushed[i]);
	free(data);
	end(&scene);
}

static void test_commit(void)
{
	struct scene scene = begin(true);

	for (int i = 0; i < 3; i++) {
		random_writes(&scene, 100);
		EQUAL(rumpel_overlay_commit(scene.overlay), 0);
		check_base(&scene, scene.model);
		compare(scene.overlay, scene.model);
	}
	rumpel_overlay_free(scene.overlay);
	scene.overlay = must_open(scene.base, NULL, scene.file);
	compare(scene.overlay, scene.model);
	end(&scene);
}

static void test_snapshots(void)
{
	struct scene scene = begin(true);
	struct rumpel_overlay *first = scene.overlay;
	struct rumpel_device *device;
	char *frozen[PARTS];

	random_writes(&scene, 50);
	for (int i = 0; i < PARTS; i++)
		memcpy(frozen[i] = malloc(PART), scene.model[i], PART);
	scene.overlay = must_open(NULL, first, NULL);
	compare(scene.overlay, frozen);
	random_writes(&scene, 50);
	compare(scene.overlay, scene.model);
	compare(first, frozen);
	EQUAL(rumpel_overlay_commit(first), -EBUSY);
	EQUAL(rumpel_overlay_discard(first), -EBUSY);
	EQUAL(rumpel_block_overlay(first, &device), -EBUSY);
	EQUAL(rumpel_overlay_commit(scene.overlay), 0);
	compare(first, scene.model);
	random_writes(&scene, 20);
	EQUAL(rumpel_overlay_discard(scene.overlay), 0);
	rumpel_overlay_free(scene.overlay);
	scene.overlay = first;
	EQUAL(rumpel_overlay_commit(first), 0);
	for (int i = 0; i < PARTS; i++)
		free(frozen[i]);
	end(&scene);
}

static void test_changed_base(void)
{
	struct scene scene = begin(true);
	const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
	struct rumpel_overlay *overlay;
	const char *why;

	random_writes(&scene, 5);
	EQUAL(rumpel_overlay_sync(scene.overlay), 0);
	rumpel_overlay_free(scene.overlay);
	EQUAL(utimensat(AT_FDCWD, scene.base, times, 0), 0);
	EQUAL(rumpel_overlay_open(scene.base, NULL, scene.file, &overlay, &why), -ESTALE);
	CHECK(strstr(why, "changed"));
	EQUAL(truncate(scene.base, DISK + 4096), 0);
	EQUAL(rumpel_overlay_open(scene.base, NULL, scene.file, &overlay, &why), -EINVAL);
	CHECK(strstr(why, "size"));
	scene.overlay = NULL;
	end(&scene);
}

static void test_in_use(void)
{
	struct scene scene = begin(true);
	struct rumpel_overlay *second;
	struct rumpel_device *device, *other;
	const char *why;

	EQUAL(rumpel_block_file(scene.base, 0, &other), -EBUSY);
	EQUAL(rumpel_overlay_open(scene.base, NULL, scene.file, &second, &why), -EBUSY);
	EQUAL(rumpel_block_overlay(scene.overlay, &device), 0);
	EQUAL(rumpel_block_overlay(scene.overlay, &other), -EBUSY);
	EQUAL(rumpel_overlay_commit(scene.overlay), -EBUSY);
	EQUAL(rumpel_overlay_open(NULL, scene.overlay, NULL, &second, &why), -EBUSY);
	rumpel_device_free(device);
	/* Two overlays on one base: either may be used, neither may change it. */
	second = must_open(scene.base, NULL, NULL);
	EQUAL(rumpel_overlay_commit(scene.overlay), -EBUSY);
	rumpel_overlay_free(second);
	EQUAL(rumpel_overlay_commit(scene.overlay), 0);
	end(&scene);
}

/* What is not an overlay is left alone, and what is damaged is not used. */
static void test_bad_files(void)
{
	struct scene scene = begin(true);
	struct rumpel_overlay *overlay;
	struct stat before, after;
	const char *why;
	char byte;
	int fd;

	random_writes(&scene, 20);
	EQUAL(rumpel_overlay_sync(scene.overlay), 0);
	rumpel_overlay_free(scene.overlay);
	for (int i = 0; i < 2000; i++) {
		uint64_t at = chance(2) ? chance(200) : chance(4 * CLUSTER);
		char old;

		fd = open(scene.file, O_RDWR);
		EQUAL(pread(fd, &old, 1, at), 1);
		byte = chance(256);
		EQUAL(pwrite(fd, &byte, 1, at), 1);
		if (!rumpel_overlay_open(scene.base, NULL, scene.file, &overlay, &why)) {
			char sector[512];

			for (uint64_t where = 0; where < DISK; where += DISK / 50 & ~511ull) {
				struct iovec iov = { sector, sizeof(sector) };

				overlay_read(overlay, &iov, 1, where);
			}
			rumpel_overlay_free(overlay);
		}
		EQUAL(pwrite(fd, &old, 1, at), 1);
		close(fd);
	}
	EQUAL(unlink(scene.file), 0);
	copy_file(scene.base, scene.file);
	EQUAL(stat(scene.file, &before), 0);
	EQUAL(rumpel_overlay_open(scene.base, NULL, scene.file, &overlay, &why), -EINVAL);
	CHECK(strstr(why, "not a qcow2"));
	EQUAL(stat(scene.file, &after), 0);
	EQUAL(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	EQUAL(rumpel_overlay_open("/nonexistent", NULL, NULL, &overlay, &why), -ENOENT);
	CHECK(!strcmp(why, "the base"));
	scene.overlay = NULL;
	end(&scene);
}

struct writer {
	struct scene *scene;
	int part;
	uint64_t seed;
};

/* Sectors of its own parity: two such writers share every subcluster. */
static void *write_alternate(void *argument)
{
	struct writer *writer = argument;
	char *model = writer->scene->model[0];

	for (int i = 0; i < 2000; i++) {
		uint64_t at = ((writer->seed = writer->seed * 25214903917ull + 11) >> 16) %
				      (PART / 1024) * 1024 +
			      writer->part * 512;
		struct iovec iov = { model + at, 512 };

		memset(model + at, i, 512);
		EQUAL(overlay_write(writer->scene->overlay, &iov, 1, at), 0);
		if (i % 100 == 0)
			EQUAL(rumpel_overlay_sync(writer->scene->overlay), 0);
	}
	return NULL;
}

static void test_threads(void)
{
	struct scene scene = begin(true);
	struct writer writers[2] = { { &scene, 0, 1 }, { &scene, 1, 2 } };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		EQUAL(pthread_create(&threads[i], NULL, write_alternate, &writers[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	compare(scene.overlay, scene.model);
	EQUAL(rumpel_overlay_sync(scene.overlay), 0);
	rumpel_overlay_free(scene.overlay);
	scene.overlay = must_open(scene.base, NULL, scene.file);
	compare(scene.overlay, scene.model);
	end(&scene);
}

static void test_full_disk(void)
{
	struct scene scene = begin(true);
	struct rlimit limit, small;
	struct iovec iov;
	char data[65536];
	int error = 0;

	EQUAL(getrlimit(RLIMIT_FSIZE, &limit), 0);
	small = (struct rlimit){ 2 << 20, limit.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint64_t at = 0; at < 8 << 20 && !error; at += sizeof(data)) {
		iov = (struct iovec){ data, sizeof(data) };
		error = overlay_write(scene.overlay, &iov, 1, at);
	}
	EQUAL(error, -EFBIG);
	EQUAL(rumpel_overlay_sync(scene.overlay), -EFBIG);
	EQUAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
	memset(scene.model[0], 'y', PART);
	iov = (struct iovec){ scene.model[0], PART };
	EQUAL(overlay_write(scene.overlay, &iov, 1, 0), 0);
	compare(scene.overlay, scene.model);
	end(&scene);
}

/* Nothing of this process is written, or held open, by the child that ends. */
static void test_fork(void)
{
	struct scene scene = begin(true);
	struct rumpel_overlay *above, *refused;
	struct rumpel_device *device;
	int go[2], ready[2], status;
	struct stat full, now;
	const char *why;
	pid_t child;
	char byte;

	random_writes(&scene, 5);
	random_write(&scene); /* and what says where it is stays in memory */
	EQUAL(pipe(go), 0);
	EQUAL(pipe(ready), 0);
	child = fork();
	CHECK(child >= 0);
	if (!child) {
		EQUAL(rumpel_block_overlay(scene.overlay, &device), -EBUSY);
		EQUAL(rumpel_overlay_discard(scene.overlay), -EBUSY);
		EQUAL(rumpel_overlay_commit(scene.overlay), -EBUSY);
		EQUAL(rumpel_overlay_open(NULL, scene.overlay, NULL, &above, &why), -EBUSY);
		EQUAL(rumpel_overlay_sync(scene.overlay), 0);
		EQUAL(rumpel_overlay_open(scene.base, NULL, scene.file, &refused, &why), -EBUSY);
		EQUAL(write(ready[1], "r", 1), 1);
		EQUAL(read(go[0], &byte, 1), 1);
		rumpel_overlay_free(scene.overlay);
		EQUAL(write(ready[1], "r", 1), 1);
		EQUAL(read(go[0], &byte, 1), 1);
		_exit(0);
	}
	EQUAL(read(ready[0], &byte, 1), 1);
	random_writes(&scene, 100);
	EQUAL(rumpel_overlay_sync(scene.overlay), 0);
	EQUAL(stat(scene.file, &full), 0);
	EQUAL(write(go[1], "g", 1), 1);
	EQUAL(read(ready[0], &byte, 1), 1);
	EQUAL(stat(scene.file, &now), 0);
	EQUAL(now.st_size, full.st_size);
	compare(scene.overlay, scene.model);
	/* The child is still there, and holds no lock. */
	rumpel_overlay_free(scene.overlay);
	scene.overlay = must_open(scene.base, NULL, scene.file);
	compare(scene.overlay, scene.model);
	EQUAL(write(go[1], "g", 1), 1);
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(status, 0);
	for (int i = 0; i < 2; i++) {
		close(go[i]);
		close(ready[i]);
	}
	end(&scene);
}

static const struct test tests[] = {
	{ test_model_file, "file: reads what was written, the base stays, discard forgets" },
	{ test_model_memory, "memory: the same" },
	{ test_reopen, "what was flushed is there when the file is opened again" },
	{ test_crash, "after a crash each sector is old or new, and flushed ones are new" },
	{ test_commit, "commit puts all into the base" },
	{ test_snapshots, "an overlay over an overlay: commit and roll back" },
	{ test_changed_base, "a base that has changed is refused" },
	{ test_in_use, "what is in use is neither opened nor committed" },
	{ test_bad_files, "damaged files are errors; files of another kind stay as they are" },
	{ test_threads, "writers that share subclusters lose nothing" },
	{ test_fork, "the child of a fork leaves its parent's overlays alone" },
	{ test_full_disk, "a full disk is an error, and not for ever" },
};

TEST_MAIN(tests)
