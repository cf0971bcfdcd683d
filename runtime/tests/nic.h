/* SPDX-License-Identifier: GPL-2.0-only */
/* A driver of a network device, for tests: fixed buffers, frames by copy. */
#ifndef RUMPEL_TESTS_NIC_H
#define RUMPEL_TESTS_NIC_H

#include <linux/virtio_net.h>

#include "fake.h"

#define NIC_RING 64
#define NIC_HEADER sizeof(struct virtio_net_hdr_v1)
#define NIC_FRAME (1u << 17) /* more than any frame */

struct nic {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue rx, tx;
	uint64_t rx_pa; /* NIC_RING buffers of rx_size */
	uint64_t tx_pa; /* what is sent, round and round */
	size_t rx_size, tx_used;
	unsigned int rx_posted; /* buffers that were ever offered */
};

/* A kernel of its own, with this device up but for receive buffers. */
void nic_up(struct nic *nic, struct rumpel_device *device, bool is_virtual, size_t rx_size);
/* The same in a kernel that is there, with these of the features offered. */
void nic_start(struct nic *nic, struct rumpel_kernel *kernel, struct rumpel_device *device,
	       uint64_t features, size_t rx_size);
/* Offers some more receive buffers, and tells. */
void nic_post(struct nic *nic, unsigned int count);
/* Sends a frame, cut into header, 60 bytes, and the rest; does not tell. */
void nic_queue(struct nic *nic, const struct virtio_net_hdr_v1 *header, const void *frame,
	       size_t len);
/* The same with an empty header; tells and runs the kernel. */
void nic_send(struct nic *nic, const void *frame, size_t len);
/* Frames that the device is done with since last asked. */
unsigned int nic_sent(struct nic *nic);
/* The next frame: its length, or -1. `header` may be NULL. */
long nic_receive(struct nic *nic, struct virtio_net_hdr_v1 *header, void *frame);
/* Bytes that tell where they should be. */
void nic_pattern(void *frame, size_t len, unsigned int seed);

#endif
