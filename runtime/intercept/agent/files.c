// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors: the program sees one space of numbers. One of the library kernel has
 * the same number there, and on the host a placeholder, so that the host does not give
 * the number to anything else; whether it is closed by an execve is the placeholder's flag.
 * The agent's own descriptors are closed by nobody.
 */
#include "files.h"

#include <linux/close_range.h>
#include <asm/resource.h>
#include <linux/fcntl.h>

#include "execute.h"
#include "kernel.h"
#include "message.h"
#include "policy.h"

static bool any;

struct files *files_new(int agent_fd)
{
	struct files *files = map_pages(sizeof(*files));

	if (files) {
		files->highest = -1;
		files->agent_fd = agent_fd;
	}
	return files;
}

void files_reserve(struct files *files, int n)
{
	host(__NR_dup3, files->agent_fd, files->agent_fd + n, O_CLOEXEC);
}

struct files *files_copy(struct files *from)
{
	struct files *to = files_new(from->agent_fd);

	if (!to)
		return NULL;
	lock(&from->lock);
	to->highest = from->highest;
	memcpy(to->owned, from->owned, (size_t)(from->highest + 64) / 64 * 8);
	unlock(&from->lock);
	return to;
}

void files_free(struct files *files)
{
	host(__NR_munmap, files, sizeof(*files));
}

void files_lock(struct files *files)
{
	lock(&files->lock);
}

void files_unlock(struct files *files)
{
	unlock(&files->lock);
}

bool files_any(void)
{
	return any;
}

bool files_owned(const struct files *files, long fd)
{
	int n = (int)fd;

	return n >= 0 && n <= files->highest && files->owned[n / 64] >> n % 64 & 1;
}

static void own(struct files *files, int fd)
{
	lock(&files->lock);
	files->owned[fd / 64] |= 1ull << fd % 64;
	if (fd > files->highest)
		files->highest = fd;
	unlock(&files->lock);
	any = true;
	policy_active = kernel_present;
}

/* The number is free, or somebody else's: true if it was the kernel's. */
static bool disown(struct files *files, int fd)
{
	bool was = files_owned(files, fd);

	if (was) {
		lock(&files->lock);
		files->owned[fd / 64] &= ~(1ull << fd % 64);
		unlock(&files->lock);
	}
	return was;
}

/* A placeholder: nothing can be done with it. */
static long placeholder(void)
{
	return host(__NR_openat, AT_FDCWD, "/", O_PATH);
}

