// SPDX-License-Identifier: GPL-2.0-only
/*
 * In place of a library kernel, to try the plug: a kernel whose files all say
 * "fake", whose name is fake too, and whose numbers begin at 0 as a kernel's do.
 */
#include "kernel.h"

#include <linux/fcntl.h>

#define FILES 1024

const bool kernel_present = true;

/* 0: closed, else what F_GETFD says, and 2. In memory of the process: a copy after a fork. */
static uint8_t files[FILES];

static bool is_open(long fd)
{
	return fd >= 0 && fd < FILES && files[fd];
}

long kernel_close(int fd)
{
	if (!is_open(fd))
		return -EBADF;
	files[fd] = 0;
	return 0;
}

long kernel_dup2(int from, int to)
{
	if (!is_open(from) || to >= FILES)
		return -EBADF;
	files[to] = 2;
	return to;
}

long kernel_fcntl(int fd, int command, long argument)
{
	(void)argument;
	if (!is_open(fd))
		return -EBADF;
	return command == F_GETFD ? files[fd] & 1 : 0x4711;
}

static long new_file(bool cloexec)
{
	for (int fd = 0; fd < FILES; fd++)
		if (!files[fd]) {
			files[fd] = 2 | cloexec;
			return fd;
		}
	return -EMFILE;
}

long kernel_call(struct thread *t)
{
	static const char text[] = "fake";
	char name[65 * 6] = "Fake";

	switch (t->regs.nr) {
	case __NR_getpid:
		return 4711;
	case __NR_uname:
		return copy_out(t->regs.rdi, name, sizeof(name));
	case __NR_socket:
		return new_file(t->regs.rsi & O_CLOEXEC);
	case __NR_open:
		return new_file(t->regs.rsi & O_CLOEXEC);
	case __NR_openat:
		return new_file(t->regs.rdx & O_CLOEXEC);
	case __NR_read:
		/* An execve forgets a fake kernel, but not who has its descriptors. */
		return copy_out(t->regs.rsi, text, sizeof(text)) ? -EFAULT : (long)sizeof(text);
	case __NR_fcntl:
		return kernel_fcntl(t->regs.rdi, t->regs.rsi, t->regs.rdx);
	}
	return -ENOSYS;
}
