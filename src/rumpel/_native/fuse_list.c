// SPDX-License-Identifier: GPL-2.0-only
/* Answers about what is in directories. The host opens none: it says from where it reads on. */
#define _GNU_SOURCE
#include "fuse.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#define ROOM (32 << 10)

/* As getdents64(2) has it. */
struct entry {
	uint64_t inode, offset;
	uint16_t length;
	uint8_t kind;
	char name[];
};

/* Reads more, if all was seen; 0: there is no more. */
static bool read_more(FuseServer *server, struct opened *opened, long *result)
{
	struct listing *listing = &opened->listing;

	*result = listing->size - listing->start;
	if (*result)
		return true;
	*result = 0;
	if (listing->ended)
		return true;
	if (!listing->data && !(listing->data = PyMem_Malloc(ROOM))) {
		PyErr_NoMemory();
		return false;
	}
	if (!side_call(&server->side, result, SYS_getdents64, opened->fd, (long)listing->data, ROOM,
		       0, 0))
		return false;
	listing->start = 0;
	listing->size = *result > 0 ? (unsigned int)*result : 0;
	listing->ended = !*result;
	listing->changes = server->changes;
	return true;
}

/* Has the directory at an offset. Not by lseek() alone: at its end ext4 has found nothing, and stays. */
static bool seek(FuseServer *server, FuseNode *node, uint64_t offset, long *result)
{
	struct listing *listing;

	if (!fuse_directory(server, node, result))
		return false;
	if (*result < 0)
		return true;
	listing = &node->directory->listing;
	/* Whoever begins sees all that is there by now, also if some was read before. */
	if (listing->at == offset &&
	    (offset || !listing->size || listing->changes == server->changes))
		return true;
	fuse_close(server, node->directory);
	if (!fuse_directory(server, node, result))
		return false;
	if (*result >= 0 && offset &&
	    !side_call(&server->side, result, SYS_lseek, *result, (long)offset, SEEK_SET, 0, 0))
		return false;
	if (*result >= 0)
		node->directory->listing.at = offset;
	return true;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static const struct entry *entry_at(const struct listing *listing, unsigned int start)
{
	return (const struct entry *)(listing->data + start);
}

static bool look(FuseServer *server, FuseNode *node, unsigned int start, struct fuse_about *to)
{
	const struct entry *entry = entry_at(&node->directory->listing, start);
	long result = 0;

	if (!is_dots(entry->name) &&
	    !side_call(&server->side, &result, SYS_statx, node->directory->fd, (long)entry->name,
		       AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, (long)&to->found))
		return false;
	to->start = start;
	to->error = (int)result;
	return true;
}

bool fuse_list_begin(FuseServer *server, FuseNode *node, long *result)
{
	if (!seek(server, node, 0, result))
		return false;
	return *result < 0 || read_more(server, node->directory, result);
}

bool fuse_list_look(FuseServer *server, FuseNode *node, struct fuse_about *to, int room, int *count)
{
	const struct listing *listing = &node->directory->listing;
	unsigned int start = listing->start;

	for (*count = 0; *count < room && start < listing->size; ++*count) {
		if (!look(server, node, start, &to[*count]))
			return false;
		start += entry_at(listing, start)->length;
	}
	return true;
}

/* All about an entry, if there is something; *result is -ENOENT if it is not there any more. */
static bool about(FuseServer *server, FuseNode *node, unsigned int start, struct fuse_entry_out *to,
		  long *result)
{
	const char *name = entry_at(&node->directory->listing, start)->name;
	struct fuse_early *early = fuse_early(server, node);
	const struct fuse_about *about = NULL;
	struct fuse_about here;
	FuseNode *told;

	memset(to, 0, sizeof(*to));
	if (early && early->seen < early->found)
		about = (const struct fuse_about *)early->data + early->seen++;
	if (!about || about->start != start) {
		about = &here;
		if (!look(server, node, start, &here))
			return false;
	}
	*result = about->error;
	/* Damaged: there is a name, and nothing behind it. */
	if (*result < 0 || is_dots(name))
		return true;
	told = fuse_entry(server, &about->found, node, name, strlen(name), to);
	if (told)
		fuse_ahead_told(server, node, told, &about->found);
	return told;
}

static bool list(FuseServer *server, FuseNode *node, const char *body, size_t size, bool plus,
		 long *result)
{
	size_t done = 0, head = plus ? sizeof(struct fuse_entry_out) : 0, length, whole, room;
	const struct entry *entry;
	struct fuse_dirent *to;
	struct fuse_read_in in;
	struct opened *opened;
	unsigned int start;

	if (size < sizeof(in)) {
		*result = -EINVAL;
		return true;
	}
	memcpy(&in, body, sizeof(in));
	room = in.size < FUSE_ROOM ? in.size : FUSE_ROOM;
	if (!in.offset)
		fuse_ahead_begins(server, node);
	if (!seek(server, node, in.offset, result))
		return false;
	if (*result < 0)
		return true;
	opened = node->directory;
	for (;;) {
		if (!read_more(server, opened, result))
			return false;
		if (*result <= 0)
			break;
		start = opened->listing.start;
		entry = entry_at(&opened->listing, start);
		length = strlen(entry->name);
		whole = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);
		if (whole > room - done)
			break;
		opened->listing.start += entry->length;
		opened->listing.at = entry->offset;
		if (plus && !about(server, node, start, (void *)(server->data + done), result))
			return false;
		if (plus && *result == -ENOENT)
			continue;
		to = (struct fuse_dirent *)(server->data + done + head);
		to->off = entry->offset;
		to->namelen = (uint32_t)length;
		to->type = entry->kind;
		if (fuse_number(server, entry->inode, node->device, &to->ino) < 0)
			return false;
		memset((char *)to + FUSE_NAME_OFFSET, 0, whole - head - FUSE_NAME_OFFSET);
		memcpy(to->name, entry->name, length);
		done += whole;
	}
	if (!*result && !done)
		fuse_ahead_listed(server, node);
	if (*result >= 0 || done)
		*result = (long)done;
	return true;
}

bool fuse_readdir(FuseServer *server, FuseNode *node, const char *body, size_t size, long *result)
{
	return list(server, node, body, size, false, result);
}

bool fuse_readdirplus(FuseServer *server, FuseNode *node, const char *body, size_t size,
		      long *result)
{
	return list(server, node, body, size, true, result);
}
