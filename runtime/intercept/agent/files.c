// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors: the program sees one space of numbers. One of the library kernel has
 * the same number there, and on the host a placeholder, so that the host does not give
 * the number to anything else. An epoll is one of each kernel with the same number.
 * The agent's own descriptors, and the kernel's, are closed by nobody.
 */
#include "files.h"

#include <linux/close_range.h>
#include <linux/fcntl.h>
#include <linux/sched.h>

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
	to->inside = from->inside;
	memcpy(to->owned, from->owned, (size_t)(from->highest + 64) / 64 * 8);
	memcpy(to->dual, from->dual, (size_t)(from->highest + 64) / 64 * 8);
	unlock(&from->lock);
	return to;
}

long files_unshare(struct thread *t)
{
	struct files *files = files_copy(t->files);
	long error;

	if (!files)
		return -ENOMEM;
	error = host(__NR_unshare, CLONE_FILES);
	/* Containers forbid the former, old hosts have not got the latter. */
	if (error)
		error = host(__NR_close_range, ~0u, ~0u, CLOSE_RANGE_UNSHARE);
	if (error)
		files_free(files);
	else
		t->files = files;
	if (!error && kernel_present)
		kernel(__NR_unshare, CLONE_FILES);
	return error;
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

bool files_dual(const struct files *files, long fd)
{
	int n = (int)fd;

	return files_owned(files, n) && files->dual[n / 64] >> n % 64 & 1;
}

void files_own(struct files *files, int fd, bool dual)
{
	uint64_t bit = 1ull << fd % 64;

	lock(&files->lock);
	files->owned[fd / 64] |= bit;
	if (dual)
		files->dual[fd / 64] |= bit;
	if (fd > files->highest)
		files->highest = fd;
	unlock(&files->lock);
	any = true;
	policy_active = kernel_present;
}

bool files_disown(struct files *files, int fd)
{
	bool was = files_owned(files, fd);

	if (was) {
		lock(&files->lock);
		files->owned[fd / 64] &= ~(1ull << fd % 64);
		files->dual[fd / 64] &= ~(1ull << fd % 64);
		unlock(&files->lock);
	}
	return was;
}

/*
 * A number with a placeholder, with which nothing can be done: it is a second one of the agent's
 * own file, which is open for its path only.
 */
static long placeholder(const struct files *files, bool cloexec)
{
	return host(__NR_fcntl, files->agent_fd + FD_AGENT, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
}

long files_place(struct files *files, int kernel_fd)
{
	bool cloexec = kernel(__NR_fcntl, kernel_fd, F_GETFD) & FD_CLOEXEC;
	long fd = placeholder(files, cloexec);

	if (fd >= (long)FDS) {
		host(__NR_close, fd);
		fd = -EMFILE;
	}
	if (fd != kernel_fd) {
		if (fd >= 0)
			kernel(__NR_dup3, kernel_fd, fd, cloexec ? O_CLOEXEC : 0);
		kernel(__NR_close, kernel_fd);
	}
	if (fd >= 0)
		files_own(files, fd, false);
	return fd;
}

long files_send(const struct files *files, int message_fd)
{
	long at = sizeof(struct message), done;
	uint32_t count = 0;
	int32_t item;

	for (int32_t fd = 0; fd <= files->highest; fd++) {
		if (!files_owned(files, fd) || (host(__NR_fcntl, fd, F_GETFD) & FD_CLOEXEC))
			continue;
		item = fd | (files_dual(files, fd) ? DUAL_BIT : 0);
		done = host(__NR_pwrite64, message_fd, &item, sizeof(item), at);
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
		files_own(files, fd & ~DUAL_BIT, fd & DUAL_BIT);
	}
}
