// SPDX-License-Identifier: GPL-2.0-only
/* A cable between two kernels: its ends and their lives. */
#include "net_link.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* Sums of times must not overflow: a year is a long cable. */
#define LINK_DELAY_MAX (365ull * 86400 * 1000000000)

static struct link_end *to_end(struct rumpel_virtio *virtio)
{
	return (struct link_end *)virtio;
}

/* Locked. There may be receive buffers, or no receiver: the sender looks. */
static void wake_sender(struct link_path *path)
{
	if (__atomic_exchange_n(&path->starved, false, __ATOMIC_SEQ_CST) && path->from)
		rumpel_device_notify_by(link_path_receiver(path), &path->from->net.virtio.device);
}

/* Has the driver offered more receive buffers than the sender knew of? */
static void look_for_buffers(struct link_end *end)
{
	struct link_path *path = end->in;

	if (!__atomic_load_n(&path->starved, __ATOMIC_SEQ_CST) || rumpel_net_is_held_up(&end->net))
		return;
	pthread_mutex_lock(&path->lock);
	/* Without new ones, two that wait for each other would never rest. */
	if (path->starved && rumpel_queue_notify_on(rumpel_net_rx_queue(&end->net), path->rx.count))
		wake_sender(path);
	pthread_mutex_unlock(&path->lock);
}

/* What goes out of this kernel goes out again. */
static void link_resume(struct rumpel_net *net)
{
	struct link_end *end = to_end(&net->virtio);

	if (end->in->delay) {
		rumpel_device_notify(&net->virtio.device);
		return;
	}
	pthread_mutex_lock(&end->in->lock);
	wake_sender(end->in);
	pthread_mutex_unlock(&end->in->lock);
}

static void link_send(struct rumpel_net *net)
{
	link_path_transmit(to_end(&net->virtio)->out);
}

static void link_service(struct rumpel_virtio *virtio)
{
	struct link_end *end = to_end(virtio);

	link_path_transmit(end->out);
	rumpel_net_send_joined(&end->net);
	if (end->in->delay)
		link_path_arrive(end->in);
	else
		look_for_buffers(end);
}

static void link_fire(struct rumpel_timer *timer)
{
	struct link_end *end = (void *)((char *)timer - offsetof(struct link_end, timer));

	if (end->in->delay)
		link_path_arrive(end->in);
	else
		link_path_expire(end->out);
}

/* Of the path whose other end writes to our receive queue. */
static void link_lock(struct rumpel_virtio *virtio)
{
	pthread_mutex_lock(&to_end(virtio)->in->lock);
}

static void link_unlock(struct rumpel_virtio *virtio)
{
	pthread_mutex_unlock(&to_end(virtio)->in->lock);
}

/* Locked. What is under way to this end is lost, and its sender need not wait. */
static void link_quiesce(struct rumpel_virtio *virtio)
{
	struct link_end *end = to_end(virtio);

	link_path_clear(end->in);
	end->in->overrun = false;
	__atomic_store_n(&end->net.stalled, false, __ATOMIC_SEQ_CST);
	if (end->in->delay)
		end->in->starved = false;
	else
		wake_sender(end->in);
	rumpel_timer_arm(virtio->device.kernel, &end->timer, RUMPEL_NO_DEADLINE);
}

/* The path's ends are seen by the other kernel's thread. */
static void path_set(struct link_path *path, struct link_end **place, struct link_end *end)
{
	pthread_mutex_lock(&path->lock);
	*place = end;
	pthread_mutex_unlock(&path->lock);
}

static int link_attach(struct rumpel_virtio *virtio)
{
	struct link_end *end = to_end(virtio);

	rumpel_net_settle_mac(&end->net);
	path_set(end->out, &end->out->from, end);
	path_set(end->in, &end->in->to, end);
	return 0;
}

static void link_detach(struct rumpel_virtio *virtio)
{
	struct link_end *end = to_end(virtio);

	path_set(end->out, &end->out->from, NULL);
	path_set(end->in, &end->in->to, NULL);
}

/* Both ends are copied. */
static void link_fork(struct rumpel_virtio *virtio, enum rumpel_fork stage)
{
	if (stage == RUMPEL_FORK_CHILD)
		rumpel_capture_forked(&to_end(virtio)->net.capture);
}

static void link_free(struct rumpel_virtio *virtio)
{
	struct link_end *end = to_end(virtio);
	struct rumpel_link *link = end->link;

	rumpel_net_exit(&end->net);
	free(end);
	if (__atomic_sub_fetch(&link->ends, 1, __ATOMIC_SEQ_CST))
		return;
	for (int i = 0; i < 2; i++) {
		link_path_clear(&link->paths[i]);
		pthread_mutex_destroy(&link->paths[i].lock);
	}
	free(link);
}

static const struct rumpel_virtio_ops link_ops = {
	.service = link_service,
	.lock = link_lock,
	.unlock = link_unlock,
	.quiesce = link_quiesce,
	.attach = link_attach,
	.detach = link_detach,
	.finish = rumpel_net_finish,
	.fork = link_fork,
	.free = link_free,
};

static int end_create(const uint8_t mac[6], unsigned int mtu, struct link_end **result)
{
	struct link_end *end = calloc(1, sizeof(*end));
	int error;

	if (!end)
		return -ENOMEM;
	/* Both ends understand all of it, so a large frame crosses as one. */
	error = rumpel_net_init(&end->net, &link_ops, rumpel_net_offloads(true), mac, mtu);
	if (error) {
		free(end);
		return error;
	}
	end->net.resume = link_resume;
	end->net.transmit = link_send;
	end->timer = (struct rumpel_timer){ .deadline = RUMPEL_NO_DEADLINE, .fire = link_fire };
	*result = end;
	return 0;
}

static void link_join(struct rumpel_link *link, struct link_end *ends[2], uint64_t delay)
{
	link->ends = 2;
	for (int i = 0; i < 2; i++) {
		struct link_path *path = &link->paths[i];

		pthread_mutex_init(&path->lock, NULL);
		path->tail = &path->head;
		path->delay = delay;
		ends[i]->link = link;
		ends[i]->out = path;
		ends[!i]->in = path;
	}
}

int rumpel_net_link(uint64_t delay_ns, unsigned int mtu, const uint8_t mac0[6],
		    const uint8_t mac1[6], struct rumpel_device *device[2])
{
	struct link_end *ends[2] = { 0 };
	struct rumpel_link *link;
	int error;

	if (delay_ns > LINK_DELAY_MAX)
		return -EINVAL;
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	error = end_create(mac0, mtu, &ends[0]);
	if (!error)
		error = end_create(mac1, mtu, &ends[1]);
	if (error) {
		if (ends[0])
			rumpel_net_exit(&ends[0]->net);
		free(ends[0]);
		free(link);
		return error;
	}
	link_join(link, ends, delay_ns);
	device[0] = &ends[0]->net.virtio.device;
	device[1] = &ends[1]->net.virtio.device;
	return 0;
}
