// SPDX-License-Identifier: GPL-2.0-only
/* The register file of virtio-mmio, version 2 (VIRTIO 1.2, 4.2.2). */
#include "mmio.h"

#include <string.h>
#include <linux/virtio_ids.h>

#define MMIO_MAGIC 0x74726976 /* "virt" */
#define MMIO_VERSION 2
#define MMIO_VENDOR 0x504d5552 /* "RUMP" */

static struct rumpel_virtio *to_virtio(const struct rumpel_device *device)
{
	return (struct rumpel_virtio *)device;
}

static void virtio_lock(struct rumpel_virtio *virtio)
{
	if (virtio->ops->lock)
		virtio->ops->lock(virtio);
}

static void virtio_unlock(struct rumpel_virtio *virtio)
{
	if (virtio->ops->unlock)
		virtio->ops->unlock(virtio);
}

static uint32_t virtio_status(const struct rumpel_virtio *virtio)
{
	return __atomic_load_n(&virtio->status, __ATOMIC_ACQUIRE);
}

bool rumpel_virtio_is_live(const struct rumpel_virtio *virtio)
{
	const uint32_t up = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

	return (virtio_status(virtio) & (up | VIRTIO_CONFIG_S_NEEDS_RESET)) == up;
}

bool rumpel_virtio_has(const struct rumpel_virtio *virtio, unsigned int feature)
{
	return virtio->accepted >> feature & 1;
}

static void virtio_raise(struct rumpel_virtio *virtio, struct rumpel_kernel *by, uint32_t reason)
{
	uint32_t old = __atomic_fetch_or(&virtio->interrupts, reason, __ATOMIC_SEQ_CST);

	/*
	 * A reason that is not acknowledged yet has its interrupt on the way:
	 * the driver acknowledges before it looks at the queues.
	 */
	if (!(old & reason))
		rumpel_kernel_interrupt_by(by, virtio->device.kernel, virtio->device.slot);
}

void rumpel_virtio_interrupt(struct rumpel_virtio *virtio)
{
	rumpel_virtio_interrupt_by(virtio, NULL);
}

void rumpel_virtio_interrupt_by(struct rumpel_virtio *virtio, struct rumpel_kernel *by)
{
	virtio_raise(virtio, by, VIRTIO_MMIO_INT_VRING);
}

