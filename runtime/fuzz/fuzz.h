/* SPDX-License-Identifier: GPL-2.0-only */
/* Hostile drivers: what an input is, and whom it is for. */
#ifndef RUMPEL_FUZZ_H
#define RUMPEL_FUZZ_H

#include "../tests/fake.h"
#include "../virtio/net_shared.h"

#define QUEUES 3
#define RING 16
#define DATA (256u << 10) /* guest memory for buffers */
#define DISK (64u << 10)

struct input {
	const uint8_t *data;
	size_t left;
};

/* A driver of one device. */
struct victim {
	struct rumpel_kernel *kernel;
	struct rumpel_device *device;
	struct driver_queue queues[QUEUES];
	unsigned int queue_count;
	uint64_t data;
};

struct scene {
	struct victim victims[2];
	unsigned int count;
	int peer; /* of a socket, or -1 */
	bool stream; /* to which each frame goes behind its length */
	int listener; /* for connections of a vsock, or of a switch; or -1 */
	struct rumpel_block_server *server; /* of a disk that we serve, or NULL */
	struct net_shared shared; /* with an interface at the other end, or nothing */
};

/* input.c: what comes next of an input; zeroes behind its end. */
uint8_t u8(struct input *in);
uint32_t u16(struct input *in);
uint32_t u32(struct input *in);
uint32_t pick_value(struct input *in);
uint64_t pick_address(struct input *in, const struct victim *v);
uint32_t pick_len(struct input *in);

/* driver.c: what a driver does. */
void start(struct input *in, struct victim *v);
void poke_register(struct input *in, struct victim *v);
void poke_ring(struct input *in, struct victim *v, struct driver_queue *queue);
void poke_memory(struct input *in, struct victim *v);
void add_request(struct input *in, struct victim *v, struct driver_queue *queue);
void add_packet(struct input *in, struct victim *v);
void add_chain(struct input *in, struct victim *v, struct driver_queue *queue);

/* scene.c: devices, and who is at their other ends. `only`: this kind, or NULL. */
void set_scene(struct input *in, struct scene *scene, const char *only);
/* Serves what there is of a disk that we serve, some of it badly. */
void serve(void *scene);

#endif
