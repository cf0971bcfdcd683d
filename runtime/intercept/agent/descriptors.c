// SPDX-License-Identifier: GPL-2.0-only
/* Calls about descriptors' numbers: what the host does with its own, the kernel follows. */
#include <asm/ioctls.h>
#include <linux/close_range.h>
#include <linux/fcntl.h>

#include "dispatch.h"
#include "files.h"

long call_close(struct thread *t)
{
	int fd = (int)t->regs.rdi;

	if (is_reserved(t->files, fd))
		return -EBADF;
	/* Before the number is free for others. */
	if (files_disown(t->files, fd))
		kernel(__NR_close, fd);
	return call_through(t);
}

/* Numbers from first to last, but those that are not the program's. */
static long close_between(uint64_t first, uint64_t last, uint64_t hole, uint64_t size,
			  uint64_t next, uint64_t next_size, uint64_t flags)
{
	long result;

	if (first > last)
		return 0;
	if (!size || last < hole || first >= hole + size)
		return next_size ? close_between(first, last, next, next_size, 0, 0, flags)
				 : host(__NR_close_range, first, last, flags);
	if (first < hole) {
		result = close_between(first, hole - 1, next, next_size, 0, 0, flags);
		if (result)
			return result;
		flags &= ~(uint64_t)CLOSE_RANGE_UNSHARE;
	}
	return close_between(hole + size, last, next, next_size, 0, 0, flags);
}

long call_close_range(struct thread *t)
{
	uint64_t first = (uint32_t)t->regs.rdi, last = (uint32_t)t->regs.rsi;
	uint64_t flags = (uint32_t)t->regs.rdx;
	bool close = !(flags & CLOSE_RANGE_CLOEXEC);

	for (uint64_t fd = first; first <= last && fd <= last && (int64_t)fd <= t->files->highest;
	     fd++) {
		if (!close && files_owned(t->files, fd))
			kernel(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
		else if (close && files_disown(t->files, fd))
			kernel(__NR_close, fd);
	}
	if (first > last)
		return call_through(t);
	return close_between(first, last, t->files->agent_fd, FDS_RESERVED,
			     kernel_present ? kernel_fds : 0, kernel_present ? KERNEL_FDS : 0,
			     flags);
}

/* fd is a copy of from for the host, or an error: make it one for the kernel too. The same. */
static long follow(struct thread *t, int from, long fd, bool cloexec)
{
	bool dual = files_dual(t->files, from);

	if (fd < 0 || fd == from)
		return fd;
	if (!files_owned(t->files, from)) {
		if (files_disown(t->files, fd))
			kernel(__NR_close, fd);
		return fd;
	}
	/* An administrator may allow numbers that there is no room for here. */
	if (fd >= (long)FDS) {
		host(__NR_close, fd);
		return -EMFILE;
	}
	kernel(__NR_dup3, from, fd, cloexec ? O_CLOEXEC : 0);
	files_disown(t->files, fd);
	files_own(t->files, fd, dual);
	return fd;
}

static long dup_to(struct thread *t, bool cloexec)
{
	if (is_reserved(t->files, t->regs.rdi) || is_reserved(t->files, t->regs.rsi))
		return -EBADF;
	if ((uint32_t)t->regs.rsi >= FDS && files_owned(t->files, (int)t->regs.rdi))
		return -EBADF; /* as above the limit */
	return follow(t, (int)t->regs.rdi, call_through(t), cloexec);
}

long call_dup2(struct thread *t)
{
	return dup_to(t, false);
}

long call_dup3(struct thread *t)
{
	return dup_to(t, t->regs.rdx & O_CLOEXEC);
}

long call_dup(struct thread *t)
{
	if (is_reserved(t->files, t->regs.rdi))
		return -EBADF;
	return follow(t, (int)t->regs.rdi, call_through(t), false);
}

/* The flag of a number is the host's affair, and the kernel's for an execve. */
static void set_cloexec(const struct files *files, int fd, bool on)
{
	if (files_owned(files, fd))
		kernel(__NR_fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

/* Placeholders do not take it. */
static long ioctl_cloexec(struct thread *t, int fd, bool on)
{
	long result = host(__NR_fcntl, fd, F_SETFD, on ? FD_CLOEXEC : 0);

	if (!result)
		set_cloexec(t->files, fd, on);
	return result;
}

/* Interfaces are the kernel's, whatever socket is asked about them (netdevice(7)). */
static bool is_about_interfaces(uint32_t command)
{
	return command >= 0x890b && command <= 0x89ff; /* SIOCADDRT to SIOCPROTOPRIVATE */
}

static bool is_socket(int fd)
{
	int type, size = sizeof(type);

	return !host(__NR_getsockopt, fd, 1 /* SOL_SOCKET */, 3 /* SO_TYPE */, &type, &size);
}

static long ioctl_of_interfaces(struct thread *t)
{
	long fd = kernel(__NR_socket, 2 /* AF_INET */, 2 | O_CLOEXEC /* SOCK_DGRAM */, 0), result;
	const unsigned long args[6] = { fd, t->regs.rsi, t->regs.rdx };

	if (fd < 0)
		return fd;
	result = kernel_call_with(t, __NR_ioctl, args);
	kernel(__NR_close, fd);
	return result;
}

long call_ioctl(struct thread *t)
{
	int fd = (int)t->regs.rdi;
	uint32_t command = t->regs.rsi;

	if (is_reserved(t->files, fd))
		return -EBADF;
	if (command == FIOCLEX || command == FIONCLEX)
		return ioctl_cloexec(t, fd, command == FIOCLEX);
	if (files_owned(t->files, fd) && !files_dual(t->files, fd))
		return owner_has_ioctl(command) ? owner_ioctl(t) : kernel_call(t);
	if (kernel_present && is_about_interfaces(command) && is_socket(fd))
		return ioctl_of_interfaces(t);
	return call_through(t);
}

long call_fcntl(struct thread *t)
{
	int fd = (int)t->regs.rdi, command = (int)t->regs.rsi;

	if (is_reserved(t->files, fd))
		return -EBADF;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return follow(t, fd, call_through(t), command == F_DUPFD_CLOEXEC);
	if (command == F_SETFD) {
		long result = call_through(t);

		if (!result)
			set_cloexec(t->files, fd, t->regs.rdx & FD_CLOEXEC);
		return result;
	}
	if (files_owned(t->files, fd) && !files_dual(t->files, fd) && command != F_GETFD)
		return owner_has(command) ? owner_fcntl(t) : kernel_call(t);
	return call_through(t);
}
