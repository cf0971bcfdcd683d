/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-net (VIRTIO 1.2, 5.1): what all network devices have in common.
 * Where frames go to and come from is the back end's: net_link.c, net_fd.c.
 * As in the specification, "receive" and "transmit" are the driver's view.
 */
#ifndef RUMPEL_VIRTIO_NET_H
#define RUMPEL_VIRTIO_NET_H

#include <linux/virtio_net.h>
#include <pthread.h>

#include "mmio.h"

/* Bits that the headers of older systems lack. */
#define RUMPEL_NET_F_GUEST_USO4 54
#define RUMPEL_NET_F_GUEST_USO6 55
#define RUMPEL_NET_F_HOST_USO 56
#define RUMPEL_NET_GSO_UDP_L4 5

/* With VERSION_1 every frame has a header of this length (5.1.6). */
#define RUMPEL_NET_HEADER sizeof(struct virtio_net_hdr_v1)
#define RUMPEL_NET_MTU_MAX 65535
#define RUMPEL_NET_FRAME_MIN 14
#define RUMPEL_NET_FRAME_MAX (65535 + 14 + 8)
/* With GSO it is the payload of IP that has this limit. */
#define RUMPEL_NET_GSO_MAX (RUMPEL_NET_FRAME_MAX + 40)
/* Room for a frame in receive buffers of a page and less, with some to spare. */
#define RUMPEL_NET_RX_IOV (2 * RUMPEL_QUEUE_MAX)

/* Frames on their way to a file in pcap format; see capture.c. */
struct rumpel_capture {
	pthread_mutex_t control; /* who starts and stops */
	pthread_mutex_t lock; /* all below */
	pthread_cond_t more;
	bool active; /* atomic: is there anything to do? */
	bool stop; /* atomic: write what is left, then end */
	bool pcapng;
	uint64_t since; /* ns: what is added to the times */
	int fd;
	size_t most; /* bytes of one write() */
	pid_t process;
	pthread_t thread;
	char *buffer;
	size_t used, size;
	int error; /* why it has ended before */
};

struct rumpel_net {
	struct rumpel_virtio virtio;
	struct virtio_net_config config;
	struct rumpel_capture capture;
	/* What comes in here goes out there: see rumpel_net_join(). */
	struct rumpel_net *joined; /* atomic */
	unsigned int borrowed; /* atomic: who is at the joined one, which is not freed meanwhile */
	bool stalled; /* atomic: frames wait in the transmit queue for who takes them */
	/* Holder of the token: sends what is in the transmit queue. NULL: as it comes. */
	void (*transmit)(struct rumpel_net *net);
	/* See to it that what was held up goes on. NULL: nothing is. */
	void (*resume)(struct rumpel_net *net);
	bool made_up_mac;
	bool pulled; /* by whoever has the interface: see rumpel_net_set_link() */
	bool no_carrier; /* there is nobody at the other end */
};

/* Receive buffers that were gathered for a frame. */
struct rumpel_net_rx {
	unsigned int count; /* chains */
	unsigned int iov_count;
	size_t len; /* room, header included */
	uint16_t head[RUMPEL_QUEUE_MAX];
	size_t room[RUMPEL_QUEUE_MAX];
	struct iovec iov[RUMPEL_NET_RX_IOV];
};

/*
 * Features for checksums and segments that are left to the other side, both
 * ways. uso: those of UDP too, which Linux has since 6.2.
 */
uint64_t rumpel_net_offloads(bool uso);
/*
 * `mtu` 0: 1500. `mac` NULL: one is made up. -EINVAL: a bad MTU or a
 * multicast address.
 */
int rumpel_net_init(struct rumpel_net *net, const struct rumpel_virtio_ops *ops, uint64_t features,
		    const uint8_t mac[6], unsigned int mtu);
/*
 * When it is attached: for interfaces whose frames stay in this process. On a
 * virtual clock a made-up address is then that of the kernel's number and of
 * the slot, the same in every run. All others are random, since their
 * neighbours may be anywhere.
 */
void rumpel_net_settle_mac(struct rumpel_net *net);
/* As in struct rumpel_virtio_ops: what was captured is written. */
void rumpel_net_finish(struct rumpel_virtio *virtio);
/*
 * Holder of the token, or before there is a kernel: is there somebody at the
 * other end? A driver that looks for the link's state is told.
 */
