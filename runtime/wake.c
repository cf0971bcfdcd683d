// SPDX-License-Identifier: GPL-2.0-only
/* Descriptors that wake threads which poll. */
#include "core.h"

#include <sys/eventfd.h>
#include <unistd.h>

int rumpel_eventfd_open(int *fd)
{
	if (*fd < 0)
		*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? -errno : 0;
}

void rumpel_eventfd_signal(int fd)
{
	const uint64_t one = 1;
	ssize_t written = write(fd, &one, sizeof(one));

	(void)written; /* it fails only if it is full, so readable */
}

int rumpel_wake_fd_take(struct rumpel_kernel *kernel)
{
	int fd, more = -1, error;

	for (unsigned int i = 0; i < MOST_WAKES; i++) {
		struct rumpel_wake *wake = &kernel->wakes[i];
		uint32_t nobody = 0;

		if (!__atomic_compare_exchange_n(&wake->owner, &nobody, rumpel_tid, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		fd = wake->fd;
		if (fd < 0 && rumpel_may_work())
			rumpel_eventfd_open(&fd);
		relaxed_set(&wake->fd, fd);
		if (fd >= 0)
			return fd;
		atomic_set(&wake->owner, 0);
		break;
	}
	/* Others could not signal it. */
	if (!rumpel_may_work())
		return -EMFILE;
	error = rumpel_eventfd_open(&more);
	return error ? error : more;
}

static struct rumpel_wake *find(struct rumpel_kernel *kernel, int fd)
{
	for (unsigned int i = 0; i < MOST_WAKES; i++)
		if (relaxed_get(&kernel->wakes[i].fd) == fd)
			return &kernel->wakes[i];
	return NULL;
}

void rumpel_wake_fd_give(struct rumpel_kernel *kernel, int fd, bool signalled)
{
	struct rumpel_wake *wake;
	uint64_t signals;
	ssize_t got = 0;

	if (fd < 0)
		return;
	wake = find(kernel, fd);
	if (!wake) {
		close(fd);
		return;
	}
	/* One that comes later wakes the next owner for nothing, which is no harm. */
	if (signalled)
		got = read(fd, &signals, sizeof(signals));
	(void)got;
	atomic_set(&wake->owner, 0);
}
