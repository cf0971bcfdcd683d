/* SPDX-License-Identifier: GPL-2.0-only */
/* A driver of a vsock device, for tests, and programs of the host at its other end. */
#ifndef RUMPEL_TESTS_VSOCK_DRIVER_H
#define RUMPEL_TESTS_VSOCK_DRIVER_H

#include <linux/virtio_vsock.h>

#include "fake.h"

#define CID 5u
#define HOST 2u
#define GUEST_ROOM 65536u /* what the driver of these tests says it has room for */
#define DEVICE_ROOM (256u << 10)
#define PACKET 4096u
#define RING 128

struct world {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queues[3]; /* receive, transmit, events */
	uint64_t rx, tx;
	char path[64];
};

/* A packet that the driver got. */
struct packet {
	struct virtio_vsock_hdr header;
	char data[PACKET];
};

/* A buffer of the driver's; the ring has one page for each. */
void add_rx(struct world *w);
struct world up(bool with_buffers);
void down(struct world *w);
struct virtio_vsock_hdr packet(uint32_t host_port, uint32_t guest_port, uint16_t op, uint32_t len);
/* Sends a packet whose bytes are all `byte`, and lets the device serve it. */
void transmit(struct world *w, struct virtio_vsock_hdr header, char byte);
/* The next packet from the device; false: there is none. */
bool receive(struct world *w, struct packet *got);
struct packet expect(struct world *w, uint16_t op);
void expect_nothing(struct world *w);
int listen_at(struct world *w, int port);
void stop_listening(struct world *w, int port, int fd);
/* The driver connects to port 53 of the host: the host's end. */
int connect_out(struct world *w, uint32_t guest_port);
int greet(struct world *w, const char *line);

#endif