void rumpel_net_carrier(struct rumpel_net *net, bool there);
/*
 * Would what comes in only be lost behind the driver, since it waits on its way
 * out? Under the lock of `net`, or holder of the token.
 */
bool rumpel_net_is_held_up(struct rumpel_net *net);
/*
 * Under the lock of `net`, or holder of the token: the joined one, if it is of the same kernel,
 * or NULL. Another thread that frees it waits until it has been given back.
 */
struct rumpel_net *rumpel_net_borrow(struct rumpel_net *net);
void rumpel_net_give_back(struct rumpel_net *net);
/*
 * Holder of the token, no lock: lets the joined one send first, so that it is
 * known whether it can, before more comes in.
 */
void rumpel_net_send_joined(struct rumpel_net *net);
/* Holder of the token, no lock: do frames wait in the transmit queue? */
void rumpel_net_set_stalled(struct rumpel_net *net, bool stalled);
/* Frees what rumpel_net_init made, but not `net`. */
void rumpel_net_exit(struct rumpel_net *net);

/* Is the cable plugged in? */
static inline bool rumpel_net_is_up(const struct rumpel_net *net)
{
	return __atomic_load_n(&net->config.status, __ATOMIC_RELAXED) & VIRTIO_NET_S_LINK_UP;
}

static inline struct rumpel_queue *rumpel_net_rx_queue(struct rumpel_net *net)
{
	return &net->virtio.queues[0];
}

static inline struct rumpel_queue *rumpel_net_tx_queue(struct rumpel_net *net)
{
	return &net->virtio.queues[1];
}

/*
 * Looks at receive buffers until there is room for `len` bytes, header
 * included. 1: there is; 0: there is not, *rx has what there is; -EMSGSIZE:
 * there never will be, or there is no cable; -EIO: broken.
 */
int rumpel_net_gather(struct rumpel_net *net, struct rumpel_net_rx *rx, size_t len);
/* `len` bytes are in the buffers, but for the number of buffers: hands them over. */
void rumpel_net_deliver(struct rumpel_net *net, struct rumpel_net_rx *rx, size_t len);
/*
 * Holder of the token: receiving is over for now, `before` is the queue's next_used at its begin.
 * The driver hears of what came. -EAGAIN or -ENOBUFS: frames wait for buffers, of which it has
 * to tell; -EIO: it is broken.
 */
void rumpel_net_received(struct rumpel_net *net, uint16_t before, int result);

/* Has the driver said that it can take such a frame? */
bool rumpel_net_takes(const struct rumpel_net *net, const struct virtio_net_hdr_v1 *header);
/*
 * For a driver without GUEST_CSUM: the sum over a frame that is in its buffers.
 * 0, or -EINVAL: it would not be inside.
 */
int rumpel_net_fill_checksum(struct rumpel_net_rx *rx, size_t len,
			     const struct virtio_net_hdr_v1 *header);
/*
 * A frame of another driver, whose header this is, is in the buffers: hands it
 * over. 0, or -EMSGSIZE: the checksum that it lacks would not be inside.
 */
int rumpel_net_hand_over(struct rumpel_net *net, struct rumpel_net_rx *rx,
			 struct virtio_net_hdr_v1 *header, size_t len);

/*
 * A frame passes: the `len` bytes behind the first `skip` of iov. Any thread
 * that may touch the queue.
 */
void rumpel_net_record(struct rumpel_net *net, const struct iovec *iov, unsigned int count,
		       size_t skip, size_t len);

/* In the child of a fork: the interface stayed with the parent. */
void rumpel_net_lose(struct rumpel_net *net);

/* ---- capture.c ---- */

void rumpel_capture_init(struct rumpel_capture *capture);
void rumpel_capture_exit(struct rumpel_capture *capture);
/* Writes to fd (duplicated) from now on. name: of the interface, or NULL. */
int rumpel_capture_start(struct rumpel_capture *capture, int fd, unsigned int flags,
			 const char *name, const uint8_t mac[6]);
/* Stops, once all is written. */
int rumpel_capture_end(struct rumpel_capture *capture);
/* In the child of a fork: what is to be written, the parent writes. */
void rumpel_capture_forked(struct rumpel_capture *capture);
/* As rumpel_net_record, at this time. False: lost. */
bool rumpel_capture_frame(struct rumpel_capture *capture, uint64_t now, const struct iovec *iov,
			  unsigned int count, size_t skip, size_t len);

#endif
