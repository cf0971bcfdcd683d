// SPDX-License-Identifier: GPL-2.0-only
/* select over descriptors of both kernels: it becomes a poll, as in Linux's fs/select.c. */
#include "poll.h"

#include "files.h"

#define SETS 3
#define MOST 65536 /* descriptors in a set */
#define FEW 256 /* descriptors that need no memory */
#define IN_EVENTS (POLLIN | POLLRDNORM | POLLRDBAND)
#define OUT_EVENTS (POLLOUT | POLLWRNORM | POLLWRBAND)

/* What a set asks for, and what it is told. */
static const struct {
	short events, found;
} kinds[SETS] = {
	{ IN_EVENTS, IN_EVENTS | POLLHUP | POLLERR },
	{ OUT_EVENTS, OUT_EVENTS | POLLERR },
	{ POLLPRI, POLLPRI },
};

struct selection {
	unsigned int count; /* of numbers that are looked at */
	size_t bytes; /* of a set */
	uint64_t at[SETS]; /* the program's sets, 0: none */
	uint8_t *sets[SETS];
	struct pollfd *polled;
	unsigned int used;
};

static size_t room_for(const struct selection *s)
{
	return SETS * s->bytes + s->count * sizeof(*s->polled);
}

static short wanted(const struct selection *s, unsigned int fd)
{
	short events = 0;

	for (int i = 0; i < SETS; i++)
		if (s->at[i] && s->sets[i][fd / 8] >> fd % 8 & 1)
			events |= kinds[i].events;
	return events;
}

/* The sets, as descriptors to poll. True: there are some of the kernel's. */
static bool gather(const struct files *files, struct selection *s)
{
	bool owned = false;

	for (unsigned int fd = 0; fd < s->count; fd++) {
		short events = wanted(s, fd);

		if (!events)
			continue;
		owned |= files_owned(files, fd) || is_reserved(files, fd);
		s->polled[s->used++] = (struct pollfd){ (int)fd, events, 0 };
	}
	return owned;
}

/* The sets as the program gets them. The number of bits, or -EBADF. */
static long report(struct selection *s)
{
	long found = 0;

	for (unsigned int i = 0; i < SETS * s->bytes; i++)
		s->sets[0][i] = 0;
	for (struct pollfd *p = s->polled; p < s->polled + s->used; p++) {
		int none = 0;

		if (p->fd < 0)
			continue;
		if (p->revents & POLLNVAL)
			return -EBADF;
		for (int i = 0; i < SETS; i++) {
			if (!s->at[i] || !(p->events & kinds[i].events) ||
			    !(p->revents & kinds[i].found))
				continue;
			s->sets[i][p->fd / 8] |= 1u << p->fd % 8;
			none++;
		}
		found += none;
		/* It has something that select does not tell: nobody asks for it again. */
		if (p->revents && !none)
			p->fd = -1;
	}
	return found;
}

static bool any_revents(const struct selection *s)
{
	for (unsigned int i = 0; i < s->used; i++)
		if (s->polled[i].fd >= 0 && s->polled[i].revents)
			return true;
	return false;
}

static long select_both(struct thread *t, struct selection *s, timespec_t *timeout)
{
	long result;
	bool untold;

	do {
		result = poll_both(t, s->polled, s->used, timeout);
		if (result < 0)
			return result;
		untold = any_revents(s);
		result = report(s);
	} while (!result && untold);
	for (int i = 0; i < SETS && result >= 0; i++)
		if (s->at[i] && copy_out(s->at[i], s->sets[i], s->bytes))
			result = -EFAULT;
	return result;
}

/* *mixed: is it for us at all? */
static long select_program(struct thread *t, timespec_t *timeout, uint64_t mask_at, bool *mixed)
{
	uint8_t few[SETS * FEW / 8 + FEW * sizeof(struct pollfd)] __attribute__((aligned(8)));
	struct selection s = { .at = { t->regs.rsi, t->regs.rdx, t->regs.r10 } };
	int count = (int)t->regs.rdi;
	uint8_t *room = few;
	long result = 0;

	*mixed = false;
	if (count <= 0 || count > MOST)
		return 0;
	s.count = (unsigned int)count;
	s.bytes = (s.count + 63) / 64 * 8;
	if (s.count > FEW)
		room = map_pages(room_for(&s));
	if (!room)
		return 0;
	for (int i = 0; i < SETS; i++) {
		s.sets[i] = room + i * s.bytes;
		if (s.at[i] && copy_in(s.sets[i], s.at[i], s.bytes))
			result = -EFAULT;
	}
	s.polled = (struct pollfd *)(room + SETS * s.bytes);
	*mixed = !result && gather(t->files, &s);
	if (*mixed) {
		result = mask_at ? mask_begin(t, mask_at) : 0;
		if (!result) {
			result = select_both(t, &s, timeout);
			if (mask_at)
				mask_end(t);
		}
	}
	if (room != few)
		host(__NR_munmap, room, room_for(&s));
	return result;
}

long call_select(struct thread *t)
{
	uint64_t at = t->regs.r8;
	int64_t given[2]; /* seconds and microseconds */
	timespec_t timeout;
	bool mixed;
	long result;

	if (files_none(t->files))
		return call_through(t);
	if (at && copy_in(given, at, sizeof(given)))
		return -EFAULT;
	if (at && (given[0] < 0 || given[1] < 0))
		return -EINVAL;
	if (at)
		timeout = (timespec_t){ given[0] + given[1] / 1000000, given[1] % 1000000 * 1000 };
	result = select_program(t, at ? &timeout : NULL, 0, &mixed);
	if (!mixed)
		return call_through(t);
	if (at && result != RESTART) {
		given[0] = timeout.tv_sec;
		given[1] = timeout.tv_nsec / 1000;
		copy_out(at, given, sizeof(given));
	}
	return result;
}

long call_pselect6(struct thread *t)
{
	uint64_t at = t->regs.r8;
	uint64_t mask[2] = { 0, 0 }; /* where, and its size */
	timespec_t timeout;
	bool mixed;
	long result;

	if (files_none(t->files))
		return call_sized_mask(t);
	if ((at && copy_in(&timeout, at, sizeof(timeout))) ||
	    (t->regs.r9 && copy_in(mask, t->regs.r9, sizeof(mask))))
		return -EFAULT;
	if (mask[0] && mask[1] != sizeof(mask_t))
		return -EINVAL;
	result = select_program(t, at ? &timeout : NULL, mask[0], &mixed);
	if (!mixed)
		return call_sized_mask(t);
	if (at && result != RESTART)
		copy_out(at, &timeout, sizeof(timeout));
	return result;
}
