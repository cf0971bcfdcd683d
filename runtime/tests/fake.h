/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A kernel that is not there: the services for devices of runtime/kernel.h on
 * a block of memory, and the driver's side of virtio, for tests of devices.
 */
#ifndef RUMPEL_TESTS_FAKE_H
#define RUMPEL_TESTS_FAKE_H

#include <errno.h>
#include <pthread.h>

#include "../virtio/mmio.h"
#include "check.h"

/* ---- the kernel ---- */

#define FAKE_MEMORY (8u << 20)
#define FAKE_DEVICES 4

struct rumpel_kernel {
	char *memory;
	size_t next_page; /* what the driver has not given out */
	bool is_virtual;
	uint64_t now; /* atomic */
	unsigned int interrupts[FAKE_DEVICES]; /* atomic */
	struct rumpel_device *devices[FAKE_DEVICES];
	struct rumpel_job *jobs;
	struct rumpel_watch *watches;
	struct rumpel_timer *timers;
	pthread_mutex_t lock;
};

extern bool fake_one_cpu;
struct rumpel_kernel *fake_kernel(bool is_virtual);
void fake_kernel_free(struct rumpel_kernel *kernel); /* detaches and frees devices */
void fake_attach(struct rumpel_kernel *kernel, struct rumpel_device *device);
/* Pulls the plug of the kernel but leaves the device to the caller. */
void fake_detach(struct rumpel_kernel *kernel, struct rumpel_device *device);
/* Guest physical address of fresh zeroed pages. */
uint64_t fake_pages(struct rumpel_kernel *kernel, size_t bytes);
void *fake_at(struct rumpel_kernel *kernel, uint64_t pa);
/* Serves what was notified, watched and is due; true: there was something. */
bool fake_step(struct rumpel_kernel *kernel);
void fake_run(struct rumpel_kernel *kernel); /* until there is nothing */
void fake_advance(struct rumpel_kernel *kernel, uint64_t ns);
unsigned int fake_jobs(struct rumpel_kernel *kernel); /* runs the jobs; their number */
unsigned int fake_interrupts(struct rumpel_device *device); /* since last asked */
struct rumpel_device_stats fake_stats(struct rumpel_device *device);

/* ---- the driver ---- */

struct driver_queue {
	struct rumpel_device *device;
	unsigned int index;
	uint16_t num, next_desc, used_seen;
	uint64_t desc_pa, avail_pa, used_pa;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
};

struct driver_buffer {
	uint64_t pa;
	uint32_t len;
	bool write; /* by the device */
};

uint32_t driver_read(struct rumpel_device *device, unsigned int offset);
void driver_write(struct rumpel_device *device, unsigned int offset, uint32_t value);
uint64_t driver_offered(struct rumpel_device *device);
/* Reset, then up to FEATURES_OK with these features. */
void driver_negotiate(struct rumpel_device *device, uint64_t features);
void driver_queue(struct driver_queue *queue, struct rumpel_device *device, unsigned int index,
		  uint16_t num);
void driver_ok(struct rumpel_device *device);
/* All of the above, with everything that is offered. */
void driver_up(struct rumpel_device *device, struct driver_queue *queues, unsigned int count,
	       uint16_t num);

/* Makes a chain available, without telling; returns its head. */
uint16_t driver_add(struct driver_queue *queue, const struct driver_buffer *buffers,
		    unsigned int count);
uint16_t driver_add_indirect(struct driver_queue *queue, const struct driver_buffer *buffers,
			     unsigned int count);
/* Puts this head on the avail ring. */
void driver_offer(struct driver_queue *queue, uint16_t head);
/* Notifies, unless the device said that it need not be. */
void driver_kick(struct driver_queue *queue);
/* The next used element: true if there is one. */
bool driver_used(struct driver_queue *queue, uint32_t *head, uint32_t *len);

/* A device that no kernel has: a fork's copy of it may go, but not its name, which goes here. */
void fake_free_in_child(struct rumpel_device *device, const char *name);

#endif
