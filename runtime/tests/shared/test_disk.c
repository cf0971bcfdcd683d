// SPDX-License-Identifier: GPL-2.0-only
/* A disk of the keeper's, used by other processes. */
#include "guest.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#define SIZE (1l << 20)

/* What this process has written by calls of the host's: proc_pid_io(5). */
static long written(void)
{
	char text[512] = "";
	long count = -1;
	int fd = open("/proc/self/io", O_RDONLY);

	CHECK(fd >= 0);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	CHECK(sscanf(text, "rchar: %*d wchar: %ld", &count) == 1);
	return count;
}

/* Its node: the tiny kernel has no devtmpfs. */
static long open_disk(void)
{
	char text[1024] = "", *line;
	long fd = call(SYS_open, ptr("/proc/partitions"), O_RDONLY, 0);
	unsigned int major, minor;

	if (fd == -ENOENT) {
		fprintf(stderr, "    this kernel was built without block devices\n");
		leave(0);
	}
	CHECK(fd >= 0);
	CHECK(call(SYS_read, fd, ptr(text), sizeof(text) - 1) > 0);
	line = strstr(text, "\n\n");
	CHECK(line && sscanf(line, "%u %u", &major, &minor) == 2);
	EQUAL(call(SYS_mknod, ptr("/disk"), S_IFBLK | 0600, makedev(major, minor)), 0);
	return call(SYS_open, ptr("/disk"), O_RDWR | O_DSYNC, 0);
}

/* What may be slow is done by the keeper, whoever asks for it and has the token. */
static void use_disk(void *argument)
{
	volatile char *used = argument;
	static char text[SIZE], got[SIZE];
	long fd = open_disk(), before = written();

	CHECK(fd >= 0);
	for (long i = 0; i < SIZE; i++)
		text[i] = (char)(i >> 9);
	EQUAL(call(SYS_pwrite64, fd, ptr(text), SIZE, 0), SIZE);
	EQUAL(call(SYS_fsync, fd), 0);
	EQUAL(call(SYS_fadvise64, fd, 0, SIZE, 4 /* POSIX_FADV_DONTNEED */), 0);
	EQUAL(call(SYS_pread64, fd, ptr(got), SIZE, 0), SIZE);
	CHECK(!memcmp(text, got, SIZE));
	CHECK(written() - before < SIZE / 4);
	*used = 1;
}

static void disk(void)
{
	char path[] = "/tmp/rumpel-disk-XXXXXX", option[64], got[4096];
	int fd = mkstemp(path);
	volatile char *used =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct guest guest;

	CHECK(fd >= 0 && used != MAP_FAILED);
	EQUAL(ftruncate(fd, 4 * SIZE), 0);
	snprintf(option, sizeof(option), "disk=%s", path);
	guest = guest_start(option);
	/* Until workers of the boot have ended. */
	usleep(1500000);
	expect_status(spawn(use_disk, (void *)used), 0);
	guest_end(&guest, 0);
	EQUAL(pread(fd, got, sizeof(got), 512), sizeof(got));
	EQUAL(got[0], *used);
	unlink(path);
	close(fd);
}

static const struct test tests[] = {
	{ disk, "the keeper reads and writes a disk for all" },
};

TEST_MAIN(tests)
