/* SPDX-License-Identifier: GPL-2.0-only */
/* Pipes, sockets, terminals and files of the host, which nobody ever waits for. */
#ifndef RUMPEL_VIRTIO_STREAM_H
#define RUMPEL_VIRTIO_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "../kernel.h"

#define RUMPEL_STREAM_ROOM (512u << 10)

/* One direction of such a thing, with the bytes that were read, or are to be written. */
struct rumpel_stream {
	struct rumpel_watch watch; /* fd -1: there is none, or not any more */
	bool socket;
	bool blocks; /* the descriptor is shared with others, who want that */
	size_t least; /* bytes that it takes if it takes any */
	char *bytes;
	size_t start, end;
};

/* Bytes, or a negative errno. A reader that went away ends no process. */
ssize_t rumpel_stream_write(int fd, const void *data, size_t len);

/* mode: O_RDONLY or O_WRONLY; fd: duplicated, -1: there is none. */
int rumpel_stream_open(struct rumpel_stream *stream, int fd, int mode);
/* What was read, or not yet written, is lost. */
void rumpel_stream_close(struct rumpel_stream *stream);
/* The same, and the reader sees an end, even if it writes to us. */
void rumpel_stream_end(struct rumpel_stream *stream);
void rumpel_stream_free(struct rumpel_stream *stream);

/* Reads more: bytes; 0: the end; -EAGAIN: nothing there now. */
ssize_t rumpel_stream_fill(struct rumpel_stream *stream);
/* Room for `len` bytes at the end of what is to be written, or NULL. */
char *rumpel_stream_room(struct rumpel_stream *stream, size_t len);
/*
 * Writes `len` bytes of these at once, copying nothing but what a socket does not take. Only
 * where nothing waits to be written. False: it is no socket, or takes nothing now.
 */
bool rumpel_stream_pass(struct rumpel_stream *stream, const struct iovec *iov, unsigned int count,
			size_t len);
/* Writes: 0: all of it; -EAGAIN: it does not take more now; another errno: it is broken. */
int rumpel_stream_flush(struct rumpel_stream *stream);

#endif
