// SPDX-License-Identifier: GPL-2.0-only
/* Kernels that start from a file, which an earlier boot has left. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest.h"

#define FILES 4
#define LOG_MOST (1 << 20)

static char directory[256], prefix[sizeof(directory) + 8];

static void begin(void)
{
	const char *top = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/rumpel-snapshot-XXXXXX", top ? top : "/tmp");
	CHECK(mkdtemp(directory));
	snprintf(prefix, sizeof(prefix), "%s/kernel", directory);
}

/* How many files there are, which go. */
static int end(void)
{
	DIR *files = opendir(directory);
	struct dirent *entry;
	int count = 0;

	CHECK(files);
	while ((entry = readdir(files))) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		EQUAL(unlinkat(dirfd(files), entry->d_name, 0), 0);
	}
	closedir(files);
	EQUAL(rmdir(directory), 0);
	return count;
}

static struct rumpel_kernel *boot(void)
{
	return guest_boot_with((struct rumpel_config){ .snapshot = prefix });
}

static const char *file(int number)
{
	static char path[sizeof(prefix) + 16];

	snprintf(path, sizeof(path), "%s.%d", prefix, number);
	return path;
}

static ino_t inode(int number)
{
	struct stat status;

	return stat(file(number), &status) < 0 ? 0 : status.st_ino;
}

/* Its first messages, whose times differ in any two boots. To be freed. */
static char *log_of(struct rumpel_kernel *kernel)
{
	char *text = calloc(1, LOG_MOST);
	uint64_t position = 0;

	CHECK(text && rumpel_log_read(kernel, &position, text, LOG_MOST / 4) > 1000);
	return text;
}

static bool have_one_boot(struct rumpel_kernel *a, struct rumpel_kernel *b)
{
	char *first = log_of(a), *second = log_of(b);
	bool equal = !strncmp(first, second, 1000);

	free(first);
	free(second);
	return equal;
}

static uint64_t guest_time(struct rumpel_kernel *kernel, clockid_t clock)
{
	struct timespec now;

	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_clock_gettime, clock, ptr(&now)), 0);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void starts_from_it(void)
{
	struct rumpel_kernel *first, *second;
	struct timespec pause = { .tv_nsec = 20000000 }, real;
	uint64_t random[2] = { 0 }, before, now;
	struct rumpel_task *init, *task;

	begin();
	first = boot();
	CHECK(inode(0));
	EQUAL(guest_call(rumpel_kernel_init(first), SYS_getrandom, ptr(&random[0]), 8, 0), 8);
	rumpel_kernel_free(first);
	first = boot();
	rumpel_kernel_free(first);
	first = boot(); /* as the one before, which is gone */
	second = boot();
	init = rumpel_kernel_init(first);
	CHECK(!have_one_boot(first, second));
	EQUAL(guest_call(init, SYS_getrandom, ptr(&random[1]), 8, 0), 8);
	CHECK(random[0] != random[1]);
	/* Time goes on where the boot had left off; the time of day is the host's. */
	before = guest_time(first, CLOCK_MONOTONIC);
	CHECK(before < 60 * 1000000000ull);
	EQUAL(guest_call(init, SYS_nanosleep, ptr(&pause), 0), 0);
	now = guest_time(first, CLOCK_MONOTONIC);
	CHECK(now >= before + pause.tv_nsec && now < before + 60 * 1000000000ull);
	clock_gettime(CLOCK_REALTIME, &real);
	now = guest_time(first, CLOCK_REALTIME) / 1000000000;
	CHECK(now + 10 > (uint64_t)real.tv_sec && now < (uint64_t)real.tv_sec + 10);
	EQUAL(rumpel_task_create(first, RUMPEL_TASK_PROCESS, &task), 0);
	CHECK(rumpel_task_id(task) > 2);
	rumpel_task_free(task);
	guest_end(first);
	guest_end(second);
	EQUAL(end(), 2);
}

static void same_boot(void)
{
	struct rumpel_kernel *kernel;
	char *first, *second;

	begin();
	for (int i = 0; i < 2; i++) {
		kernel = boot();
		*(i ? &second : &first) = log_of(kernel);
		guest_end(kernel);
	}
	CHECK(!strncmp(first, second, 1000));
	free(first);
	free(second);
	EQUAL(end(), 1);
}

/* What one writes is not in another's memory, nor in the file. */
static void private(void)
{
	struct rumpel_kernel *kernels[FILES + 2];
	struct rumpel_task *init;
	struct stat status;

	begin();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < FILES + 2; i++) {
			kernels[i] = boot();
			init = rumpel_kernel_init(kernels[i]);
			EQUAL(guest_call(init, SYS_stat, ptr("/tmp/mine"), ptr(&status)), -ENOENT);
			EQUAL(guest_call(init, SYS_mkdir, ptr("/tmp/mine"), 0700), 0);
		}
		for (int i = 0; i < FILES + 2; i++)
			guest_end(kernels[i]);
	}
	EQUAL(end(), FILES);
}

/* The kernel boots, and the file is one for the next. */
static void replaced(void (*spoil)(const char *path))
{
	struct rumpel_kernel *kernel;
	char *first, *second;
	ino_t before;

	begin();
	kernel = boot();
	first = log_of(kernel);
	guest_end(kernel);
	spoil(file(0));
	before = inode(0);
	kernel = boot();
	second = log_of(kernel);
	CHECK(strncmp(first, second, 1000) != 0);
	guest_end(kernel);
	CHECK(inode(0) != before);
	free(first);
	free(second);
	EQUAL(end(), 1);
}

