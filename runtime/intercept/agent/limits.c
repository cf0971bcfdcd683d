// SPDX-License-Identifier: GPL-2.0-only
/* Limits of resources: those that the agent and the kernel themselves come up against. */
#include <asm/resource.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/resource.h>

#include "dispatch.h"
#include "files.h"

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

static void sink(struct thread *t, uint64_t soft)
{
	if (soft >= (uint64_t)t->files->agent_fd + FDS_RESERVED)
		return;
	/* An execve of another thread has its descriptors there meanwhile. */
	lock(&t->files->executing);
	lock(&t->files->lock);
	move_below(t->files, soft);
	unlock(&t->files->lock);
	unlock(&t->files->executing);
}

/*
 * What a process has of addresses for the kernel: heap, image, guest memory, and two ranges
 * (runtime/shared/instance.h). Some 20 MiB too much, which the agent may have.
 * src/rumpel/run/limits.py has the same.
 */
#define RANGES (RUMPEL_SHARED_MAPPINGS_SIZE + (4ull << 30))
#define NOT_MAPPED (448ull << 20) /* of the memfd: between image and guest memory */

static uint64_t kernel_room(void)
{
	static uint64_t room; /* the same for all that the program becomes */
	struct stat info;

	if (!room && kernel_present &&
	    !host(__NR_fstat, kernel_fds + RUMPEL_SHARED_FD_MEMORY, &info))
		room = RANGES - NOT_MAPPED + (uint64_t)info.st_size;
	return room;
}

/* RLIMIT_AS is about the program's own: what the host is told is more, and stays so over fork and exec. */
static long limit_addresses(uint64_t new_at, uint64_t old_at)
{
	struct rlimit64 wanted, before;
	uint64_t room = kernel_room();
	long result;

	if (new_at) {
		if (copy_in(&wanted, new_at, sizeof(wanted)))
			return -EFAULT;
		/* Where it cannot be that much more, there is no limit. */
		wanted.rlim_cur = wanted.rlim_cur < RLIM64_INFINITY - room ? wanted.rlim_cur + room
									   : RLIM64_INFINITY;
		wanted.rlim_max = wanted.rlim_max < RLIM64_INFINITY - room ? wanted.rlim_max + room
									   : RLIM64_INFINITY;
	}
	result = host(__NR_prlimit64, 0, RLIMIT_AS, new_at ? &wanted : NULL, &before);
	if (result || !old_at)
		return result;
	if (before.rlim_cur != RLIM64_INFINITY)
		before.rlim_cur = before.rlim_cur > room ? before.rlim_cur - room : 0;
	if (before.rlim_max != RLIM64_INFINITY)
		before.rlim_max = before.rlim_max > room ? before.rlim_max - room : 0;
	return copy_out(old_at, &before, sizeof(before)) ? -EFAULT : 0;
}

static long limit(struct thread *t, unsigned int resource, uint64_t new_at, uint64_t old_at)
{
	uint64_t soft;

	if (resource == RLIMIT_AS && kernel_present)
		return limit_addresses(new_at, old_at);
	if (resource == RLIMIT_NOFILE && new_at && !copy_in(&soft, new_at, sizeof(soft)))
		sink(t, soft);
	return call_through(t);
}

long call_getrlimit(struct thread *t)
{
	if (!t->regs.rsi)
		return call_through(t);
	return limit(t, (unsigned int)t->regs.rdi, 0, t->regs.rsi);
}

long call_setrlimit(struct thread *t)
{
	if (!t->regs.rsi)
		return call_through(t);
	return limit(t, (unsigned int)t->regs.rdi, t->regs.rsi, 0);
}

long call_prlimit64(struct thread *t)
{
	int pid = (int)t->regs.rdi;

	if (pid && pid != host_pid())
		return call_through(t);
	return limit(t, (unsigned int)t->regs.rsi, t->regs.rdx, t->regs.r10);
}
