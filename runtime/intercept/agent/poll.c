// SPDX-License-Identifier: GPL-2.0-only
/* poll and select over descriptors of the host and of a library kernel. */
#include "poll.h"

#include "files.h"

#define FEW 64 /* descriptors that need no memory */

struct both {
	struct pollfd *kernel, *host;
	unsigned int *which; /* index of a host's in the whole */
	unsigned int kernel_count, host_count;
};

static size_t room_for(unsigned int count)
{
	return (2 * sizeof(struct pollfd) + sizeof(unsigned int)) * (size_t)count;
}

static void divide(const struct files *files, const struct pollfd *all, unsigned int count,
		   void *room, struct both *both)
{
	both->kernel = room;
	both->host = both->kernel + count;
	both->which = (unsigned int *)(both->host + count);
	both->kernel_count = both->host_count = 0;
	for (unsigned int i = 0; i < count; i++) {
		int fd = all[i].fd;
		bool owned = files_owned(files, fd), reserved = fd >= 0 && is_reserved(files, fd);

		both->kernel[i] = (struct pollfd){ owned ? fd : -1, all[i].events, 0 };
		both->kernel_count += owned;
		if (fd < 0 || (owned && !files_dual(files, fd)))
			continue;
		/* The agent's are not there: a number that never is. */
		both->host[both->host_count] =
			(struct pollfd){ reserved ? 0x7fffffff : fd, all[i].events, 0 };
		both->which[both->host_count++] = i;
	}
}

/* What was found, of both. The number of descriptors that have something. */
static long join(struct pollfd *all, unsigned int count, const struct both *both)
{
	long found = 0;

	for (unsigned int i = 0; i < count; i++)
		all[i].revents = both->kernel[i].revents;
	for (unsigned int i = 0; i < both->host_count; i++)
		all[both->which[i]].revents |= both->host[i].revents;
	for (unsigned int i = 0; i < count; i++)
		found += all[i].revents != 0;
	return found;
}

static long wait_divided(struct thread *t, struct pollfd *all, unsigned int count,
			 timespec_t *timeout, struct both *both)
{
	const unsigned long args[6] = { (unsigned long)both->kernel, count, (unsigned long)timeout,
					0, sizeof(mask_t) };
	long result;
	int ready = 0, tries = 2;

	if (!both->kernel_count) {
		const long host_args[6] = { (long)both->host, both->host_count, (long)timeout, 0,
					    sizeof(mask_t) };

		result = call_waiting(t, __NR_ppoll, host_args);
		return result > 0 ? join(all, count, both) : result;
	}
	do {
		result = kernel_poll(t, __NR_ppoll, args, both->host, both->host_count, &ready);
		if (result == -EINTR && ready > 0) {
			for (unsigned int i = 0; i < count; i++)
				both->kernel[i].revents = 0;
			result = 0;
		}
	} while (result == -EINTR && !(t->work & WORK_PENDING) && --tries);
	return result < 0 ? result : join(all, count, both);
}

long poll_both(struct thread *t, struct pollfd *polled, unsigned int count, timespec_t *timeout)
{
	char few[FEW * (2 * sizeof(struct pollfd) + sizeof(unsigned int))]
		__attribute__((aligned(8)));
	void *room = count <= FEW ? few : map_pages(room_for(count));
	struct both both;
	long result;

	if (!room)
		return -ENOMEM;
	divide(t->files, polled, count, room, &both);
	result = wait_divided(t, polled, count, timeout, &both);
	if (room != few)
		host(__NR_munmap, room, room_for(count));
	return result;
}

static bool any_owned(const struct files *files, const struct pollfd *polled, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (files_owned(files, polled[i].fd) || is_reserved(files, polled[i].fd))
			return true;
	return false;
}

/* The program's array; *few has room for FEW. NULL: bad, or too many. */
static struct pollfd *fetch(uint64_t at, uint64_t count, struct pollfd *few, long *error)
{
	struct pollfd *polled = few;

	*error = -EINVAL;
	if (count > FDS)
		return NULL;
	*error = -ENOMEM;
	if (count > FEW)
		polled = map_pages(count * sizeof(*polled));
	if (!polled)
		return NULL;
	*error = 0;
	if (count && copy_in(polled, at, count * sizeof(*polled)))
		*error = -EFAULT;
	return polled;
}

/* mask_at 0: none. *mixed: is it for us at all? */
static long poll_program(struct thread *t, timespec_t *timeout, uint64_t mask_at, bool *mixed)
{
	struct pollfd few[FEW], *polled;
	uint64_t at = t->regs.rdi, count = (uint32_t)t->regs.rsi;
	long result;

	polled = fetch(at, count, few, &result);
	*mixed = polled && !result && any_owned(t->files, polled, count);
	if (*mixed) {
		result = mask_at ? mask_begin(t, mask_at) : 0;
		if (!result) {
			result = poll_both(t, polled, count, timeout);
			if (mask_at)
				mask_end(t);
		}
		if (result >= 0 && copy_out(at, polled, count * sizeof(*polled)))
			result = -EFAULT;
	}
	if (polled && polled != few)
		host(__NR_munmap, polled, count * sizeof(*polled));
	return result;
}

static timespec_t *from_ms(timespec_t *timeout, int ms)
{
	if (ms < 0)
		return NULL;
	*timeout = (timespec_t){ ms / 1000, ms % 1000 * 1000000ll };
	return timeout;
}

long call_poll(struct thread *t)
{
	timespec_t timeout;
	bool mixed;
	long result;

	if (files_none(t->files))
		return call_through(t);
	result = poll_program(t, from_ms(&timeout, (int)t->regs.rdx), 0, &mixed);
	return mixed ? result : call_through(t);
}

long call_ppoll(struct thread *t)
{
	uint64_t at = t->regs.rdx, mask_at = t->regs.r10;
	timespec_t timeout;
	bool mixed = false;
	long result = 0;

	if (!files_none(t->files)) {
		if (at && copy_in(&timeout, at, sizeof(timeout)))
			return -EFAULT;
		if (mask_at && t->regs.r8 != sizeof(mask_t))
			return -EINVAL;
		result = poll_program(t, at ? &timeout : NULL, mask_at, &mixed);
	}
	if (!mixed)
		return call_masked(t, 3, mask_at, t->regs.r8);
	if (at && result != RESTART)
		copy_out(at, &timeout, sizeof(timeout));
	return result;
}
