// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets mdadm --create write superblocks on a host whose kernel has no md driver: it is loaded
 * into mdadm, and takes the place of the array's device, which accepts all that it is told.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define GET_ARRAY_INFO 0x80480911ul

static int array = -1;
static unsigned int array_minor;

int open64(const char *path, int flags, ...)
{
	/* mdadm makes a node of its own to open: .tmp.md.PID:MAJOR:MINOR */
	const char *node = strstr(path, "/.tmp.md.");
	unsigned int pid;
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	if (node && sscanf(node, "/.tmp.md.%u:9:%u", &pid, &array_minor) == 2)
		return array = openat(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
	return openat(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return open64(path, flags, mode);
}

int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

int __open_2(const char *path, int flags)
{
	return open64(path, flags);
}

int fstat64(int fd, struct stat64 *st)
{
	int ret = fstatat64(fd, "", st, AT_EMPTY_PATH);

	if (!ret && fd == array) {
		st->st_mode = S_IFBLK | 0600;
		st->st_rdev = makedev(9, array_minor);
	}
	return ret;
}

int fstat(int fd, struct stat *st)
{
	return fstat64(fd, (struct stat64 *)st);
}

int stat64(const char *path, struct stat64 *st)
{
	/* A directory is all that it wants to see there. */
	const char *real = strncmp(path, "/sys/block/md", 13) ? path : "/";

	return fstatat64(AT_FDCWD, real, st, 0);
}

int stat(const char *path, struct stat *st)
{
	return stat64(path, (struct stat64 *)st);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int fd, unsigned long request, void *arg);
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (fd >= 0 && fd == array) {
		errno = ENODEV;
		return request == GET_ARRAY_INFO ? -1 : 0;
	}
	if (!real)
		real = dlsym(RTLD_NEXT, "ioctl");
	return real(fd, request, arg);
}

int close(int fd)
{
	static int (*real)(int fd);

	if (fd == array)
		array = -1;
	if (!real)
		real = dlsym(RTLD_NEXT, "close");
	return real(fd);
}