void rumpel_virtio_configure(struct rumpel_virtio *virtio, void *field, const void *value,
			     size_t size)
{
	virtio_lock(virtio);
	memcpy(field, value, size);
	__atomic_fetch_add(&virtio->generation, 1, __ATOMIC_SEQ_CST);
	if (virtio_status(virtio) & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_raise(virtio, NULL, VIRTIO_MMIO_INT_CONFIG);
	virtio_unlock(virtio);
}

void rumpel_virtio_break(struct rumpel_virtio *virtio)
{
	uint32_t old;

	rumpel_virtio_count(&virtio->stats.errors, 1);
	old = __atomic_fetch_or(&virtio->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_SEQ_CST);
	if ((old & VIRTIO_CONFIG_S_DRIVER_OK) && !(old & VIRTIO_CONFIG_S_NEEDS_RESET))
		virtio_raise(virtio, NULL, VIRTIO_MMIO_INT_CONFIG);
}

void rumpel_virtio_publish(struct rumpel_virtio *virtio, struct rumpel_queue *queue)
{
	rumpel_queue_publish(queue);
	if (rumpel_queue_wants_interrupt(queue))
		rumpel_virtio_interrupt(virtio);
}

/* Locked. Ends the use of the rings for good or until the next set-up. */
static void virtio_stop(struct rumpel_virtio *virtio)
{
	__atomic_store_n(&virtio->status, 0, __ATOMIC_RELEASE);
	if (virtio->ops->quiesce)
		virtio->ops->quiesce(virtio);
	for (unsigned int i = 0; i < virtio->queue_count; i++)
		rumpel_queue_stop(&virtio->queues[i]);
	__atomic_store_n(&virtio->interrupts, 0, __ATOMIC_RELEASE);
	virtio->accepted = 0;
}

static void write_status(struct rumpel_virtio *virtio, uint32_t value)
{
	uint32_t old = virtio_status(virtio);

	virtio_lock(virtio);
	if (!value) {
		virtio_stop(virtio);
		virtio_unlock(virtio);
		return;
	}
	/* 2.1.1: the driver adds bits; only a reset takes them away. */
	value = (value | old) & 0xff;
	/* 2.2.2: it may take what is offered, and must take VERSION_1. */
	if ((virtio->accepted & ~virtio->offered) || !rumpel_virtio_has(virtio, VIRTIO_F_VERSION_1))
		value &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	__atomic_fetch_or(&virtio->status, value, __ATOMIC_SEQ_CST);
	virtio_unlock(virtio);
}

static void write_features(struct rumpel_virtio *virtio, uint32_t value)
{
	unsigned int shift = virtio->accepted_select * 32;

	/* 2.2.1: negotiation is over once FEATURES_OK is set. */
	if (virtio->accepted_select > 1 || (virtio_status(virtio) & VIRTIO_CONFIG_S_FEATURES_OK))
		return;
	virtio->accepted &= ~(0xffffffffull << shift);
	virtio->accepted |= (uint64_t)value << shift;
}

static void set_half(uint64_t *address, bool high, uint32_t value)
{
	if (high)
		*address = (uint32_t)*address | (uint64_t)value << 32;
	else
		*address = (*address & ~0xffffffffull) | value;
}

static void write_ready(struct rumpel_virtio *virtio, struct rumpel_queue *queue, uint32_t value)
{
	int error = 0;

	virtio_lock(virtio);
	if (!value && queue->ready) {
		/* What is taken from one ring may be bound for the other: all or nothing. */
		if (virtio->ops->quiesce)
			virtio->ops->quiesce(virtio);
		rumpel_queue_stop(queue);
	} else if (value && !queue->ready) {
		error = rumpel_queue_start(queue, virtio->device.kernel,
					   rumpel_virtio_has(virtio, VIRTIO_RING_F_INDIRECT_DESC));
	}
	virtio_unlock(virtio);
	if (error)
		rumpel_virtio_break(virtio);
}

static void write_queue(struct rumpel_virtio *virtio, unsigned int offset, uint32_t value)
{
	struct rumpel_queue *queue;

	if (virtio->queue_select >= virtio->queue_count)
		return;
	queue = &virtio->queues[virtio->queue_select];
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		write_ready(virtio, queue, value);
		return;
	}
	/* 4.2.2.2: nothing of this changes while the queue is in use. */
	if (queue->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		queue->num = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&queue->desc_pa, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&queue->avail_pa, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&queue->used_pa, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	}
}

static void virtio_mmio_write(struct rumpel_device *device, unsigned int offset, uint64_t value,
			      unsigned int size)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	/* 4.2.2.2: registers are 32 bits wide. No model has writable configuration. */
	if (size != 4 || offset >= VIRTIO_MMIO_CONFIG)
		return;
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		virtio->offered_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		virtio->accepted_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_features(virtio, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		virtio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < virtio->queue_count && rumpel_virtio_is_live(virtio))
			rumpel_device_notify(device);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_fetch_and(&virtio->interrupts, ~(uint32_t)value, __ATOMIC_SEQ_CST);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(virtio, value);
		break;
	default:
		write_queue(virtio, offset, value);
	}
}

static uint64_t read_config(struct rumpel_virtio *virtio, unsigned int offset, unsigned int size)
{
	uint64_t value = 0;

	if (size > sizeof(value) || offset >= virtio->config_size)
		return 0;
	if (size > virtio->config_size - offset)
		size = virtio->config_size - offset;
	virtio_lock(virtio);
	memcpy(&value, (const char *)virtio->config + offset, size);
	virtio_unlock(virtio);
	return value;
}

static uint64_t virtio_mmio_read(struct rumpel_device *device, unsigned int offset,
				 unsigned int size)
{
	struct rumpel_virtio *virtio = to_virtio(device);
	const struct rumpel_queue *queue = NULL;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return read_config(virtio, offset - VIRTIO_MMIO_CONFIG, size);
	if (size != 4)
		return 0;
	if (virtio->queue_select < virtio->queue_count)
		queue = &virtio->queues[virtio->queue_select];

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return MMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return MMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (virtio->offered_select > 1)
			return 0;
		return (uint32_t)(virtio->offered >> virtio->offered_select * 32);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? queue->max : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->ready;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&virtio->interrupts, __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_STATUS:
		return virtio_status(virtio);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return __atomic_load_n(&virtio->generation, __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return 0xffffffff; /* 4.2.2: there is no such region */
	}
	return 0;
}

