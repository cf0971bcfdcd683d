/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A split virtqueue, device side (VIRTIO 1.2, 2.7).
 *
 * The rings lie in guest memory and belong to somebody who may be hostile or
 * confused: every address goes through rumpel_guest_memory(), every value is
 * read once and checked, every loop is bounded. A ring that breaks the rules
 * is not used again until the driver resets the device.
 *
 * A queue has no lock. Whoever may touch it is the device's business.
 */
#ifndef RUMPEL_VIRTIO_QUEUE_H
#define RUMPEL_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_ring.h>

struct rumpel_kernel;

/* Most entries of a ring, and of a chain, direct or indirect (2.7.5.3.1). */
#define RUMPEL_QUEUE_MAX 256

struct rumpel_queue {
	uint32_t max; /* entries that the device offers */
	uint32_t num; /* entries that the driver has chosen */
	bool ready; /* the driver has set it up */
	bool broken; /* the driver has broken the rules */
	bool indirect; /* indirect descriptors were negotiated */
	uint16_t next_avail; /* what to take next */
	uint16_t next_used; /* where the next used element goes */
	uint64_t desc_pa, avail_pa, used_pa;
	struct rumpel_kernel *kernel;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

/* A chain of buffers: first those the device reads, then those it writes. */
struct rumpel_chain {
	uint16_t head;
	uint16_t out, in; /* elements of the iovec */
	size_t out_len, in_len; /* bytes */
};

/* Maps the rings that the registers name. 0, or -EINVAL: not in memory. */
int rumpel_queue_start(struct rumpel_queue *queue, struct rumpel_kernel *kernel, bool indirect);
/* Forgets the rings. */
void rumpel_queue_stop(struct rumpel_queue *queue);

/*
 * Looks at the chain that is `ahead` places behind the next one. Fills iov
 * with host addresses. 1: there it is; 0: there is none; -ENOBUFS: it needs
 * more than `room` elements (never with RUMPEL_QUEUE_MAX: such a chain is broken); -EIO.
 */
int rumpel_queue_peek(struct rumpel_queue *queue, unsigned int ahead, struct iovec *iov,
		      unsigned int room, struct rumpel_chain *chain);
/* Takes `count` chains off: they are the device's until it puts them back. */
void rumpel_queue_take(struct rumpel_queue *queue, unsigned int count);
/* Puts a chain back; `len` bytes were written to it. Not seen before... */
void rumpel_queue_put(struct rumpel_queue *queue, uint16_t head, uint32_t len);
/* ... all that were put are published at once. */
void rumpel_queue_publish(struct rumpel_queue *queue);
/* After publishing: does the driver want to be told? */
bool rumpel_queue_wants_interrupt(struct rumpel_queue *queue);

/* The driver need not notify (a hint): the device looks by itself. */
void rumpel_queue_notify_off(struct rumpel_queue *queue);
/* The driver has to notify. True: more than `known` chains wait, look again. */
bool rumpel_queue_notify_on(struct rumpel_queue *queue, unsigned int known);

/* Has the driver ever offered a buffer since it set the queue up? */
bool rumpel_queue_used_once(const struct rumpel_queue *queue);

/* Copies between an iovec and a buffer, from byte `skip` on; returns bytes. */
size_t rumpel_iov_read(const struct iovec *iov, unsigned int count, size_t skip, void *data,
		       size_t len);
size_t rumpel_iov_write(const struct iovec *iov, unsigned int count, size_t skip, const void *data,
			size_t len);
/* Copies `len` bytes from one iovec to another; both have as much. */
void rumpel_iov_copy(const struct iovec *to, size_t to_skip, const struct iovec *from,
		     size_t from_skip, size_t len);
/* Leaves out the first `skip` bytes, in place; returns the elements left. */
unsigned int rumpel_iov_skip(struct iovec **iov, unsigned int count, size_t skip);
/* Keeps the first `len` bytes, in place; returns the elements left. */
unsigned int rumpel_iov_trim(struct iovec *iov, unsigned int count, size_t len);

#endif
