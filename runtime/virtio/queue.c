// SPDX-License-Identifier: GPL-2.0-only
/* A split virtqueue, device side. */
#include "queue.h"

#include <errno.h>

#include "../kernel.h"

/* The rings are little endian, and so is every host so far. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the rings need byte swapping");

int rumpel_queue_start(struct rumpel_queue *queue, struct rumpel_kernel *kernel, bool indirect)
{
	uint32_t num = queue->num;

	/* 2.7: a power of two, and the alignment of each part. */
	if (!num || num > queue->max || (num & (num - 1)))
		return -EINVAL;
	if ((queue->desc_pa & 15) || (queue->avail_pa & 1) || (queue->used_pa & 3))
		return -EINVAL;
	queue->desc = rumpel_guest_memory(kernel, queue->desc_pa, 16ull * num);
	queue->avail = rumpel_guest_memory(kernel, queue->avail_pa, 6 + 2ull * num);
	queue->used = rumpel_guest_memory(kernel, queue->used_pa, 6 + 8ull * num);
	if (!queue->desc || !queue->avail || !queue->used)
		return -EINVAL;
	queue->kernel = kernel;
	queue->indirect = indirect;
	queue->next_avail = 0;
	queue->next_used = 0;
	queue->broken = false;
	queue->ready = true;
	return 0;
}

void rumpel_queue_stop(struct rumpel_queue *queue)
{
	*queue = (struct rumpel_queue){ .max = queue->max };
}

static int queue_break(struct rumpel_queue *queue)
{
	queue->broken = true;
	return -EIO;
}

/* Another thread writes to it: read once, or a check means nothing. */
static struct vring_desc desc_load(const struct vring_desc *from)
{
	return (struct vring_desc){
		.addr = __atomic_load_n(&from->addr, __ATOMIC_RELAXED),
		.len = __atomic_load_n(&from->len, __ATOMIC_RELAXED),
		.flags = __atomic_load_n(&from->flags, __ATOMIC_RELAXED),
		.next = __atomic_load_n(&from->next, __ATOMIC_RELAXED),
	};
}

int rumpel_queue_peek(struct rumpel_queue *queue, unsigned int ahead, struct iovec *iov,
		      unsigned int room, struct rumpel_chain *chain)
{
	const struct vring_desc *table = queue->desc;
	uint32_t size = queue->num;
	unsigned int left = RUMPEL_QUEUE_MAX;
	unsigned int count = 0;
	bool indirect = false;
	uint16_t waiting;
	uint32_t next;

	if (!queue->ready)
		return 0;
	if (queue->broken)
		return -EIO;
	waiting = __atomic_load_n(&queue->avail->idx, __ATOMIC_ACQUIRE) - queue->next_avail;
	if (waiting > queue->num)
		return queue_break(queue);
	if (ahead >= waiting)
		return 0;
	next = __atomic_load_n(
		&queue->avail->ring[(uint16_t)(queue->next_avail + ahead) & (queue->num - 1)],
		__ATOMIC_RELAXED);
	*chain = (struct rumpel_chain){ .head = next };

	for (;;) {
		struct vring_desc desc;
		void *memory;

		/* A loop of descriptors ends here, too. */
		if (next >= size || !left--)
			return queue_break(queue);
		desc = desc_load(&table[next]);

		if (desc.flags & VRING_DESC_F_INDIRECT) {
			/* 2.7.5.3.1: one level, alone or last in its chain. */
			if (!queue->indirect || indirect || (desc.flags & VRING_DESC_F_NEXT) ||
			    !desc.len || desc.len % sizeof(desc) ||
			    desc.len / sizeof(desc) > RUMPEL_QUEUE_MAX)
				return queue_break(queue);
			table = rumpel_guest_memory(queue->kernel, desc.addr, desc.len);
			if (!table || (desc.addr & 7))
				return queue_break(queue);
			size = desc.len / sizeof(desc);
			indirect = true;
			next = 0;
			left = RUMPEL_QUEUE_MAX; /* the descriptor of the table does not count */
			continue;
		}

		memory = NULL;
		if (desc.len) {
			memory = rumpel_guest_memory(queue->kernel, desc.addr, desc.len);
			if (!memory)
				return queue_break(queue);
			/* More than a chain has: a direct part and a full table. */
			if (count == RUMPEL_QUEUE_MAX)
				return queue_break(queue);
			if (count == room)
				return -ENOBUFS;
			iov[count++] = (struct iovec){ memory, desc.len };
		}
		if (desc.flags & VRING_DESC_F_WRITE) {
			chain->in += desc.len != 0;
			chain->in_len += desc.len;
		} else {
			/* 2.7.4.2: all that the device reads comes first. */
			if (chain->in)
				return queue_break(queue);
			chain->out += desc.len != 0;
			chain->out_len += desc.len;
		}
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 1;
		next = desc.next;
	}
}

void rumpel_queue_take(struct rumpel_queue *queue, unsigned int count)
{
	queue->next_avail += count;
}

void rumpel_queue_put(struct rumpel_queue *queue, uint16_t head, uint32_t len)
{
	struct vring_used_elem *element = &queue->used->ring[queue->next_used & (queue->num - 1)];

	__atomic_store_n(&element->id, head, __ATOMIC_RELAXED);
	__atomic_store_n(&element->len, len, __ATOMIC_RELAXED);
	queue->next_used++;
}

void rumpel_queue_publish(struct rumpel_queue *queue)
{
	__atomic_store_n(&queue->used->idx, queue->next_used, __ATOMIC_RELEASE);
}

bool rumpel_queue_wants_interrupt(struct rumpel_queue *queue)
{
	/* The driver sets its flag, then looks at the ring: we the reverse. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !(__atomic_load_n(&queue->avail->flags, __ATOMIC_RELAXED) &
		 VRING_AVAIL_F_NO_INTERRUPT);
}

void rumpel_queue_notify_off(struct rumpel_queue *queue)
{
	if (queue->ready)
		__atomic_store_n(&queue->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool rumpel_queue_notify_on(struct rumpel_queue *queue, unsigned int known)
{
	uint16_t idx;

	if (!queue->ready || queue->broken)
		return false;
	__atomic_store_n(&queue->used->flags, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	idx = __atomic_load_n(&queue->avail->idx, __ATOMIC_ACQUIRE);
	return (uint16_t)(idx - queue->next_avail) > known;
}

bool rumpel_queue_used_once(const struct rumpel_queue *queue)
{
	return queue->ready &&
	       (queue->next_avail || __atomic_load_n(&queue->avail->idx, __ATOMIC_RELAXED));
}
