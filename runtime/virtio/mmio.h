/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio device behind the register file of virtio-mmio, version 2
 * (VIRTIO 1.2, 4.2). Device models embed struct rumpel_virtio and fill in
 * struct rumpel_virtio_ops.
 *
 * Registers are touched on a kernel stack by the holder of the token. What
 * other threads share with that (the queues, where a model lets jobs or a
 * peer use them) is under the model's lock.
 */
#ifndef RUMPEL_VIRTIO_MMIO_H
#define RUMPEL_VIRTIO_MMIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "../kernel.h"
#include "queue.h"

#define RUMPEL_VIRTIO_QUEUES 3

struct rumpel_virtio;

struct rumpel_virtio_ops {
	/* Host stack, token held, driver ready: look at all queues. */
	void (*service)(struct rumpel_virtio *virtio);
	/* Around every change to queues and status; may be NULL. */
	void (*lock)(struct rumpel_virtio *virtio);
	void (*unlock)(struct rumpel_virtio *virtio);
	/*
	 * Locked: a ring is about to go, by reset or detach or alone. Returns
	 * once nobody uses it or buffers that were taken from it. May be NULL.
	 */
	void (*quiesce)(struct rumpel_virtio *virtio);
	/* As in struct rumpel_device_ops; may be NULL, but free. */
	int (*attach)(struct rumpel_virtio *virtio);
	/* Locked, at each stage; see kernel.h. May be NULL. */
	void (*fork)(struct rumpel_virtio *virtio, enum rumpel_fork stage);
	void (*detach)(struct rumpel_virtio *virtio);
	void (*finish)(struct rumpel_virtio *virtio);
	void (*free)(struct rumpel_virtio *virtio);
};

struct rumpel_virtio {
	struct rumpel_device device; /* first: the slots' view of it */
	const struct rumpel_virtio_ops *ops;
	uint32_t id; /* VIRTIO_ID_* */
	uint32_t status; /* VIRTIO_CONFIG_S_*; atomic */
	uint32_t interrupts; /* VIRTIO_MMIO_INT_*; atomic */
	uint32_t offered_select, accepted_select, queue_select;
	uint64_t offered, accepted; /* features */
	const void *config; /* changed by rumpel_virtio_configure() only */
	size_t config_size;
	uint32_t generation; /* of config */
	unsigned int queue_count;
	struct rumpel_queue queues[RUMPEL_VIRTIO_QUEUES];
	struct rumpel_device_stats stats; /* atomic */
};

/* Fills in what all devices have in common. The features of the transport
 * (VERSION_1, INDIRECT_DESC) are added. */
void rumpel_virtio_init(struct rumpel_virtio *virtio, const struct rumpel_virtio_ops *ops,
			uint32_t id, uint64_t features, const void *config, size_t config_size,
			unsigned int queue_count);

/* The device as a virtio device of this kind, or NULL. */
struct rumpel_virtio *rumpel_virtio_of(struct rumpel_device *device, uint32_t id);

/* The driver is up and has not been caught at anything. */
bool rumpel_virtio_is_live(const struct rumpel_virtio *virtio);
bool rumpel_virtio_has(const struct rumpel_virtio *virtio, unsigned int feature);

/* Buffers were used. Any thread. */
void rumpel_virtio_interrupt(struct rumpel_virtio *virtio);
/* The same for what the kernel `by` has sent: see rumpel_kernel_interrupt_by(). */
void rumpel_virtio_interrupt_by(struct rumpel_virtio *virtio, struct rumpel_kernel *by);
/* Sets a field of the configuration, and tells the driver (2.5.1). Any thread. */
void rumpel_virtio_configure(struct rumpel_virtio *virtio, void *field, const void *value,
			     size_t size);
/* The driver broke the rules: nothing goes on before a reset (2.1.2). */
void rumpel_virtio_break(struct rumpel_virtio *virtio);
/* Publishes what was put on the queue, and interrupts if it is wanted. */
void rumpel_virtio_publish(struct rumpel_virtio *virtio, struct rumpel_queue *queue);

static inline void rumpel_virtio_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

#endif
