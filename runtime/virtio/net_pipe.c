// SPDX-License-Identifier: GPL-2.0-only
/* Frames in a stream of bytes: the device, and how it is made. */
#define _GNU_SOURCE
#include "net_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Fewer receive buffers, whose pages stay in a CPU's cache. Linux fills the queue up when 33 are
 * gone, and a segment takes 43 of the smallest.
 */
#define SHARED_BUFFERS 128

static struct net_pipe *to_pipe(struct rumpel_virtio *virtio)
{
	return (struct net_pipe *)virtio;
}

struct net_pipe *net_pipe_borrow(struct net_pipe *pipe)
{
	struct rumpel_net *joined = rumpel_net_borrow(&pipe->net);

	if (!joined)
		return NULL;
	if (joined->virtio.ops == pipe->net.virtio.ops)
		return to_pipe(&joined->virtio);
	rumpel_net_give_back(&pipe->net);
	return NULL;
}

void net_pipe_tell(const struct net_pipe *pipe, enum rumpel_pipe_event event)
{
	char byte = event;

	rumpel_stream_write(pipe->events, &byte, 1);
}

void net_pipe_say(const struct net_pipe *pipe, const char *where, const char *why)
{
	/* Better lost than waited for. */
	struct pollfd pollfd = { .fd = pipe->report, .events = POLLOUT };
	char message[256];
	int len;

	if (pipe->report < 0 || poll(&pollfd, 1, 0) <= 0)
		return;
	len = snprintf(message, sizeof(message), "%s: %s: %s\n", pipe->name, where, why);
	rumpel_stream_write(pipe->report, message, len);
}

bool net_pipe_kick(const struct rumpel_watch *by)
{
	/* If it does not take any more, there are some that were not seen yet. */
	return send(by->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0 || errno == EAGAIN;
}

void net_pipe_listen(struct net_pipe *pipe)
{
	struct rumpel_watch *watch = pipe->in.watch.fd >= 0 ? &pipe->in.watch : &pipe->out.watch;

	if (pipe->shared.halves)
		watch->events = pipe->gone ? 0 : POLLIN;
}

static void pipe_service(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	net_pipe_listen(pipe);
	net_pipe_transmit(pipe);
	/* While the input is watched, there is nothing to see here. */
	if (pipe->held)
		net_pipe_receive(pipe);
}

/* The other end looks for frames or for room, or is no longer there. */
static void pipe_kicked(struct net_pipe *pipe, struct rumpel_watch *watch)
{
	char kicks[64];
	ssize_t got = recv(watch->fd, kicks, sizeof(kicks), MSG_DONTWAIT);

	if (!got || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		pipe->gone = true;
		watch->events = 0;
	}
	if (!rumpel_virtio_is_live(&pipe->net.virtio))
		return;
	net_pipe_unstall(pipe);
	if (!pipe->held)
		net_pipe_receive(pipe);
}

static void pipe_readable(struct rumpel_watch *watch, short revents)
{
	struct net_pipe *pipe = (void *)((char *)watch - offsetof(struct net_pipe, in.watch));

	(void)revents;
	if (pipe->shared.halves)
		pipe_kicked(pipe, watch);
	else if (rumpel_virtio_is_live(&pipe->net.virtio))
		net_pipe_receive(pipe);
	else
		watch->events = 0;
}

static void pipe_writable(struct rumpel_watch *watch, short revents)
{
	struct net_pipe *pipe = (void *)((char *)watch - offsetof(struct net_pipe, out.watch));

	(void)revents;
	if (pipe->shared.halves)
		pipe_kicked(pipe, watch);
	else if (rumpel_virtio_is_live(&pipe->net.virtio))
		net_pipe_unstall(pipe);
	else
		watch->events = 0;
}

/* Before the kernel's thread sleeps: it is to be kicked from now on, if there is nothing yet. */
static bool pipe_look(struct rumpel_watch *watch)
{
	struct net_pipe *pipe = (void *)((char *)watch - offsetof(struct net_pipe, in.watch));
	bool found = false;

	if (!pipe->shared.halves || !rumpel_virtio_is_live(&pipe->net.virtio))
		return false;
	if (pipe->net.stalled && net_shared_wait_for_room(&pipe->shared)) {
		net_pipe_unstall(pipe);
		found = true;
	}
	if (watch->fd >= 0 && !pipe->held && net_shared_wait_for_frames(&pipe->shared)) {
		net_pipe_receive(pipe);
		found = true;
	}
	return found;
}

static void pipe_send(struct rumpel_net *net)
{
	net_pipe_transmit(to_pipe(&net->virtio));
}

static void pipe_resume(struct rumpel_net *net)
{
	rumpel_device_notify(&net->virtio.device);
}

/* No driver, no frames: they wait in the pipe. */
static void pipe_quiesce(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	pipe->in.watch.events = 0;
	pipe->held = true;
	rumpel_timer_arm(virtio->device.kernel, &pipe->timer, RUMPEL_NO_DEADLINE);
	pipe->burst = 0;
	if (pipe->out.watch.fd >= 0)
		net_pipe_flush(pipe);
	pipe->out.watch.events = 0;
}

static int pipe_attach(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	rumpel_kernel_watch(virtio->device.kernel, &pipe->in.watch);
	rumpel_kernel_watch(virtio->device.kernel, &pipe->out.watch);
	return 0;
}

static void pipe_detach(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	rumpel_kernel_unwatch(virtio->device.kernel, &pipe->in.watch);
	rumpel_kernel_unwatch(virtio->device.kernel, &pipe->out.watch);
}

/* A pipe has one reader, and that is the parent's kernel. */
static void pipe_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	struct net_pipe *pipe = to_pipe(virtio);

	if (stage != RUMPEL_FORK_CHILD)
		return;
	rumpel_net_lose(&pipe->net);
	rumpel_stream_close(&pipe->in);
	rumpel_stream_close(&pipe->out);
	net_shared_close(&pipe->shared);
}

