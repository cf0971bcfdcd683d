// SPDX-License-Identifier: GPL-2.0-only
/*
 * A socket of AF_XDP (Documentation/networking/af_xdp.rst): memory that it shares with the
 * host, cut into frames, and four rings: frames to be filled (fill) and such that came (in),
 * frames to be sent (out) and such that were (done). Each ring has one producer and one
 * consumer, so a barrier at each end is all it takes. Half of the frames go round in the one
 * direction, half in the other.
 *
 * The memory is no part of a fork: the host goes on to write to the parent's.
 */
#define _GNU_SOURCE
#include "net_xdp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_xdp.h>

#define XSK_FRAME 2048 /* enough for most MTUs */
#define XSK_FRAME_MOST 4096 /* of a page, as all hosts allow */
#define XSK_BESIDE (14 + 8) /* beside the MTU: a header, two VLAN tags */
#define XSK_BUFFER (16 << 20) /* so that frames, not bytes, are what may be under way */
#define XSK_BUSY_MS 500 /* that a queue may be taken still by a socket that is closed */

static uint32_t load(const uint32_t *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *index, uint32_t value)
{
	__atomic_store_n(index, value, __ATOMIC_RELEASE);
}

/* ---- set up ---- */

static int make_frames(struct net_xsk *xsk)
{
	size_t len = (size_t)xsk->frame_len * (NET_XSK_RECEIVE + NET_XSK_SEND);
	struct xdp_umem_reg memory = { .len = len, .chunk_size = xsk->frame_len };
	void *frames = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (frames == MAP_FAILED)
		return -ENOMEM;
	xsk->frames = frames;
	if (madvise(frames, len, MADV_DONTFORK) < 0)
		return -errno;
	memory.addr = (uintptr_t)frames;
	if (setsockopt(xsk->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)) < 0)
		return -errno;
	for (unsigned int i = 0; i < NET_XSK_SEND; i++)
		xsk->free[xsk->free_count++] = NET_XSK_RECEIVE + i;
	return 0;
}

static int map_ring(const struct net_xsk *xsk, struct net_xsk_ring *ring, uint32_t count,
		    const struct xdp_ring_offset *offset, size_t entry, off_t where)
{
	char *map;

	ring->len = offset->desc + count * entry;
	map = mmap(NULL, ring->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xsk->fd,
		   where);
	if (map == MAP_FAILED)
		return -errno;
	ring->map = map;
	ring->producer = (uint32_t *)(map + offset->producer);
	ring->consumer = (uint32_t *)(map + offset->consumer);
	ring->flags = (uint32_t *)(map + offset->flags);
	ring->entries = map + offset->desc;
	ring->mask = count - 1;
	return madvise(map, ring->len, MADV_DONTFORK) < 0 ? -errno : 0;
}

static int make_rings(struct net_xsk *xsk)
{
	struct xdp_mmap_offsets offsets;
	socklen_t len = sizeof(offsets);
	const struct {
		struct net_xsk_ring *ring;
		int option;
		uint32_t count;
		const struct xdp_ring_offset *offset;
		size_t entry;
		off_t where;
	} rings[] = {
		{ &xsk->fill, XDP_UMEM_FILL_RING, NET_XSK_RECEIVE, &offsets.fr, sizeof(uint64_t),
		  XDP_UMEM_PGOFF_FILL_RING },
		{ &xsk->done, XDP_UMEM_COMPLETION_RING, NET_XSK_SEND, &offsets.cr, sizeof(uint64_t),
		  XDP_UMEM_PGOFF_COMPLETION_RING },
		{ &xsk->in, XDP_RX_RING, NET_XSK_RECEIVE, &offsets.rx, sizeof(struct xdp_desc),
		  XDP_PGOFF_RX_RING },
		{ &xsk->out, XDP_TX_RING, NET_XSK_SEND, &offsets.tx, sizeof(struct xdp_desc),
		  XDP_PGOFF_TX_RING },
	};
	const size_t count = sizeof(rings) / sizeof(*rings);
	int error = 0;

	for (size_t i = 0; i < count; i++)
		if (setsockopt(xsk->fd, SOL_XDP, rings[i].option, &rings[i].count,
			       sizeof(rings[i].count)) < 0)
			return -errno;
	if (getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &len) < 0)
		return -errno;
	/* Hosts before 5.4 have no flags, and say less. */
	if (len != sizeof(offsets))
		return -EAFNOSUPPORT;
	for (size_t i = 0; i < count && !error; i++)
		error = map_ring(xsk, rings[i].ring, rings[i].count, rings[i].offset,
				 rings[i].entry, rings[i].where);
	return error;
}

int net_xsk_open(struct net_xsk *xsk, unsigned int mtu)
{
	int size = XSK_BUFFER, error;

	*xsk = (struct net_xsk){ .frame_len = XSK_FRAME };
	if (mtu + XSK_BESIDE + NET_XSK_HEADROOM > XSK_FRAME)
		xsk->frame_len = XSK_FRAME_MOST;
	xsk->room = xsk->frame_len - NET_XSK_HEADROOM;
	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xsk->fd < 0)
		return -errno;
	if (mtu + XSK_BESIDE > xsk->room)
		return -EMSGSIZE;
	setsockopt(xsk->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	error = make_frames(xsk);
	if (!error)
		error = make_rings(xsk);
	return error;
}

