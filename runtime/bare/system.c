// SPDX-License-Identifier: GPL-2.0-only
/* System calls of the host with the signatures of its C library. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "bare.h"

int *__errno_location(void)
{
	return &bare_local()->error;
}

static long result_of(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

#define call(nr, ...) result_of(bare_syscall(nr, ##__VA_ARGS__))

long syscall(long nr, ...)
{
	unsigned long a[6];
	va_list list;

	va_start(list, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, unsigned long);
	va_end(list);
	return result_of(bare_syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}

/* Descriptors of the kernel have numbers that programs do not use. */
static int high(long fd)
{
	int moved;

	if (fd < 0)
		return (int)fd;
	moved = (int)call(SYS_fcntl, fd, F_DUPFD, bare_fds());
	bare_syscall(SYS_close, fd);
	return moved;
}

int open(const char *path, int flags, ...)
{
	return high(call(SYS_openat, AT_FDCWD, (long)path, flags & ~O_CLOEXEC, 0600));
}

int memfd_create(const char *name, unsigned int flags)
{
	return high(call(SYS_memfd_create, (long)name, flags & ~MFD_CLOEXEC));
}

int eventfd(unsigned int value, int flags)
{
	return high(call(SYS_eventfd2, value, flags & ~EFD_CLOEXEC));
}

int socket(int family, int type, int protocol)
{
	return high(call(SYS_socket, family, type & ~SOCK_CLOEXEC, protocol));
}

int fcntl(int fd, int command, ...)
{
	va_list list;
	long argument;

	va_start(list, command);
	argument = va_arg(list, long);
	va_end(list);
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return (int)call(SYS_fcntl, fd, F_DUPFD, bare_fds());
	return (int)call(SYS_fcntl, fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	long argument;

	va_start(list, request);
	argument = va_arg(list, long);
	va_end(list);
	return (int)call(SYS_ioctl, fd, request, argument);
}

int close(int fd)
{
	return (int)call(SYS_close, fd);
}

ssize_t read(int fd, void *data, size_t size)
{
	return call(SYS_read, fd, (long)data, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
	return call(SYS_write, fd, (long)data, size);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	return call(SYS_pread64, fd, (long)data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return call(SYS_pwrite64, fd, (long)data, size, offset);
}

ssize_t readv(int fd, const struct iovec *iov, int count)
{
	return call(SYS_readv, fd, (long)iov, count);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	return call(SYS_writev, fd, (long)iov, count);
}

ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
	return call(SYS_preadv, fd, (long)iov, count, offset, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return call(SYS_pwritev, fd, (long)iov, count, offset, 0);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return call(SYS_preadv2, fd, (long)iov, count, offset, 0, flags);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	return call(SYS_pwritev2, fd, (long)iov, count, offset, 0, flags);
}

int fstat(int fd, struct stat *status)
{
	return (int)call(SYS_fstat, fd, (long)status);
}

int fdatasync(int fd)
{
	return (int)call(SYS_fdatasync, fd);
}

int posix_fadvise(int fd, off_t offset, off_t len, int advice)
{
	return (int)call(SYS_fadvise64, fd, offset, len, advice);
}

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned int flags)
{
	return (int)call(SYS_sync_file_range, fd, offset, len, flags);
}

int ftruncate(int fd, off_t size)
{
	return (int)call(SYS_ftruncate, fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return (int)call(SYS_fallocate, fd, mode, offset, len);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return (void *)call(SYS_mmap, (long)at, len, prot, flags, fd, offset);
}

int munmap(void *at, size_t len)
{
	return (int)call(SYS_munmap, (long)at, len);
}

int mprotect(void *at, size_t len, int prot)
{
	return (int)call(SYS_mprotect, (long)at, len, prot);
}

int madvise(void *at, size_t len, int advice)
{
	return (int)call(SYS_madvise, (long)at, len, advice);
}

int poll(struct pollfd *polled, nfds_t count, int timeout)
{
	return (int)call(SYS_poll, (long)polled, count, timeout);
}

int ppoll(struct pollfd *polled, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct timespec left;

	/* The host's writes what is left to it. */
	if (timeout)
		left = *timeout;
	return (int)call(SYS_ppoll, (long)polled, count, (long)(timeout ? &left : NULL), (long)mask,
			 8);
}

int sched_yield(void)
{
	return (int)call(SYS_sched_yield);
}

/* The CPU's number is in the limit of a segment, as the vDSO has it. */
int sched_getcpu(void)
{
	unsigned int limit = 0;

	asm volatile("lsl %1, %0" : "+r"(limit) : "r"(0x7b) : "cc");
	return limit & 0xfff;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	const struct rumpel_local *local = bare_local();

	if (local->clock_gettime && local->clock_gettime(clock, now) == 0)
		return 0;
	return (int)call(SYS_clock_gettime, clock, (long)now);
}

ssize_t getrandom(void *data, size_t size, unsigned int flags)
{
	return call(SYS_getrandom, (long)data, size, flags);
}

int rename(const char *from, const char *to)
{
	return (int)call(SYS_rename, (long)from, (long)to);
}

uid_t geteuid(void)
{
	return (uid_t)call(SYS_geteuid);
}

pid_t getpid(void)
{
	return (pid_t)bare_syscall(SYS_getpid);
}
