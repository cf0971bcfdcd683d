// SPDX-License-Identifier: GPL-2.0-only
/*
 * In place of a library kernel, to try the plug: a kernel whose files all say
 * "fake", whose name is fake too, and whose numbers begin at 0 as a kernel's do.
 */
#include "kernel.h"

#include <asm/poll.h>
#include <linux/fcntl.h>

#define FILES 1024

bool kernel_present = true, kernel_ready;
int kernel_fds = 1 << 29; /* beyond all */

/* 0: closed, else what F_GETFD says, and 2. In memory of the process: a copy after a fork. */
static uint8_t files[FILES];

static bool is_open(long fd)
{
	return fd >= 0 && fd < FILES && files[fd];
}

static long close_file(int fd)
{
	if (!is_open(fd))
		return -EBADF;
	files[fd] = 0;
	return 0;
}

static long dup_file(int from, int to, bool cloexec)
{
	if (!is_open(from) || to >= FILES)
		return -EBADF;
	files[to] = 2 | cloexec;
	return to;
}

static long fcntl_file(int fd, int command, long argument)
{
	if (!is_open(fd))
		return -EBADF;
	if (command == F_SETFD)
		files[fd] = 2 | (argument & 1);
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

long kernel_call_with(struct thread *t, long nr, const unsigned long args[6])
{
	static const char text[] = "fake";
	char name[65 * 6] = "Fake";

	(void)t;
	switch (nr) {
	case __NR_getpid:
		return 4711;
	case __NR_uname:
		return copy_out(args[0], name, sizeof(name));
	case __NR_socket:
		return new_file(args[1] & O_CLOEXEC);
	case __NR_open:
		return new_file(args[1] & O_CLOEXEC);
	case __NR_openat:
		return new_file(args[2] & O_CLOEXEC);
	case __NR_read:
		/* An execve forgets a fake kernel, but not who has its descriptors. */
		return copy_out(args[1], text, sizeof(text)) ? -EFAULT : (long)sizeof(text);
	case __NR_fcntl:
		return fcntl_file(args[0], args[1], args[2]);
	}
	return -ENOSYS;
}

long kernel_call(struct thread *t)
{
	const struct regs *r = &t->regs;

	return kernel_call_with(t, r->nr,
				(unsigned long[6]){ r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 });
}

long kernel_poll(struct thread *t, long nr, const unsigned long args[6], struct pollfd *also,
		 unsigned int count, int *ready)
{
	(void)t;
	(void)nr;
	(void)args;
	*ready = (int)host(__NR_poll, also, count, -1);
	return -EINTR;
}

long kernel6(long nr, long a0, long a1, long a2, long a3, long a4, long a5)
{
	(void)a3;
	(void)a4;
	(void)a5;
	switch (nr) {
	case __NR_close:
		return close_file(a0);
	case __NR_dup3:
		return dup_file(a0, a1, a2 & O_CLOEXEC);
	case __NR_fcntl:
		return fcntl_file(a0, a1, a2);
	case __NR_epoll_create1:
		return new_file(a0 & O_CLOEXEC);
	}
	return -ENOSYS;
}

/* It has no code that could be interrupted, and its processes are as the host's. */
void kernel_begin(int fds)
{
	(void)fds;
}

int kernel_attach(struct thread *t)
{
	(void)t;
	return 0;
}

void kernel_attached(struct thread *t)
{
	(void)t;
}

bool kernel_fault(int sig, siginfo_t *info, struct ucontext *uc)
{
	(void)sig;
	(void)info;
	(void)uc;
	return false;
}

bool kernel_inside(const struct thread *t, uint64_t rip, uint64_t rsp)
{
	(void)t;
	(void)rip;
	(void)rsp;
	return false;
}

void kernel_interrupt(struct thread *t)
{
	(void)t;
}

int kernel_thread_begin(struct thread *child)
{
	(void)child;
	return 0;
}

long kernel_get_owner(int fd, struct rumpel_owner *owner)
{
	(void)fd;
	*owner = (struct rumpel_owner){ 0 };
	return 0;
}

long kernel_set_owner(int fd, const struct rumpel_owner *owner)
{
	(void)fd;
	(void)owner;
	return -ENOSYS;
}

void kernel_thread_end(struct thread *t)
{
	(void)t;
}

int kernel_fork_begin(struct thread *t, uint64_t flags, uint64_t *child)
{
	(void)t;
	(void)flags;
	*child = 0;
	return 0;
}

void kernel_fork_child(uint64_t child)
{
	(void)child;
}

void kernel_fork_parent(uint64_t child, long pid)
{
	(void)child;
	(void)pid;
}

void kernel_exec_begin(struct thread *t)
{
	(void)t;
}

void kernel_exec_failed(void)
{
}

void kernel_exit(struct thread *t)
{
	(void)t;
}

long kernel_give(int fd)
{
	(void)fd;
	return -ENOSYS;
}

long kernel_take(long number)
{
	(void)number;
	return -ENOSYS;
}

long kernel_kill(struct thread *t)
{
	return call_through(t);
}