static void cut(const char *path)
{
	EQUAL(truncate(path, 100000), 0);
}

static void empty(const char *path)
{
	EQUAL(truncate(path, 0), 0);
}

static void let_others_write(const char *path)
{
	EQUAL(chmod(path, 0622), 0);
}

static void overwrite(const char *path)
{
	uint64_t nonsense[32];
	int fd = open(path, O_WRONLY);

	memset(nonsense, 0xa5, sizeof(nonsense));
	/* Behind what says whose it is. */
	EQUAL(pwrite(fd, nonsense, sizeof(nonsense), 96), sizeof(nonsense));
	close(fd);
}

static void give_away(const char *path)
{
	if (!geteuid())
		EQUAL(chown(path, 12345, 12345), 0);
	else
		cut(path);
}

static void useless(void)
{
	replaced(empty);
	replaced(cut);
	replaced(overwrite);
	replaced(let_others_write);
	replaced(give_away);
}

/* Somebody of our number was killed while he wrote, or is about to write. */
static void left_behind(void)
{
	struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	char name[sizeof(prefix) + 32];
	int fd;

	begin();
	snprintf(name, sizeof(name), "%s.0.%d.new", prefix, (int)getpid());
	fd = open(name, O_WRONLY | O_CREAT, 0600);
	CHECK(fd >= 0);
	guest_end(boot());
	CHECK(!inode(0));
	EQUAL(futimens(fd, times), 0);
	close(fd);
	guest_end(boot());
	CHECK(inode(0));
	EQUAL(end(), 1);
}

/* Another memory, a command line, a clock: not from that file. */
static void others(void)
{
	struct rumpel_config config = { .snapshot = prefix };
	struct rumpel_kernel *kernel;
	ino_t before;

	begin();
	guest_end(boot());
	before = inode(0);
	config.cmdline = "quiet";
	guest_end(guest_boot_with(config));
	config.cmdline = NULL;
	EQUAL(rumpel_clock_create(1, 1, &config.clock), 0);
	kernel = guest_boot_with(config);
	rumpel_kernel_free(kernel);
	rumpel_clock_free(config.clock);
	config.clock = NULL;
	CHECK(inode(0) == before && !inode(1));
	config.memory = 48 << 20;
	guest_end(guest_boot_with(config));
	CHECK(inode(0) != before);
	EQUAL(end(), 1);
	/* Nowhere to put it. */
	guest_end(boot());
}

static void check_disk(struct rumpel_kernel *kernel, const char *path, uint64_t size)
{
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	long fd = guest_call(init, SYS_open, ptr(path), O_RDWR, 0);
	char byte = 0;

	/* A profile may have no disks; that no driver wants them is no error. */
	if (fd < 0 && guest_call(init, SYS_access, ptr("/sys/block"), 0) < 0)
		return;
	CHECK(fd >= 0);
	EQUAL(guest_call(init, SYS_lseek, fd, 0, SEEK_END), size);
	EQUAL(guest_call(init, SYS_pwrite64, fd, ptr("x"), 1, 4096), 1);
	EQUAL(guest_call(init, SYS_fsync, fd), 0);
	EQUAL(guest_call(init, SYS_pread64, fd, ptr(&byte), 1, 4096), 1);
	EQUAL(byte, 'x');
	guest_call(init, SYS_close, fd);
}

static void has_devices(void)
{
	struct rumpel_device *disks[2];
	struct rumpel_kernel *kernel;

	begin();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2; i++) {
			EQUAL(rumpel_block_memory(NULL, (size_t)(i + 1) << 20, 0, &disks[i]), 0);
		}
		kernel = guest_boot_with((struct rumpel_config){
			.snapshot = prefix, .devices = disks, .device_count = 2 });
		check_disk(kernel, "/dev/vda", 1 << 20);
		check_disk(kernel, "/dev/vdb", 2 << 20);
		guest_end(kernel);
	}
	EQUAL(end(), 1);
}

static void forks(void)
{
	struct rumpel_kernel *kernel;
	int status;
	pid_t pid;

	begin();
	guest_end(boot());
	kernel = boot();
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		alarm(60);
		EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_getpid, 0), 1);
		EQUAL(rumpel_halt(kernel), 0);
		/* The addresses are the same as the parent's, and its own again. */
		rumpel_kernel_free(kernel);
		guest_end(boot());
		_exit(0);
	}
	EQUAL(waitpid(pid, &status, 0), pid);
	EQUAL(status, 0);
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_mkdir, ptr("/tmp/there"), 0700), 0);
	guest_end(kernel);
	EQUAL(end(), 1);
}

static const struct test tests[] = {
	{ same_boot, "the second kernel of a file has not booted" },
	{ starts_from_it,
	  "what starts from a snapshot has a time, random numbers and tasks of its own" },
	{ private, "kernels from one snapshot are apart, and more than it has files for boot" },
	{ useless, "a file that is damaged or others' is not used, and made again" },
	{ left_behind, "a file that was half written is not in the way of the next one" },
	{ others, "a snapshot is for one image and memory, no command line, and the host's clock" },
	{ has_devices, "disks come in their order" },
	{ forks, "a kernel from a snapshot is copied by a fork" },
};

int main(int argc, char **argv)
{
#ifdef __SANITIZE_THREAD__
	puts("  (ThreadSanitizer knows no such addresses)");
	return 0;
#endif
	return test_main(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
