/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An interface on a queue of an interface of the host (AF_XDP), in parts: the
 * socket with its rings, the program that leads frames to it, and checksums.
 */
#ifndef RUMPEL_VIRTIO_NET_XDP_H
#define RUMPEL_VIRTIO_NET_XDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_XSK_RECEIVE 2048 /* frames that may wait for the kernel */
#define NET_XSK_SEND 1024 /* frames that the host may have to send */
#define NET_XSK_HEADROOM 256 /* of a frame, which drivers use */

/* ---- net_xdp_socket.c ---- */

struct net_xsk_ring {
	void *map; /* NULL: not there */
	size_t len;
	uint32_t *producer, *consumer, *flags; /* atomic, shared with the host */
	void *entries;
	uint32_t mask;
	uint32_t own; /* our index: what we have filled or emptied, published or not */
};

struct net_xsk {
	int fd;
	bool zerocopy;
	char *frames; /* NULL: not there */
	uint32_t frame_len, room; /* of each, and how much of that a frame can have */
	struct net_xsk_ring fill, done, in, out;
	uint32_t free[NET_XSK_SEND]; /* numbers of frames for what is sent */
	unsigned int free_count;
};

/*
 * A socket with frames for this MTU and its rings. 0; -EPERM; -EAFNOSUPPORT: the
 * host has no AF_XDP; -EMSGSIZE: that MTU is too large; -ENOBUFS: this process may not
 * lock that much memory. To be closed in every case.
 */
int net_xsk_open(struct net_xsk *xsk, unsigned int mtu);
/* -EBUSY: the queue is taken; -ECHRNG: there is no such queue. */
int net_xsk_bind(struct net_xsk *xsk, int index, unsigned int queue);
void net_xsk_close(struct net_xsk *xsk);
/* In the child of a fork, which has neither frames nor rings. */
void net_xsk_forget(struct net_xsk *xsk);

/* The next frame that came, which is the host's again after net_xsk_drop(). */
bool net_xsk_peek(struct net_xsk *xsk, struct iovec *frame);
void net_xsk_drop(struct net_xsk *xsk);
/* The host gets those that were dropped. */
void net_xsk_give_back(struct net_xsk *xsk);

/* Room for a frame to be sent, or NULL: the host has them all. */
void *net_xsk_room(struct net_xsk *xsk);
/* So much of that room was filled; seen by the host after net_xsk_flush(). */
void net_xsk_put(struct net_xsk *xsk, size_t len);
/*
 * 0; -EAGAIN: the host cannot take all of them now, so try again; -ENETDOWN: the
 * interface is down; -ENXIO: it has gone.
 */
int net_xsk_flush(struct net_xsk *xsk);

/* ---- net_xdp_program.c ---- */

struct net_xdp_program {
	int map; /* who gets the frames of which queue; -1: none yet */
	int link; /* with it the program goes */
	bool native; /* run by the driver, else by the host's stack */
};

/*
 * Has the frames of a queue go where net_xdp_lead() says, and until then to the host.
 * -EPERM; -EBUSY: the interface has a program already. To be detached in every case.
 */
int net_xdp_attach(struct net_xdp_program *program, int index, unsigned int queue, bool generic);
int net_xdp_lead(struct net_xdp_program *program, unsigned int queue, int fd);
void net_xdp_detach(struct net_xdp_program *program);

/* ---- net_xdp_checksum.c ---- */

/*
 * Has the sender left the checksum of TCP or UDP to its hardware, which is a cable of the
 * host's? Then where the sum begins, and where in it the checksum is.
 */
bool net_xdp_checksum_is_open(const uint8_t *frame, size_t len, uint16_t *start, uint16_t *offset);

#endif
