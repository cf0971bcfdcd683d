// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that all processes have: blocks of powers of two, from the end of what is in
 * use, or used before. Little of it is ever freed: tasks, mostly. Whoever is killed here leaves
 * all in order (each change is one store), and at most a block that nobody has any more.
 */
#include "../shared/instance.h"

#define LEAST 6 /* 64 bytes: a block has a cache line of its own */
#define HEADER 64

struct block {
	struct block *next; /* while it is free */
	unsigned int order;
};

static unsigned int order_of(size_t size)
{
	unsigned int order = LEAST;

	while ((1ull << order) < size)
		order++;
	return order;
}

void *malloc(size_t size)
{
	struct block *block = NULL;
	unsigned int order;

	if (size > 1ull << 31)
		return NULL;
	order = order_of(size + HEADER);
	pthread_mutex_lock(&instance->heap_lock);
	block = instance->heap_free[order];
	if (block) {
		instance->heap_free[order] = block->next;
	} else if ((uint64_t)instance->heap_end + (1ull << order) <= SHARED_IMAGE) {
		block = (struct block *)instance->heap_end;
		instance->heap_end += 1ull << order;
	}
	pthread_mutex_unlock(&instance->heap_lock);
	if (!block)
		return NULL;
	block->order = order;
	return (char *)block + HEADER;
}

static struct block *block_of(void *memory)
{
	return (struct block *)((char *)memory - HEADER);
}

void free(void *memory)
{
	struct block *block;

	if (!memory)
		return;
	block = block_of(memory);
	pthread_mutex_lock(&instance->heap_lock);
	block->next = instance->heap_free[block->order];
	__atomic_store_n(&instance->heap_free[block->order], block, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&instance->heap_lock);
}

void *calloc(size_t count, size_t size)
{
	void *memory = size && count > SIZE_MAX / size ? NULL : malloc(count * size);

	return memory ? memset(memory, 0, count * size) : NULL;
}

void *realloc(void *memory, size_t size)
{
	size_t room = memory ? (1ull << block_of(memory)->order) - HEADER : 0;
	void *more;

	if (memory && size <= room)
		return memory;
	more = malloc(size);
	if (more && memory) {
		memcpy(more, memory, room);
		free(memory);
	}
	return more;
}
