// SPDX-License-Identifier: GPL-2.0-only
/* No library kernel is plugged in: nothing is ever asked of it. */
#include "kernel.h"

const bool kernel_present = false;

long kernel_call(struct thread *t)
{
	(void)t;
	return -ENOSYS;
}

long kernel_dup2(int from, int to)
{
	(void)from;
	(void)to;
	return -EBADF;
}

long kernel_close(int fd)
{
	(void)fd;
	return -EBADF;
}

long kernel_fcntl(int fd, int command, long argument)
{
	(void)fd;
	(void)command;
	(void)argument;
	return -EBADF;
}