long files_place(struct files *files, int kernel_fd)
{
	long flags = kernel_fcntl(kernel_fd, F_GETFD, 0), fd = placeholder();

	if (fd >= (long)FDS) {
		host(__NR_close, fd);
		fd = -EMFILE;
	}
	if (fd >= 0 && (flags & FD_CLOEXEC))
		host(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
	if (fd < 0 || fd == kernel_fd) {
		if (fd < 0)
			kernel_close(kernel_fd);
		else
			own(files, fd);
		return fd;
	}
	kernel_dup2(kernel_fd, fd);
	kernel_close(kernel_fd);
	own(files, fd);
	return fd;
}

long files_send(const struct files *files, int message_fd)
{
	long at = sizeof(struct message), done;
	uint32_t count = 0;

	for (int32_t fd = 0; fd <= files->highest; fd++) {
		if (!files_owned(files, fd) || (host(__NR_fcntl, fd, F_GETFD) & FD_CLOEXEC))
			continue;
		done = host(__NR_pwrite64, message_fd, &fd, sizeof(fd), at);
		if (done != sizeof(fd))
			return done < 0 ? done : -EIO;
		at += done;
		count++;
	}
	done = host(__NR_pwrite64, message_fd, &count, sizeof(count),
		    offsetof(struct message, owned_count));
	return done < 0 ? done : 0;
}

void files_receive(struct files *files, int message_fd, uint32_t count)
{
	long at = sizeof(struct message);
	int32_t fd;

	for (; count; count--, at += sizeof(fd)) {
		if (host(__NR_pread64, message_fd, &fd, sizeof(fd), at) != sizeof(fd))
			return;
		own(files, fd);
	}
}

long call_close(struct thread *t)
{
	int fd = (int)t->regs.rdi;

	if (is_reserved(t->files, fd))
		return -EBADF;
	/* Before the number is free for others. */
	if (disown(t->files, fd))
		kernel_close(fd);
	return call_through(t);
}

long call_close_range(struct thread *t)
{
	uint64_t first = (uint32_t)t->regs.rdi, last = (uint32_t)t->regs.rsi;
	uint64_t flags = (uint32_t)t->regs.rdx;
	uint64_t ours = (uint32_t)t->files->agent_fd, above = ours + FDS_RESERVED;
	long result;

	for (uint64_t fd = first; !(flags & CLOSE_RANGE_CLOEXEC) && first <= last && fd <= last &&
				  (int64_t)fd <= t->files->highest;
	     fd++)
		if (disown(t->files, (int)fd))
			kernel_close((int)fd);
	if (first > last || last < ours || first >= above)
		return call_through(t);
	/* Around the agent's. */
	if (first < ours) {
		result = host(__NR_close_range, first, ours - 1, flags);
		if (result)
			return result;
		flags &= ~(uint64_t)CLOSE_RANGE_UNSHARE;
	}
	return last >= above ? host(__NR_close_range, above, last, flags) : 0;
}

/* fd is a copy of from for the host: make it one for the kernel too. */
static void follow(struct thread *t, int from, long fd)
{
	if (fd < 0 || fd == from)
		return;
	if (!files_owned(t->files, from)) {
		if (disown(t->files, fd))
			kernel_close(fd);
		return;
	}
	kernel_dup2(from, fd);
	own(t->files, fd);
}

static long dup_to(struct thread *t)
{
	long fd;

	if (is_reserved(t->files, t->regs.rdi) || is_reserved(t->files, t->regs.rsi))
		return -EBADF;
	fd = call_through(t);
	follow(t, (int)t->regs.rdi, fd);
	return fd;
}

long call_dup2(struct thread *t)
{
	return dup_to(t);
}

long call_dup3(struct thread *t)
{
	return dup_to(t);
}

long call_dup(struct thread *t)
{
	long fd;

	if (is_reserved(t->files, t->regs.rdi))
		return -EBADF;
	fd = call_through(t);
	follow(t, (int)t->regs.rdi, fd);
	return fd;
}

long call_fcntl(struct thread *t)
{
	int fd = (int)t->regs.rdi, command = (int)t->regs.rsi;
	long result;

	if (is_reserved(t->files, fd))
		return -EBADF;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
		result = call_through(t);
		follow(t, fd, result);
		return result;
	}
	/* The flag of a number is the placeholder's, all else is the file's. */
	if (files_owned(t->files, fd) && command != F_GETFD && command != F_SETFD)
		return kernel_call(t);
	return call_through(t);
}

/*
 * The limit sinks below the agent's descriptors. They stay open, but nothing can be
 * put there any more, as an execve has to: they move down, if there is room.
 */
static void move_below(struct files *files, uint64_t limit)
{
	int old = files->agent_fd;

	for (long base = (long)limit - FDS_RESERVED; base > 2; base--) {
		int taken = 0;

		while (taken < FDS_RESERVED && host(__NR_fcntl, base + taken, F_GETFD) < 0)
			taken++;
		if (taken < FDS_RESERVED)
			continue;
		for (int n = 0; n < FDS_RESERVED; n++) {
			long flags = host(__NR_fcntl, old + n, F_GETFD);

			host(__NR_dup3, old + n, base + n, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
		}
		files->agent_fd = base;
		for (int n = 0; n < FDS_RESERVED; n++)
			host(__NR_close, old + n);
		return;
	}
}

static long limit(struct thread *t, int resource, uint64_t new_at)
{
	uint64_t soft;

	if (resource == RLIMIT_NOFILE && new_at && !copy_in(&soft, new_at, sizeof(soft)) &&
	    soft < (uint64_t)t->files->agent_fd + FDS_RESERVED) {
		/* An execve of another thread has its descriptors there meanwhile. */
		execute_lock();
		lock(&t->files->lock);
		move_below(t->files, soft);
		unlock(&t->files->lock);
		execute_unlock();
	}
	return call_through(t);
}

long call_setrlimit(struct thread *t)
{
	return limit(t, (int)t->regs.rdi, t->regs.rsi);
}

long call_prlimit64(struct thread *t)
{
	int pid = (int)t->regs.rdi;

	if (pid && pid != host_pid())
		return call_through(t);
	return limit(t, (int)t->regs.rsi, t->regs.rdx);
}
