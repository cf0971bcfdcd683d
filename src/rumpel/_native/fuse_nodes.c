// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the host knows of: inodes, each with a name that leads to it.
 *
 * Descriptors for all would be as many as the host's cache has inodes. A name is enough, as all
 * changes of names come through here; what loses its name while the host may have it open gets
 * a descriptor before.
 */
#define _GNU_SOURCE
#include "fuse.h"

#include <dirent.h>
#include <string.h>

#define FIRST_HASHES 1024

static size_t hash_key(const FuseServer *server, uint64_t device, uint64_t inode)
{
	return ((inode ^ device) * 0x9e3779b97f4a7c15ULL >> 32) & (server->hashes - 1);
}

static void insert(FuseServer *server, FuseNode *node)
{
	FuseNode **id = &server->by_id[node->id & (server->hashes - 1)];
	FuseNode **key = &server->by_key[hash_key(server, node->device, node->inode)];

	node->by_id = *id;
	*id = node;
	node->by_key = *key;
	*key = node;
}

static int grow(FuseServer *server, size_t hashes)
{
	FuseNode **before = server->by_id, *node, *next;
	FuseNode **by_id = PyMem_Calloc(hashes, sizeof(*by_id));
	FuseNode **by_key = PyMem_Calloc(hashes, sizeof(*by_key));
	size_t count = server->hashes;

	if (!by_id || !by_key) {
		PyMem_Free(by_id);
		PyMem_Free(by_key);
		PyErr_NoMemory();
		return -1;
	}
	PyMem_Free(server->by_key);
	server->by_id = by_id;
	server->by_key = by_key;
	server->hashes = hashes;
	for (size_t i = 0; i < count; i++) {
		for (node = before[i]; node; node = next) {
			next = node->by_id;
			insert(server, node);
		}
	}
	PyMem_Free(before);
	return 0;
}

static FuseNode *add(FuseServer *server, const struct statx *found, FuseNode *parent,
		     PyObject *name)
{
	FuseNode *node;

	if (server->nodes == server->hashes && grow(server, server->hashes * 2) < 0)
		return NULL;
	node = PyObject_New(FuseNode, server->node_type);
	if (!node)
		return NULL;
	node->id = ++server->last_id;
	node->device = fuse_device(found);
	node->inode = found->stx_ino;
	node->parent = (FuseNode *)Py_XNewRef((PyObject *)parent);
	node->name = Py_NewRef(name);
	node->lookups = 0;
	node->below = 0;
	node->fd = -1;
	node->file = node->directory = NULL;
	node->kind = parent ? DT_UNKNOWN : DT_DIR;
	node->listed = false;
	node->size = 0;
	node->first = node->next = 0;
	insert(server, node);
	server->nodes++;
	if (parent)
		parent->below++;
	return node;
}

int fuse_nodes_begin(FuseServer *server, const struct statx *root)
{
	PyObject *none;
	FuseNode *top;

	if (grow(server, FIRST_HASHES) < 0)
		return -1;
	none = PyBytes_FromStringAndSize(NULL, 0);
	if (!none)
		return -1;
	server->last_id = FUSE_ROOT_ID - 1;
	top = add(server, root, NULL, none);
	Py_DECREF(none);
	return top ? 0 : -1;
}

void fuse_nodes_end(FuseServer *server)
{
	FuseNode *node, *next;

	for (size_t i = 0; server->by_id && i < server->hashes; i++) {
		for (node = server->by_id[i]; node; node = next) {
			next = node->by_id;
			Py_DECREF(node);
		}
	}
	PyMem_Free(server->by_id);
	PyMem_Free(server->by_key);
	server->by_id = server->by_key = NULL;
	server->hashes = server->nodes = 0;
}

FuseNode *fuse_node(const FuseServer *server, uint64_t id)
{
	FuseNode *node = server->hashes ? server->by_id[id & (server->hashes - 1)] : NULL;

	while (node && node->id != id)
		node = node->by_id;
	return node;
}

FuseNode *fuse_find(const FuseServer *server, const struct statx *found)
{
	uint64_t device = fuse_device(found);
	FuseNode *node;

	if (!server->hashes)
		return NULL;
	node = server->by_key[hash_key(server, device, found->stx_ino)];
	while (node && (node->inode != found->stx_ino || node->device != device))
		node = node->by_key;
	return node;
}