static void pipe_free(struct rumpel_virtio *virtio)
{
	struct net_pipe *pipe = to_pipe(virtio);

	rumpel_net_exit(&pipe->net);
	if (pipe->events >= 0)
		close(pipe->events);
	if (pipe->report >= 0)
		close(pipe->report);
	rumpel_stream_free(&pipe->in);
	rumpel_stream_free(&pipe->out);
	net_shared_close(&pipe->shared);
	free(pipe->frame);
	free(pipe);
}

static const struct rumpel_virtio_ops pipe_ops = {
	.service = pipe_service,
	.quiesce = pipe_quiesce,
	.attach = pipe_attach,
	.detach = pipe_detach,
	.finish = rumpel_net_finish,
	.fork = pipe_fork,
	.free = pipe_free,
};

static int duplicate(int fd, int *result)
{
	if (fd < 0)
		return 0;
	*result = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return *result < 0 ? -errno : 0;
}

static int pipe_open(struct net_pipe *pipe, const struct rumpel_pipe *config)
{
	int error = rumpel_stream_open(&pipe->in, config->in, O_RDONLY);

	if (!error)
		error = rumpel_stream_open(&pipe->out, config->out, O_WRONLY);
	if (!error)
		error = duplicate(config->events, &pipe->events);
	if (!error)
		error = duplicate(config->report, &pipe->report);
	if (!error && config->shared > 0)
		error = pipe->in.socket && pipe->out.socket
				? net_shared_open(&pipe->shared, config->shared, config->backward)
				: -EINVAL;
	if (config->shared > 0)
		rumpel_net_rx_queue(&pipe->net)->max = SHARED_BUFFERS;
	pipe->net.resume = pipe_resume;
	pipe->net.transmit = pipe_send;
	pipe->in.watch.ready = pipe_readable;
	pipe->out.watch.ready = pipe_writable;
	pipe->in.watch.look = pipe_look;
	pipe->timer = (struct rumpel_timer){
		.deadline = RUMPEL_NO_DEADLINE,
		.fire = net_pipe_rested,
	};
	pipe->reader.format = config->read;
	pipe->format = config->write ? config->write : RUMPEL_PACKETS_TEXT;
	pipe->paused = config->paused;
	pipe->held = true;
	pipe->direction = config->backward ? '<' : '>';
	if (config->name)
		strncpy(pipe->name, config->name, sizeof(pipe->name) - 1);
	return error;
}

int rumpel_net_pipe(const struct rumpel_pipe *config, const uint8_t mac[6], unsigned int mtu,
		    struct rumpel_device **device)
{
	/* What is written to the next kernel, it writes to us: it understands all of it. */
	bool whole = config->read == RUMPEL_PACKETS_VIRTIO && config->write == config->read;
	uint64_t features = whole ? rumpel_net_offloads(true) : 0;
	struct net_pipe *pipe;
	int error;

	if (config->shared > 0 && !whole)
		return -EINVAL;
	pipe = calloc(1, sizeof(*pipe));
	error = pipe ? rumpel_net_init(&pipe->net, &pipe_ops, features, mac, mtu) : -ENOMEM;
	if (error) {
		free(pipe);
		return error;
	}
	pipe->in.watch.fd = pipe->out.watch.fd = pipe->events = pipe->report = -1;
	pipe->frame = malloc(RUMPEL_FRAME_MAX);
	error = pipe->frame ? pipe_open(pipe, config) : -ENOMEM;
	if (error) {
		pipe_free(&pipe->net.virtio);
		return error;
	}
	/* A reader wants to see it at once. */
	if (pipe->out.watch.fd >= 0)
		pipe->out.end = rumpel_packets_begin(pipe->format, pipe->out.bytes);
	*device = &pipe->net.virtio.device;
	return 0;
}

static struct net_pipe *pipe_of(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = rumpel_virtio_of(device, VIRTIO_ID_NET);

	return virtio && virtio->ops == &pipe_ops ? to_pipe(virtio) : NULL;
}

int rumpel_net_pipe_resume(struct rumpel_device *device)
{
	struct net_pipe *pipe = pipe_of(device);

	if (!pipe)
		return -EINVAL;
	__atomic_store_n(&pipe->paused, false, __ATOMIC_SEQ_CST);
	rumpel_device_notify(device);
	return 0;
}

int rumpel_net_pipe_end(struct rumpel_device *device)
{
	struct net_pipe *pipe = pipe_of(device);

	if (!pipe)
		return -EINVAL;
	__atomic_store_n(&pipe->ending, true, __ATOMIC_SEQ_CST);
	rumpel_device_notify(device);
	return 0;
}
