// SPDX-License-Identifier: GPL-2.0-only
#include "stream.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

ssize_t rumpel_stream_write(int fd, const void *data, size_t len)
{
	const struct timespec now = { 0 };
	sigset_t pipe, old;
	ssize_t done;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &old);
	done = write(fd, data, len);
	if (done < 0)
		done = -errno;
	if (done == -EPIPE && !sigismember(&old, SIGPIPE))
		sigtimedwait(&pipe, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return done;
}
