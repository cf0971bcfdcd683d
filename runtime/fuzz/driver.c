// SPDX-License-Identifier: GPL-2.0-only
/* Hostile drivers: what they do to registers, rings and memory. */
#include "fuzz.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_vsock.h>

void start(struct input *in, struct victim *v)
{
	uint64_t features = ~0ull;

	if (u8(in) & 1)
		features = (uint64_t)u32(in) << 32 | u32(in) | 1ull << VIRTIO_F_VERSION_1;
	driver_negotiate(v->device, driver_offered(v->device) & features);
	for (unsigned int i = 0; i < v->queue_count; i++)
		driver_queue(&v->queues[i], v->device, i, RING);
	driver_ok(v->device);
}

void poke_register(struct input *in, struct victim *v)
{
	static const uint16_t offsets[] = {
		VIRTIO_MMIO_DEVICE_FEATURES_SEL,
		VIRTIO_MMIO_DRIVER_FEATURES,
		VIRTIO_MMIO_DRIVER_FEATURES_SEL,
		VIRTIO_MMIO_QUEUE_SEL,
		VIRTIO_MMIO_QUEUE_NUM,
		VIRTIO_MMIO_QUEUE_READY,
		VIRTIO_MMIO_QUEUE_NOTIFY,
		VIRTIO_MMIO_INTERRUPT_ACK,
		VIRTIO_MMIO_STATUS,
		VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_USED_LOW,
	};
	uint8_t which = u8(in);
	unsigned int offset =
		which & 0x80 ? u16(in) % RUMPEL_MMIO_SIZE : offsets[which % (sizeof(offsets) / 2)];
	unsigned int size = u8(in) % 8 ? 4 : 1 << u8(in) % 4;

	if (u8(in) & 1)
		v->device->ops->mmio_write(v->device, offset, pick_value(in), size);
	else
		v->device->ops->mmio_read(v->device, offset, size);
}

/* Something that a network device takes for the start of a frame, or a source for nothing. */
static void write_header(struct input *in, struct victim *v, uint64_t pa)
{
	uint32_t header[3] = { 0 };

	if (pa - v->data > DATA - sizeof(header))
		return;
	if (u8(in) & 1) {
		header[0] = (u8(in) & 3) | (u8(in) & 0x87) << 8 | u8(in) << 16;
		header[1] = u16(in);
		header[2] = u8(in);
	}
	memcpy(fake_at(v->kernel, pa), header, sizeof(header));
}

/* A request of a disk: header, data, status; most of it makes sense. */
void add_request(struct input *in, struct victim *v, struct driver_queue *queue)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,     VIRTIO_BLK_T_OUT,	   VIRTIO_BLK_T_FLUSH,
		VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
	};
	uint32_t type = types[u8(in) % 6];
	struct virtio_blk_outhdr header = { .type = type, .sector = u8(in) };
	struct virtio_blk_discard_write_zeroes range = {
		.sector = u8(in),
		.num_sectors = u8(in),
		.flags = !(u8(in) % 4),
	};
	bool ranges = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	struct driver_buffer buffers[3] = {
		{ v->data + 16 * u8(in), sizeof(header), false },
		{ v->data + 65536 + u16(in), ranges ? sizeof(range) : 512 * (u8(in) % 20), false },
		{ v->data + 8192 + u8(in), 1, true },
	};

	buffers[1].write = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	memcpy(fake_at(v->kernel, buffers[0].pa), &header, sizeof(header));
	if (ranges)
		memcpy(fake_at(v->kernel, buffers[1].pa), &range, sizeof(range));
	if (!(u8(in) % 8))
		buffers[u8(in) % 3].len = pick_len(in);
	driver_add(queue, buffers, 3);
	if (u8(in) & 1)
		driver_kick(queue);
}

/* A packet of a vsock; most of it makes sense. */
void add_packet(struct input *in, struct victim *v)
{
	static const uint32_t ports[] = { 5, 5, 1u << 30, 9 };
	uint64_t pa = v->data + 64 * u8(in);
	struct virtio_vsock_hdr header = {
		.src_cid = 3,
		.dst_cid = 2,
		.src_port = 5 + u8(in) % 3,
		.dst_port = ports[u8(in) % 4],
		.len = u8(in) & 1 ? pick_len(in) : 0,
		.type = 1 + !(u8(in) % 16),
		.op = u8(in) % 9,
		.flags = u8(in) % 4,
		.buf_alloc = pick_value(in),
		.fwd_cnt = u8(in) & 1 ? u16(in) : 0,
	};
	struct driver_buffer buffers[2] = {
		{ pa, sizeof(header), false },
		{ v->data + u16(in), header.len, false },
	};

	if (!(u8(in) % 16))
		buffers[1].len = pick_len(in);
	memcpy(fake_at(v->kernel, pa), &header, sizeof(header));
	driver_add(&v->queues[1], buffers, 2);
	if (u8(in) & 1)
		driver_kick(&v->queues[1]);
}

void add_chain(struct input *in, struct victim *v, struct driver_queue *queue)
{
	uint8_t shape = u8(in);
	unsigned int count = 1 + shape % 4;
	struct driver_buffer buffers[4];

	if (v->kernel->next_page + (64 << 10) > FAKE_MEMORY)
		return;
	for (unsigned int i = 0; i < count; i++) {
		buffers[i].pa = pick_address(in, v);
		buffers[i].len = pick_len(in);
		/* Mostly as it should be: of a disk the last is written... */
		buffers[i].write = v->queue_count == 1 ? i + 1 == count : queue->index != 1;
		if (!(u8(in) % 8))
			buffers[i].write = !buffers[i].write;
	}
	write_header(in, v, buffers[0].pa);
	if (shape & 0x40)
		driver_add_indirect(queue, buffers, count);
	else
		driver_add(queue, buffers, count);
	if (shape & 0x80)
		driver_kick(queue);
}

void poke_ring(struct input *in, struct victim *v, struct driver_queue *queue)
{
	struct vring_desc *desc = &queue->desc[u8(in) % RING];

	switch (u8(in) % 6) {
	case 0:
		desc->addr = pick_address(in, v);
		desc->len = pick_len(in);
		break;
	case 1:
		desc->flags = u8(in);
		break;
	case 2:
		desc->next = u8(in) & 1 ? u8(in) % RING : u16(in);
		break;
	case 3:
		driver_offer(queue, u8(in) % (RING + 1));
		break;
	case 4:
		queue->avail->idx += u8(in) & 1 ? u8(in) % RING : u16(in);
		break;
	case 5:
		queue->avail->flags = u8(in) & 1;
	}
}

void poke_memory(struct input *in, struct victim *v)
{
	uint64_t pa = pick_address(in, v);

	if (pa < FAKE_MEMORY)
		*(uint8_t *)fake_at(v->kernel, pa) = u8(in);
}
