// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-console with one port (VIRTIO 1.2, 5.3): bytes to and from a
 * descriptor of any kind. It may be one that blocks and that others use too,
 * so each read and write is asked for first, and is small.
 *
 * Linux's driver spins until its output is taken. So all output is taken at
 * once, into a buffer; of a reader that is too slow, it loses the rest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mmio.h"
#include "stream.h"

/* A pipe that is ready takes a page without blocking, a terminal a line. */
#define CONSOLE_WRITE 512u
#define CONSOLE_BUFFER (1u << 20)
#define CONSOLE_BATCH 64

struct console {
	struct rumpel_virtio virtio; /* first */
	struct virtio_console_config config;
	struct rumpel_watch watch;
	bool no_input, no_output; /* the descriptor's end, or not its direction */
	bool always; /* a file: poll() has nothing to say */
	char *buffer; /* output that was taken, a ring */
	size_t written, taken; /* bytes ever */
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

static struct console *to_console(struct rumpel_virtio *virtio)
{
	return (struct console *)virtio;
}

static bool console_can(const struct console *console, short events)
{
	struct pollfd pollfd = { .fd = console->watch.fd, .events = events };

	/* Errors and ends are found by trying. */
	return console->always || poll(&pollfd, 1, 0) > 0;
}

/* Writes what was taken, as far as the descriptor goes. */
static void console_flush(struct console *console)
{
	while (console->written != console->taken && !console->no_output) {
		size_t at = console->written % CONSOLE_BUFFER;
		size_t len = console->taken - console->written;
		ssize_t done;

		if (len > CONSOLE_BUFFER - at)
			len = CONSOLE_BUFFER - at;
		if (len > CONSOLE_WRITE)
			len = CONSOLE_WRITE;
		if (!console_can(console, POLLOUT))
			break;
		done = rumpel_stream_write(console->watch.fd, console->buffer + at, len);
		if (done == -EAGAIN || done == -EINTR)
			break;
		if (done < 0)
			console->no_output = true;
		else
			console->written += done;
	}
	if (console->written == console->taken || console->no_output)
		console->watch.events &= ~POLLOUT;
	else
		console->watch.events |= POLLOUT;
}

/* Bytes that there is room for, in one piece. */
static size_t console_room(struct console *console)
{
	size_t at = console->taken % CONSOLE_BUFFER;
	size_t room = CONSOLE_BUFFER - (console->taken - console->written);

	return room < CONSOLE_BUFFER - at ? room : CONSOLE_BUFFER - at;
}

/* Takes bytes of a chain; false: some are lost. */
static bool console_take(struct console *console, const struct rumpel_chain *chain)
{
	size_t done = 0;

	while (done < chain->out_len && !console->no_output) {
		size_t at = console->taken % CONSOLE_BUFFER;
		size_t len;

		if (!console_room(console))
			console_flush(console);
		len = rumpel_iov_read(console->iov, chain->out, done, console->buffer + at,
				      console_room(console));
		if (!len)
			break;
		console->taken += len;
		done += len;
	}
	rumpel_virtio_count(&console->virtio.stats.out_bytes, done);
	return done == chain->out_len;
}

static int console_transmit_one(struct console *console)
{
	struct rumpel_queue *queue = &console->virtio.queues[1];
	struct rumpel_device_stats *stats = &console->virtio.stats;
	struct rumpel_chain chain;
	int result;

	result = rumpel_queue_peek(queue, 0, console->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result;
	if (chain.in)
		return -EIO;
	rumpel_virtio_count(console_take(console, &chain) ? &stats->out : &stats->dropped, 1);
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, 0);
	return 1;
}

static void console_transmit(struct console *console)
{
	struct rumpel_queue *queue = &console->virtio.queues[1];
	bool moved = false;
	int result;

	while ((result = console_transmit_one(console)) > 0)
		moved = true;
	/* While the descriptor is watched, there is no room in it. */
	if (!(console->watch.events & POLLOUT))
		console_flush(console);
	if (moved)
		rumpel_virtio_publish(&console->virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(&console->virtio);
}

/* 1: some were read; 0: there are none; -ENOBUFS: no buffer; -EIO: broken. */
static int console_receive_one(struct console *console)
{
	struct rumpel_queue *queue = &console->virtio.queues[0];
	struct rumpel_device_stats *stats = &console->virtio.stats;
	struct rumpel_chain chain;
	ssize_t len;
	int result;

	result = rumpel_queue_peek(queue, 0, console->iov, RUMPEL_QUEUE_MAX, &chain);
	if (result <= 0)
		return result ? result : -ENOBUFS;
	if (chain.out || !chain.in)
		return -EIO;
	if (!console_can(console, POLLIN))
		return 0;
	len = readv(console->watch.fd, console->iov, chain.in);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len <= 0) {
		console->no_input = true;
		return 0;
	}
	rumpel_queue_take(queue, 1);
	rumpel_queue_put(queue, chain.head, len);
	rumpel_virtio_count(&stats->in, 1);
	rumpel_virtio_count(&stats->in_bytes, len);
	return 1;
}

static void console_receive(struct console *console)
{
	struct rumpel_queue *queue = &console->virtio.queues[0];
	bool moved = false;
	int result = 1;

	if (console->no_input)
		return;
	rumpel_queue_notify_off(queue);
	for (int i = 0; i < CONSOLE_BATCH && result > 0; i++) {
		result = console_receive_one(console);
		moved |= result > 0;
		if (result == -ENOBUFS && rumpel_queue_notify_on(queue, 0)) {
			rumpel_queue_notify_off(queue);
			result = 1;
		}
	}
	/* With all buffers full, or nothing more to come, nobody looks. */
	if (result < 0 || console->no_input)
		console->watch.events &= ~POLLIN;
	else
		console->watch.events |= POLLIN;
	if (moved)
		rumpel_virtio_publish(&console->virtio, queue);
	if (result == -EIO)
		rumpel_virtio_break(&console->virtio);
}

static void console_service(struct rumpel_virtio *virtio)
{
	console_transmit(to_console(virtio));
	console_receive(to_console(virtio));
}

static void console_ready(struct rumpel_watch *watch, short revents)
{
	struct console *console = (void *)((char *)watch - offsetof(struct console, watch));

	if (revents & POLLNVAL)
		console->no_input = console->no_output = true;
	console_flush(console);
	if (rumpel_virtio_is_live(&console->virtio))
		console_receive(console);
	else
		watch->events &= ~POLLIN;
}

/* Output that was taken is still written. */
static void console_quiesce(struct rumpel_virtio *virtio)
{
	to_console(virtio)->watch.events &= ~POLLIN;
}

static int console_attach(struct rumpel_virtio *virtio)
{
	rumpel_kernel_watch(virtio->device.kernel, &to_console(virtio)->watch);
	return 0;
}

static void console_detach(struct rumpel_virtio *virtio)
{
	rumpel_kernel_unwatch(virtio->device.kernel, &to_console(virtio)->watch);
	console_flush(to_console(virtio));
}

/* Input has one reader, the parent. Output goes where the parent's goes, as a process's does. */
static void console_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct console *console = to_console(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	console->no_input = true;
	console->written = console->taken;
	console->watch.events = 0;
}

static void console_free(struct rumpel_virtio *virtio)
{
	struct console *console = to_console(virtio);

	close(console->watch.fd);
	free(console->buffer);
	free(console);
}

static const struct rumpel_virtio_ops console_ops = {
	.service = console_service,
	.quiesce = console_quiesce,
	.attach = console_attach,
	.detach = console_detach,
	.fork = console_fork,
	.free = console_free,
};

/*
 * A terminal that says it can be written to may have room for less than what
 * is written, and blocks. With a description of its own it does not, and
 * those who share the caller's notice nothing.
 */
static int console_open(int fd, int mode)
{
	char path[32];
	bool outer = isatty(fd) && !ptsname_r(fd, path, sizeof(path));
	int own;

	if (isatty(fd) && !outer) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, (mode & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	/* The outer side of a pseudo-terminal cannot be opened twice. */
	if (outer)
		fcntl(own, F_SETFL, mode | O_NONBLOCK);
	return own;
}

int rumpel_console(int fd, struct rumpel_device **device)
{
	struct console *console;
	struct stat stat;
	int mode;

	mode = fcntl(fd, F_GETFL);
	if (mode < 0 || fstat(fd, &stat))
		return -errno;
	console = calloc(1, sizeof(*console));
	if (!console)
		return -ENOMEM;
	console->buffer = malloc(CONSOLE_BUFFER);
	console->watch.fd = console->buffer ? console_open(fd, mode) : -ENOMEM;
	if (console->watch.fd < 0) {
		int error = console->watch.fd;

		free(console->buffer);
		free(console);
		return error;
	}
	console->watch.ready = console_ready;
	console->always = S_ISREG(stat.st_mode);
	console->no_input = (mode & O_ACCMODE) == O_WRONLY;
	console->no_output = (mode & O_ACCMODE) == O_RDONLY;
	rumpel_virtio_init(&console->virtio, &console_ops, VIRTIO_ID_CONSOLE, 0, &console->config,
			   sizeof(console->config), 2);
	*device = &console->virtio.device;
	return 0;
}
