/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frames in a stream of bytes: an interface reads packets from one descriptor
 * and writes them to another, so that a kernel is a filter as grep is one. All
 * of it happens under the token. When the reader is slow, frames wait in the
 * transmit queue; when the driver is, the writer does. On a virtual clock it
 * reads some frames a microsecond: a kernel of it runs until it has nothing to
 * do, and with a whole file it would not hear of answers before the end.
 *
 * Of two that are joined, lines that are no packets go straight through.
 *
 * Or frames go through memory that the other end has, too (net_shared.h). Then both
 * descriptors are one socket, a byte from which means: look there again.
 */
#ifndef RUMPEL_VIRTIO_NET_PIPE_H
#define RUMPEL_VIRTIO_NET_PIPE_H

#include "net.h"
#include "net_shared.h"
#include "packets.h"
#include "stream.h"

struct net_pipe {
	struct rumpel_net net; /* first */
	struct rumpel_stream in, out;
	struct rumpel_packet_reader reader;
	enum rumpel_packet_kind kind; /* what is at the start of the input, MORE: not yet known */
	struct rumpel_packet found;
	struct net_shared shared;
	bool gone; /* so is the other end, which has memory with us */
	bool held; /* nothing is read before buffers, the other's reader or the timer say so */
	enum rumpel_packets format;
	char direction;
	bool crowded; /* so much was sent at once that the kernel may have more */
	unsigned int burst; /* frames since others have lived */
	struct rumpel_timer timer; /* when it reads on */
	bool paused; /* atomic: nothing is read yet */
	bool ending; /* atomic: when all is written, the output is closed */
	int events; /* where bytes of enum rumpel_pipe_event are written */
	int report; /* where messages are written, or -1 */
	char name[RUMPEL_PIPE_NAME];
	char *frame;
	struct iovec iov[RUMPEL_QUEUE_MAX], sent[RUMPEL_QUEUE_MAX + 1];
	struct rumpel_net_rx rx;
};

/* Where lines go that are no packets, until rumpel_net_give_back(); or NULL. */
struct net_pipe *net_pipe_borrow(struct net_pipe *pipe);
/* Of memory: lets the other end look. False: there is nobody. */
bool net_pipe_kick(const struct rumpel_watch *by);
/* Of memory: watches what kicks come through. */
void net_pipe_listen(struct net_pipe *pipe);
void net_pipe_tell(const struct net_pipe *pipe, enum rumpel_pipe_event event);
/* Writes a message where messages are written, if somebody reads them. */
void net_pipe_say(const struct net_pipe *pipe, const char *where, const char *why);

/* ---- net_pipe_out.c ---- */

/* Writes what is in the transmit queue, as far as there is room. */
void net_pipe_transmit(struct net_pipe *pipe);
/* Writes what is to be written. False: it does not take more now. */
bool net_pipe_flush(struct net_pipe *pipe);
/* A frame, or a line of the joined one, waits for room: it is told when there is some. */
void net_pipe_stall(struct net_pipe *pipe);
/* There may be room: goes on. */
void net_pipe_unstall(struct net_pipe *pipe);

/* ---- net_pipe_in.c ---- */

/* Reads what there is, as far as it is taken. */
void net_pipe_receive(struct net_pipe *pipe);
/* Others have lived meanwhile: reads on. */
void net_pipe_rested(struct rumpel_timer *timer);

#endif