int net_xsk_bind(struct net_xsk *xsk, int index, unsigned int queue)
{
	/* Without a word of copying: zero-copy where the driver can. */
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = XDP_USE_NEED_WAKEUP,
		.sxdp_ifindex = index,
		.sxdp_queue_id = queue,
	};
	struct xdp_options options = { 0 };
	socklen_t len = sizeof(options);

	/* The host takes a queue away from a socket that was closed a moment later only. */
	for (int i = 0; bind(xsk->fd, (struct sockaddr *)&address, sizeof(address)) < 0; i++) {
		if (errno != EBUSY || i == XSK_BUSY_MS)
			return errno == EINVAL ? -ECHRNG : -errno;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	if (!getsockopt(xsk->fd, SOL_XDP, XDP_OPTIONS, &options, &len))
		xsk->zerocopy = options.flags & XDP_OPTIONS_ZEROCOPY;
	for (uint32_t i = 0; i < NET_XSK_RECEIVE; i++)
		((uint64_t *)xsk->fill.entries)[i] = (uint64_t)i * xsk->frame_len;
	xsk->fill.own = NET_XSK_RECEIVE;
	net_xsk_give_back(xsk);
	return 0;
}

void net_xsk_close(struct net_xsk *xsk)
{
	struct net_xsk_ring *rings[] = { &xsk->fill, &xsk->done, &xsk->in, &xsk->out };

	for (size_t i = 0; i < sizeof(rings) / sizeof(*rings); i++)
		if (rings[i]->map)
			munmap(rings[i]->map, rings[i]->len);
	if (xsk->fd >= 0)
		close(xsk->fd);
	if (xsk->frames)
		munmap(xsk->frames, (size_t)xsk->frame_len * (NET_XSK_RECEIVE + NET_XSK_SEND));
	net_xsk_forget(xsk);
}

void net_xsk_forget(struct net_xsk *xsk)
{
	xsk->fill.map = xsk->done.map = xsk->in.map = xsk->out.map = NULL;
	xsk->frames = NULL;
	xsk->fd = -1;
}

/* ---- receive ---- */

bool net_xsk_peek(struct net_xsk *xsk, struct iovec *frame)
{
	struct net_xsk_ring *in = &xsk->in;
	const struct xdp_desc *desc = (struct xdp_desc *)in->entries + (in->own & in->mask);

	if (in->own == load(in->producer))
		return false;
	*frame = (struct iovec){ xsk->frames + desc->addr, desc->len };
	return true;
}

void net_xsk_drop(struct net_xsk *xsk)
{
	struct net_xsk_ring *in = &xsk->in, *fill = &xsk->fill;
	const struct xdp_desc *desc = (struct xdp_desc *)in->entries + (in->own++ & in->mask);

	/* It has room for all the frames there are. */
	((uint64_t *)fill->entries)[fill->own++ & fill->mask] =
		desc->addr & -(uint64_t)xsk->frame_len;
}

void net_xsk_give_back(struct net_xsk *xsk)
{
	store(xsk->in.consumer, xsk->in.own);
	store(xsk->fill.producer, xsk->fill.own);
	/* A driver that had run out of frames does not look by itself. */
	if (load(xsk->fill.flags) & XDP_RING_NEED_WAKEUP)
		recv(xsk->fd, NULL, 0, MSG_DONTWAIT);
}

/* ---- transmit ---- */

static void take_done(struct net_xsk *xsk)
{
	struct net_xsk_ring *done = &xsk->done;
	uint32_t end = load(done->producer);

	for (; done->own != end; done->own++)
		xsk->free[xsk->free_count++] =
			((uint64_t *)done->entries)[done->own & done->mask] / xsk->frame_len;
	store(done->consumer, done->own);
}

void *net_xsk_room(struct net_xsk *xsk)
{
	if (!xsk->free_count)
		take_done(xsk);
	if (!xsk->free_count)
		return NULL;
	return xsk->frames + (size_t)xsk->free[xsk->free_count - 1] * xsk->frame_len;
}

void net_xsk_put(struct net_xsk *xsk, size_t len)
{
	struct net_xsk_ring *out = &xsk->out;

	((struct xdp_desc *)out->entries)[out->own++ & out->mask] = (struct xdp_desc){
		.addr = (uint64_t)xsk->free[--xsk->free_count] * xsk->frame_len,
		.len = len,
	};
}

int net_xsk_flush(struct net_xsk *xsk)
{
	struct net_xsk_ring *out = &xsk->out;

	store(out->producer, out->own);
	/* Without zero-copy it is this call that sends, some frames at a time. */
	while (load(out->flags) & XDP_RING_NEED_WAKEUP) {
		uint32_t before = load(out->consumer);

		if (send(xsk->fd, NULL, 0, MSG_DONTWAIT) >= 0)
			break;
		switch (errno) {
		case EINTR:
			break;
		case EAGAIN:
		case EBUSY: /* one was dropped on its way */
		case ENOBUFS:
		case ENOMEM:
			if (load(out->consumer) == before)
				return -EAGAIN;
			break;
		case ENETDOWN:
			return -ENETDOWN;
		default:
			return -ENXIO;
		}
	}
	take_done(xsk);
	return 0;
}