static void virtio_service(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	if (rumpel_virtio_is_live(virtio))
		virtio->ops->service(virtio);
}

static int virtio_attach(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	return virtio->ops->attach ? virtio->ops->attach(virtio) : 0;
}

static void virtio_detach(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	virtio_lock(virtio);
	virtio_stop(virtio);
	virtio_unlock(virtio);
	if (virtio->ops->detach)
		virtio->ops->detach(virtio);
}

static void virtio_finish(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	if (virtio->ops->finish)
		virtio->ops->finish(virtio);
}

static void virtio_free(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	virtio->ops->free(virtio);
}

static void virtio_stats(const struct rumpel_device *device, struct rumpel_device_stats *stats)
{
	const struct rumpel_device_stats *from = &to_virtio(device)->stats;

	*stats = (struct rumpel_device_stats){
		.in = __atomic_load_n(&from->in, __ATOMIC_RELAXED),
		.in_bytes = __atomic_load_n(&from->in_bytes, __ATOMIC_RELAXED),
		.out = __atomic_load_n(&from->out, __ATOMIC_RELAXED),
		.out_bytes = __atomic_load_n(&from->out_bytes, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&from->errors, __ATOMIC_RELAXED),
		.dropped = __atomic_load_n(&from->dropped, __ATOMIC_RELAXED),
	};
}

/* Other devices have the driver's buffers for as long as nothing comes. */
static bool answers_all(const struct rumpel_virtio *virtio)
{
	return virtio->id == VIRTIO_ID_BLOCK || virtio->id == VIRTIO_ID_FS;
}

static bool virtio_is_busy(struct rumpel_device *device)
{
	struct rumpel_virtio *virtio = to_virtio(device);
	bool busy = false;

	if (!answers_all(virtio))
		return false;
	virtio_lock(virtio);
	for (unsigned int i = 0; i < virtio->queue_count; i++)
		busy |= virtio->queues[i].next_avail != virtio->queues[i].next_used;
	virtio_unlock(virtio);
	return busy && rumpel_virtio_is_live(virtio);
}

static void virtio_fork(struct rumpel_device *device, enum rumpel_fork stage)
{
	struct rumpel_virtio *virtio = to_virtio(device);

	if (stage == RUMPEL_FORK_PREPARE)
		virtio_lock(virtio);
	if (virtio->ops->fork)
		virtio->ops->fork(virtio, stage);
	if (stage != RUMPEL_FORK_PREPARE)
		virtio_unlock(virtio);
}

static const struct rumpel_device_ops virtio_device_ops = {
	.mmio_read = virtio_mmio_read,
	.mmio_write = virtio_mmio_write,
	.service = virtio_service,
	.attach = virtio_attach,
	.detach = virtio_detach,
	.finish = virtio_finish,
	.free = virtio_free,
	.stats = virtio_stats,
	.is_busy = virtio_is_busy,
	.fork = virtio_fork,
};

struct rumpel_virtio *rumpel_virtio_of(struct rumpel_device *device, uint32_t id)
{
	if (!device || device->ops != &virtio_device_ops || to_virtio(device)->id != id)
		return NULL;
	return to_virtio(device);
}

void rumpel_virtio_init(struct rumpel_virtio *virtio, const struct rumpel_virtio_ops *ops,
			uint32_t id, uint64_t features, const void *config, size_t config_size,
			unsigned int queue_count)
{
	virtio->device.ops = &virtio_device_ops;
	virtio->ops = ops;
	virtio->id = id;
	virtio->offered =
		features | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	virtio->config = config;
	virtio->config_size = config_size;
	virtio->queue_count = queue_count;
	for (unsigned int i = 0; i < queue_count; i++)
		virtio->queues[i].max = RUMPEL_QUEUE_MAX;
}
