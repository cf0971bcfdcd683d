// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looking ahead. Whoever walks a tree takes what directories list in its order: while he is busy
 * with one file or directory, the next one is read here. The guess is a guess only; what was read
 * is right as long as nothing has changed, and not used after that.
 */
#define _GNU_SOURCE
#include "fuse.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SURE 2 /* guesses that were right, before anything is read */
#define MOST_SURE 6
#define STEPS 64 /* to look for who is next */
#define ENTRIES ((int)(FUSE_SMALL / sizeof(struct fuse_about)))

/* The next one in the order of the walk, but for what is below it. */
static FuseNode *beside(const FuseServer *server, const FuseNode *node)
{
	while (node && !node->next)
		node = node->parent;
	return node ? fuse_node(server, node->next) : NULL;
}

/* Who is next: directories that were not listed, and files, if files are read at all. */
static void guess(FuseServer *server, FuseNode *node)
{
	struct fuse_ahead *ahead = &server->ahead;

	ahead->count = 0;
	for (int i = 0; i < STEPS && ahead->count < FUSE_EARLY; i++) {
		if (node->kind == DT_DIR && node->listed && node->first)
			node = fuse_node(server, node->first);
		else
			node = beside(server, node);
		if (!node)
			break;
		if (node->kind == DT_DIR ? !node->listed
					 : ahead->files > 0 && node->size <= FUSE_SMALL)
			ahead->wanted[ahead->count++] = node->id;
	}
}

struct fuse_early *fuse_early(FuseServer *server, const FuseNode *node)
{
	struct fuse_early *early = server->ahead.early;

	for (int i = 0; i < FUSE_EARLY; i++, early++) {
		if (early->id == node->id && early->changes == server->changes)
			return early;
	}
	return NULL;
}

void fuse_ahead_begins(FuseServer *server, const FuseNode *node)
{
	struct fuse_ahead *ahead = &server->ahead;

	if (fuse_early(server, node) || (ahead->count && ahead->wanted[0] == node->id))
		ahead->sure += ahead->sure < MOST_SURE;
	else
		ahead->sure -= ahead->sure > 0;
	ahead->count = 0; /* until it is there: then who is next is known better */
}

void fuse_ahead_read(FuseServer *server, FuseNode *node)
{
	server->ahead.files = 4;
	guess(server, node);
}

void fuse_ahead_listed(FuseServer *server, FuseNode *node)
{
	struct fuse_early *early = fuse_early(server, node);

	if (early)
		early->id = 0;
	node->listed = true;
	node->kind = DT_DIR;
	server->ahead.files -= server->ahead.files > 0;
	guess(server, node);
}

void fuse_ahead_told(FuseServer *server, FuseNode *directory, FuseNode *node,
		     const struct statx *found)
{
	struct listing *listing = &directory->directory->listing;
	FuseNode *last;

	node->kind = IFTODT(found->stx_mode);
	node->size = found->stx_size < UINT32_MAX ? (uint32_t)found->stx_size : UINT32_MAX;
	if (node->kind != DT_DIR && (node->kind != DT_REG || !node->size))
		return;
	node->next = 0;
	last = listing->last ? fuse_node(server, listing->last) : NULL;
	if (last)
		last->next = node->id;
	else
		directory->first = node->id;
	listing->last = node->id;
}

/* All of a file, and nothing if that is not as small as it was. */
static bool read_file(FuseServer *server, FuseNode *node, struct fuse_early *early)
{
	long fd, result;

	if (!fuse_file(server, node, false, &fd))
		return false;
	if (fd < 0)
		return true;
	early->size = 0;
	do {
		if (!side_call(&server->side, &result, SYS_pread64, fd,
			       (long)(early->data + early->size), FUSE_SMALL - early->size,
			       early->size, 0))
			return false;
		if (result > 0)
			early->size += result;
	} while (result > 0 && early->size < FUSE_SMALL && early->size != (long)node->size);
	if (result >= 0 && early->size == (long)node->size) {
		early->id = node->id;
		if (node->file && !node->file->writable)
			fuse_close(server, node->file);
	}
	return true;
}

static bool read_directory(FuseServer *server, FuseNode *node, struct fuse_early *early)
{
	long result;

	if (!fuse_list_begin(server, node, &result))
		return false;
	if (result < 0)
		return true;
	early->id = node->id;
	early->seen = 0;
	return fuse_list_look(server, node, (struct fuse_about *)early->data, ENTRIES,
			      &early->found);
}

/* A place for one more: what was read, and not asked for, is not wanted any more. */
static struct fuse_early *place(struct fuse_ahead *ahead)
{
	for (int i = 0; i < FUSE_EARLY; i++) {
		bool wanted = false;

		for (int j = 0; j < ahead->count; j++)
			wanted = wanted || ahead->wanted[j] == ahead->early[i].id;
		if (!wanted)
			return &ahead->early[i];
	}
	return NULL;
}

/* The first one that is wanted, and not here. */
static FuseNode *missing(FuseServer *server)
{
	struct fuse_ahead *ahead = &server->ahead;
	FuseNode *node;

	for (int i = 0; i < ahead->count; i++) {
		node = fuse_node(server, ahead->wanted[i]);
		if (node && node->fd < 0 && !fuse_early(server, node))
			return node;
	}
	return NULL;
}

int fuse_ahead(FuseServer *server)
{
	struct fuse_ahead *ahead = &server->ahead;
	struct fuse_early *early;
	FuseNode *node;
	bool alive;

	if (!ahead->allowed || ahead->sure < SURE || !ahead->count)
		return 0;
	for (int i = 0; i < FUSE_EARLY; i++) {
		if (!ahead->early[i].id || ahead->early[i].changes == server->changes)
			continue;
		/* Who reads, and writes in between, is not helped. */
		ahead->early[i].id = 0;
		ahead->sure = 0;
	}
	node = ahead->sure < SURE ? NULL : missing(server);
	early = node ? place(ahead) : NULL;
	if (!early) {
		ahead->count = 0;
		return 0;
	}
	if (!early->data)
		early->data = PyMem_Malloc(FUSE_SMALL);
	if (!early->data) {
		PyErr_NoMemory();
		return -1;
	}
	early->id = 0;
	early->changes = server->changes;
	alive = node->kind == DT_DIR ? read_directory(server, node, early)
				     : read_file(server, node, early);
	if (!early->id)
		ahead->count = 0; /* something is wrong with it */
	return alive ? 1 : -1;
}
