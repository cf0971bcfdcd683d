// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which pages of a kernel differ from what a new arena with its image has:
 * Documentation/admin-guide/mm/pagemap.rst.
 */
#include "core.h"

#include <fcntl.h>
#include <unistd.h>

#define PRESENT (3ull << 62) /* or swapped out */
#define OF_FILE (1ull << 61)
#define ENTRIES 512

/* Pages of the image are as in its file until somebody has written to them. */
static bool is_written(const struct rumpel_arena *arena, uint64_t address, uint64_t entry)
{
	uint64_t offset = address - (uint64_t)arena->memory;

	if (offset < arena->memory_size)
		return entry & PRESENT || rumpel_arena_is_shared(arena, offset / PAGE);
	return entry & PRESENT && !(entry & OF_FILE);
}

static int look(const struct rumpel_arena *arena, int pagemap, uint64_t address, uint64_t len,
		rumpel_written_fn found, void *data)
{
	uint64_t end = address + len, entries[ENTRIES];
	int error = 0;

	while (address < end && !error) {
		size_t count = (end - address) / PAGE, size;

		if (count > ENTRIES)
			count = ENTRIES;
		size = count * sizeof(*entries);
		if (pread(pagemap, entries, size, (off_t)(address / PAGE * sizeof(*entries))) !=
		    (ssize_t)size)
			return -EIO;
		for (size_t i = 0; i < count && !error; i++, address += PAGE)
			if (is_written(arena, address, entries[i]))
				error = found(data, address, PAGE);
	}
	return error;
}

int rumpel_arena_written(const struct rumpel_arena *arena, rumpel_written_fn found, void *data)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), error;

	if (pagemap < 0)
		return -errno;
	error = look(arena, pagemap, (uint64_t)arena->image, arena->image_size, found, data);
	if (!error)
		error = look(arena, pagemap, (uint64_t)arena->memory, arena->memory_size, found,
			     data);
	close(pagemap);
	return error;
}
