// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "stream.h"

#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* So much a pipe takes whenever it takes anything: for those that we may block in. */
#define PIPE_LEAST 4096
#define TERMINAL_LEAST 512

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

/*
 * Whether a descriptor blocks is a property that it shares with other processes,
 * so a pipe is opened once more; of what cannot be, we take only what is there.
 */
int rumpel_stream_open(struct rumpel_stream *stream, int fd, int mode)
{
	char path[32];
	struct stat stat;

	if (fd < 0)
		return 0;
	if (fstat(fd, &stat))
		return -errno;
	stream->bytes = malloc(RUMPEL_STREAM_ROOM);
	if (!stream->bytes)
		return -ENOMEM;
	if (S_ISFIFO(stat.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		stream->watch.fd = open(path, mode | O_NONBLOCK | O_CLOEXEC);
	}
	if (stream->watch.fd < 0) {
		stream->socket = S_ISSOCK(stat.st_mode);
		stream->blocks = !stream->socket;
		stream->least = S_ISCHR(stat.st_mode) ? TERMINAL_LEAST : PIPE_LEAST;
		stream->watch.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	return stream->watch.fd < 0 ? -errno : 0;
}

void rumpel_stream_close(struct rumpel_stream *stream)
{
	if (stream->watch.fd >= 0)
		close(stream->watch.fd);
	stream->watch.fd = -1;
	stream->watch.events = 0;
	stream->start = stream->end = 0;
}

void rumpel_stream_end(struct rumpel_stream *stream)
{
	/* The other direction has descriptors of its own. */
	if (stream->socket)
		shutdown(stream->watch.fd, SHUT_WR);
	rumpel_stream_close(stream);
}

void rumpel_stream_free(struct rumpel_stream *stream)
{
	rumpel_stream_close(stream);
	free(stream->bytes);
}

static bool is_ready(const struct rumpel_stream *stream, short events)
{
	struct pollfd pollfd = { .fd = stream->watch.fd, .events = events };

	return !stream->blocks || poll(&pollfd, 1, 0) > 0;
}

ssize_t rumpel_stream_fill(struct rumpel_stream *stream)
{
	size_t room;
	ssize_t len;
	char *at;

	memmove(stream->bytes, stream->bytes + stream->start, stream->end - stream->start);
	stream->end -= stream->start;
	stream->start = 0;
	at = stream->bytes + stream->end;
	room = RUMPEL_STREAM_ROOM - stream->end;
	if (!is_ready(stream, POLLIN))
		return -EAGAIN;
	do {
		len = stream->socket ? recv(stream->watch.fd, at, room, MSG_DONTWAIT)
				     : read(stream->watch.fd, at, room);
	} while (len < 0 && errno == EINTR);
	if (len > 0)
		stream->end += len;
	/* A terminal that has gone, a directory: no more than an end. */
	return len < 0 && errno == EAGAIN ? -EAGAIN : len < 0 ? 0 : len;
}

char *rumpel_stream_room(struct rumpel_stream *stream, size_t len)
{
	if (RUMPEL_STREAM_ROOM - stream->end < len && stream->start) {
		memmove(stream->bytes, stream->bytes + stream->start, stream->end - stream->start);
		stream->end -= stream->start;
		stream->start = 0;
	}
	return RUMPEL_STREAM_ROOM - stream->end < len ? NULL : stream->bytes + stream->end;
}

static ssize_t send_some(int fd, const void *data, size_t len)
{
	ssize_t done = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	return done < 0 ? -errno : done;
}

bool rumpel_stream_pass(struct rumpel_stream *stream, const struct iovec *iov, unsigned int count,
			size_t len)
{
	struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = count };
	ssize_t done;

	if (!stream->socket || stream->start < stream->end)
		return false;
	/* An error is found again by whoever flushes. */
	done = sendmsg(stream->watch.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done <= 0)
		return false;
	stream->start = 0;
	stream->end = rumpel_iov_read(iov, count, done, stream->bytes, len - done);
	return true;
}

int rumpel_stream_flush(struct rumpel_stream *stream)
{
	while (stream->start < stream->end) {
		const char *at = stream->bytes + stream->start;
		size_t len = stream->end - stream->start;
		ssize_t done;

		if (!is_ready(stream, POLLOUT))
			return -EAGAIN;
		if (stream->blocks && len > stream->least)
			len = stream->least;
		done = stream->socket ? send_some(stream->watch.fd, at, len)
				      : rumpel_stream_write(stream->watch.fd, at, len);
		if (done >= 0)
			stream->start += done;
		else if (done != -EINTR)
			return (int)done;
	}
	stream->start = stream->end = 0;
	return 0;
}