static void unlink_node(FuseServer *server, FuseNode *node)
{
	FuseNode **at = &server->by_id[node->id & (server->hashes - 1)];

	while (*at != node)
		at = &(*at)->by_id;
	*at = node->by_id;
	at = &server->by_key[hash_key(server, node->device, node->inode)];
	while (*at != node)
		at = &(*at)->by_key;
	*at = node->by_key;
	server->nodes--;
}

/* Forgets it, and those above it, unless somebody needs them. */
static void drop(FuseServer *server, FuseNode *node)
{
	FuseNode *parent;

	while (node->lookups <= 0 && !node->below && node->parent) {
		unlink_node(server, node);
		fuse_release(server, node);
		parent = node->parent;
		Py_DECREF(node);
		parent->below--;
		node = parent;
	}
}

int fuse_move(FuseServer *server, FuseNode *node, FuseNode *parent, PyObject *name)
{
	FuseNode *before = node->parent;

	if (!before)
		return 0;
	node->parent = (FuseNode *)Py_NewRef((PyObject *)parent);
	Py_SETREF(node->name, Py_NewRef(name));
	parent->below++;
	before->below--;
	drop(server, before);
	Py_DECREF(before);
	return 0;
}

FuseNode *fuse_tell(FuseServer *server, const struct statx *found, FuseNode *parent,
		    const char *name, size_t length)
{
	FuseNode *node = fuse_find(server, found);
	PyObject *given;

	if (!node || (node->fd >= 0 && node->parent)) {
		given = PyBytes_FromStringAndSize(name, (Py_ssize_t)length);
		if (!given)
			return NULL;
		if (!node) {
			node = add(server, found, parent, given);
		} else {
			/* It had lost a name, and has another one. */
			fuse_move(server, node, parent, given);
			fuse_release(server, node);
		}
		Py_DECREF(given);
	}
	if (node)
		node->lookups++;
	return node;
}

void fuse_forget(FuseServer *server, uint64_t id, uint64_t count)
{
	FuseNode *node = fuse_node(server, id);

	if (!node || id == FUSE_ROOT_ID)
		return;
	node->lookups -= (int64_t)count;
	drop(server, node);
}

static bool put_before(char *path, size_t *at, const char *name, size_t length)
{
	if (length + 1 > *at)
		return false;
	*at -= length;
	memcpy(path + *at, name, length);
	path[--*at] = '/';
	return true;
}

const char *fuse_path(FuseServer *server, const FuseNode *node, const char *name, size_t length,
		      long *error)
{
	size_t at = sizeof(server->path) - 1;
	bool fits = true;

	server->path[at] = '\0';
	if (name)
		fits = put_before(server->path, &at, name, length);
	else if (!node->parent)
		fits = put_before(server->path, &at, "", 0);
	for (; fits && node->parent; node = node->parent) {
		if (node->fd >= 0) {
			*error = -ESTALE; /* it has no name any more */
			return NULL;
		}
		fits = put_before(server->path, &at, PyBytes_AS_STRING(node->name),
				  (size_t)PyBytes_GET_SIZE(node->name));
	}
	*error = fits ? 0 : -ENAMETOOLONG;
	return fits ? server->path + at : NULL;
}

static void node_dealloc(PyObject *self)
{
	FuseNode *node = (FuseNode *)self;
	PyTypeObject *type = Py_TYPE(self);

	Py_XDECREF(node->parent);
	Py_DECREF(node->name);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyMemberDef node_members[] = {
	{ "parent", T_OBJECT, offsetof(FuseNode, parent), READONLY, NULL },
	{ "name", T_OBJECT, offsetof(FuseNode, name), READONLY, NULL },
	{ "fd", T_INT, offsetof(FuseNode, fd), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot node_slots[] = {
	{ Py_tp_dealloc, node_dealloc },
	{ Py_tp_members, node_members },
	{ 0, NULL },
};

PyType_Spec fuse_node_spec = {
	.name = "rumpel._native.FuseNode",
	.basicsize = sizeof(FuseNode),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = node_slots,
};
