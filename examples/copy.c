// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copies a file of the host into a disk image, with Linux's own file system
 * and without any privilege:
 *
 *	copy KERNEL DISK FILE TARGET
 *
 * KERNEL is a kernel image ("rumpel kernel info" tells where it lies), DISK a
 * file with a file system that the kernel knows, TARGET a path in there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rumpel/rumpel.h>

#define CHUNK (1 << 20)

static int complain(const char *what, long error)
{
	fprintf(stderr, "copy: %s: %s\n", what, strerror(-error));
	return -1;
}

/* A system call of the library kernel, with up to five arguments. */
static long call(struct rumpel_task *task, long nr, unsigned long a, unsigned long b,
		 unsigned long c, unsigned long d, unsigned long e)
{
	return rumpel_syscall(task, nr, a, b, c, d, e, 0);
}

/* The kernel reads and writes the memory of its callers: any pointer will do. */
static unsigned long at(const void *pointer)
{
	return (unsigned long)pointer;
}

/* Whichever of the kernel's file systems it is. */
static int mount_disk(struct rumpel_task *task)
{
	static const char *const types[] = { "ext4", "xfs", "btrfs", "f2fs", "vfat" };
	long error = -ENODEV;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		error = call(task, SYS_mount, at("/dev/vda"), at("/mnt"), at(types[i]), 0, 0);
		if (!error)
			return 0;
		/* "Not this one", and "never heard of it". */
		if (error != -EINVAL && error != -ENODEV)
			break;
	}
	return complain("mount", error);
}

static int write_all(struct rumpel_task *task, long to, const char *data, size_t len)
{
	while (len) {
		long done = call(task, SYS_write, to, at(data), len, 0, 0);

		if (done < 0)
			return complain("write", done);
		data += done;
		len -= done;
	}
	return 0;
}

/* From a descriptor of the host to one of the library kernel. */
static int copy_data(struct rumpel_task *task, int from, long to)
{
	char *data = malloc(CHUNK);
	ssize_t len;
	int error = data ? 0 : complain("memory", -ENOMEM);

	while (!error && (len = read(from, data, CHUNK)) != 0) {
		if (len < 0)
			error = complain("read", -errno);
		else
			error = write_all(task, to, data, len);
	}
	free(data);
	return error;
}

static int copy_file(struct rumpel_task *task, const char *file, const char *target)
{
	int from = open(file, O_RDONLY | O_CLOEXEC), error;
	struct stat stat;
	char path[4096];
	long to;

	if (from < 0 || fstat(from, &stat))
		return complain(file, -errno);
	snprintf(path, sizeof(path), "/mnt/%s", target);
	to = call(task, SYS_open, at(path), O_WRONLY | O_CREAT | O_TRUNC, stat.st_mode & 07777, 0,
		  0);
	if (to < 0) {
		close(from);
		return complain(target, to);
	}
	error = copy_data(task, from, to);
	call(task, SYS_close, to, 0, 0, 0, 0);
	close(from);
	return error;
}

static int boot(const char *image, const char *disk, struct rumpel_kernel **kernel)
{
	const char *why = NULL;
	struct rumpel_device *device;
	struct rumpel_config config = {
		.image = image,
		.devices = &device,
		.device_count = 1,
		.error = &why,
	};
	int error;

	error = rumpel_block_file(disk, 0, &device);
	if (error)
		return complain(disk, error);
	error = rumpel_boot(&config, kernel);
	if (error) {
		complain(why ? why : image, error);
		/* A kernel that panicked has the disk, and has to be freed. */
		if (error == -ENOTRECOVERABLE)
			rumpel_kernel_free(*kernel);
		else
			rumpel_device_free(device);
	}
	return error;
}

int main(int argc, char **argv)
{
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
	int error;

	if (argc != 5) {
		fprintf(stderr, "usage: copy KERNEL DISK FILE TARGET\n");
		return 2;
	}
	if (boot(argv[1], argv[2], &kernel))
		return 1;
	task = rumpel_kernel_init(kernel);
	error = mount_disk(task);
	if (!error)
		error = copy_file(task, argv[3], argv[4]);
	/* Unmounts: after this, all is on the disk. */
	if (rumpel_halt(kernel))
		error = complain("halt", -ENOTRECOVERABLE);
	rumpel_kernel_free(kernel);
	return error ? 1 : 0;
}
