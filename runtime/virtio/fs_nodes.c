// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nodes: what the kernel knows files by. A node is an inode of the host, and the
 * name under which it was found last. To have a descriptor for each would take
 * too many, so only directories have one, as far as they go, and files that lost
 * their name; the others are found again below the nearest one that has.
 */
#define _GNU_SOURCE
#include "fs_server.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HASH_FIRST 256

static uint64_t bucket(const struct rumpel_fs *fs, dev_t dev, ino_t ino)
{
	return ((ino ^ dev * 31) * 0x9e3779b97f4a7c15ull >> 20) & (fs->hash_size - 1);
}

static struct fs_node **find_inode(struct rumpel_fs *fs, dev_t dev, ino_t ino)
{
	struct fs_node **at = &fs->hash[bucket(fs, dev, ino)];

	while (*at && ((*at)->dev != dev || (*at)->ino != ino))
		at = &(*at)->hashed;
	return at;
}

static struct fs_node *find_id(const struct rumpel_fs *fs, uint64_t id)
{
	return id - 1 < fs->node_room ? fs->nodes[id - 1] : NULL;
}

static void unhash(struct rumpel_fs *fs, const struct fs_node *node)
{
	struct fs_node **at = &fs->hash[bucket(fs, node->dev, node->ino)];

	while (*at && *at != node)
		at = &(*at)->hashed;
	if (*at) {
		*at = node->hashed;
		fs->hashed--;
	}
}

/* Locked. Also its ancestors, if nothing else holds them. */
static void unref(struct rumpel_fs *fs, struct fs_node *node)
{
	while (node != &fs->root && !--node->refs) {
		struct fs_node *parent = node->parent;

		unhash(fs, node);
		fs->nodes[node->id - 1] = NULL;
		if (node->id - 1 < fs->free_id)
			fs->free_id = node->id - 1;
		fs->node_count--;
		if (node->fd >= 0) {
			close(node->fd);
			fs->kept--;
		}
		free(node->name);
		free(node);
		node = parent;
	}
}

/* ---- holding ---- */

/* Locked. The way from an ancestor with a descriptor, which is referred to. */
static struct fs_node *way_to(struct rumpel_fs *fs, const struct fs_node *node, char *path,
			      int *error)
{
	char buffer[FS_PATH_MAX], *at = buffer + sizeof(buffer);
	struct fs_node *from = node->parent;

	*--at = '\0';
	for (; node->fd < 0; node = node->parent) {
		size_t len = strlen(node->name);

		if ((size_t)(at - buffer) < len + 1) {
			*error = -ENAMETOOLONG;
			return NULL;
		}
		if (*at)
			*--at = '/';
		at -= len;
		memcpy(at, node->name, len);
		from = node->parent;
	}
	strcpy(path, at);
	if (from != &fs->root)
		from->refs++;
	return from;
}

static int open_below(int fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long found = syscall(SYS_openat2, fd, path, &how, sizeof(how));

	return found < 0 ? -errno : (int)found;
}

/* Somebody else may have put another file there. */
static int open_again(struct rumpel_fs *fs, struct fs_node *node, struct fs_node *from,
		      const char *path)
{
	int fd = open_below(from->fd, path);
	struct stat stat;

	(void)fs;
	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR ? -ESTALE : fd;
	if (!fstat(fd, &stat) && stat.st_dev == node->dev && stat.st_ino == node->ino &&
	    (stat.st_mode & S_IFMT) == node->type)
		return fd;
	close(fd);
	return -ESTALE;
}

int fs_hold(struct rumpel_fs *fs, uint64_t id, struct fs_hold *hold)
{
	struct fs_node *node, *from = NULL;
	char path[FS_PATH_MAX];
	int error = 0;

	pthread_mutex_lock(&fs->lock);
	node = find_id(fs, id);
	if (node && node->fd < 0)
		from = way_to(fs, node, path, &error);
	if (node && !error)
		node->refs++;
	pthread_mutex_unlock(&fs->lock);
	if (!node || error)
		return node ? error : -ESTALE;
	*hold = (struct fs_hold){ .node = node, .fd = node->fd };
	if (!from)
		return 0;
	hold->fd = open_again(fs, node, from, path);
	hold->own = hold->fd >= 0;
	error = hold->own ? 0 : hold->fd;
	pthread_mutex_lock(&fs->lock);
	unref(fs, from);
	if (error)
		unref(fs, node);
	pthread_mutex_unlock(&fs->lock);
	return error;
}

void fs_let_go(struct rumpel_fs *fs, struct fs_hold *hold)
{
	if (hold->own)
		close(hold->fd);
	pthread_mutex_lock(&fs->lock);
	if (hold->node == &fs->root)
		hold->node->refs--;
	unref(fs, hold->node);
	pthread_mutex_unlock(&fs->lock);
}

/* ---- finding ---- */

static void grow_hash(struct rumpel_fs *fs)
{
	struct fs_node **old = fs->hash, *node;
	uint64_t old_size = fs->hash_size;
	struct fs_node **larger = calloc(old_size * 2, sizeof(struct fs_node *));

	/* It is slower then, no more. */
	if (!larger)
		return;
	fs->hash = larger;
	fs->hash_size = old_size * 2;
	for (uint64_t i = 0; i < old_size; i++) {
		while ((node = old[i])) {
			struct fs_node **at;

			old[i] = node->hashed;
			at = &fs->hash[bucket(fs, node->dev, node->ino)];
			node->hashed = *at;
			*at = node;
		}
	}
	free(old);
}

static int take_id(struct rumpel_fs *fs, struct fs_node *node)
{
	uint64_t at = fs->free_id, room = fs->node_room * 2;
	struct fs_node **larger;

	while (at < fs->node_room && fs->nodes[at])
		at++;
	if (at == fs->node_room) {
		larger = realloc(fs->nodes, room * sizeof(struct fs_node *));
		if (!larger)
			return -ENOMEM;
		memset(larger + fs->node_room, 0, (room - fs->node_room) * sizeof(*larger));
		fs->nodes = larger;
		fs->node_room = room;
	}
	fs->nodes[at] = node;
	fs->free_id = at + 1;
	fs->node_count++;
	node->id = at + 1;
	node->generation = ++fs->generation;
	return 0;
}

/* Locked. */
static struct fs_node *node_new(struct rumpel_fs *fs, const struct stat *stat)
{
	struct fs_node *node = calloc(1, sizeof(*node)), **at;

	if (!node)
		return NULL;
	node->fd = -1;
	node->dev = stat->st_dev;
	node->ino = stat->st_ino;
	node->type = stat->st_mode & S_IFMT;
	if (take_id(fs, node)) {
		free(node);
		return NULL;
	}
	if (++fs->hashed > fs->hash_size)
		grow_hash(fs);
	at = &fs->hash[bucket(fs, node->dev, node->ino)];
	node->hashed = *at;
	*at = node;
	return node;
}

/* Locked. It is, or has become, a child of `parent`. */
static void attach(struct rumpel_fs *fs, struct fs_node *node, struct fs_node *parent, char *name)
{
	struct fs_node *old = node->parent;

	free(node->name);
	node->name = name;
	node->parent = parent;
	if (parent != &fs->root)
		parent->refs++;
	if (old)
		unref(fs, old);
}

/* Locked. Would it be its own ancestor? Then somebody moves directories about just now. */
static bool is_above(const struct fs_node *node, const struct fs_node *below)
{
	while (below && below != node)
		below = below->parent;
	return below != NULL;
}

static bool may_keep(struct rumpel_fs *fs)
{
	bool may;

	pthread_mutex_lock(&fs->lock);
	may = fs->kept < fs->most_kept;
	pthread_mutex_unlock(&fs->lock);
	return may;
}

/* Locked. Takes the descriptor, if it is of that node, which has none yet. */
static bool keep(struct rumpel_fs *fs, struct fs_node *node, int fd)
{
	struct stat stat;

	if (fd < 0 || node->fd >= 0 || fstat(fd, &stat) || stat.st_dev != node->dev ||
	    stat.st_ino != node->ino || (stat.st_mode & S_IFMT) != node->type)
		return false;
	node->fd = fd;
	fs->kept++;
	return true;
}

int fs_node_found(struct rumpel_fs *fs, struct fs_hold *parent, const char *name,
		  const struct stat *stat, uint64_t *id, uint64_t *generation)
{
	char *copy = strdup(name);
	struct fs_node *node;
	int fd = -1;

	if (!copy)
		return -ENOMEM;
	if (S_ISDIR(stat->st_mode) && may_keep(fs))
		fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	pthread_mutex_lock(&fs->lock);
	node = *find_inode(fs, stat->st_dev, stat->st_ino);
	/* The number of a file that is gone may be given to another kind of file. */
	if (node && node != &fs->root && node->type != (stat->st_mode & S_IFMT)) {
		unhash(fs, node);
		node = NULL;
	}
	if (!node && (node = node_new(fs, stat)))
		node->refs = 0;
	if (node && !is_above(node, parent->node)) {
		attach(fs, node, parent->node, copy);
		copy = NULL;
	} else if (node) {
		/* The root within itself, by a bind mount: there is no way to name it. */
		node = NULL;
	}
	if (node) {
		node->refs += !node->lookups++;
		*id = node->id;
		*generation = node->generation;
	}
	if (node && keep(fs, node, fd))
		fd = -1;
	pthread_mutex_unlock(&fs->lock);
	free(copy);
	if (fd >= 0)
		close(fd);
	return node ? 0 : -ENOMEM;
}

int fs_node_keep(struct rumpel_fs *fs, const struct fs_hold *parent, const char *name)
{
	struct fs_node *node;
	bool full = false;
	struct stat stat;
	int fd;

	if (fstatat(parent->fd, name, &stat, AT_SYMLINK_NOFOLLOW))
		return 0; /* whoever wants to take it away finds out, too */
	pthread_mutex_lock(&fs->lock);
	node = *find_inode(fs, stat.st_dev, stat.st_ino);
	if (node && node->fd < 0)
		full = fs->kept >= fs->most_kept + fs->most_gone;
	else
		node = NULL;
	if (node && !full)
		node->refs++;
	pthread_mutex_unlock(&fs->lock);
	if (!node || full)
		return full ? -ENFILE : 0;
	fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	full = fd < 0 && (errno == EMFILE || errno == ENFILE);
	pthread_mutex_lock(&fs->lock);
	if (keep(fs, node, fd))
		fd = -1;
	unref(fs, node);
	pthread_mutex_unlock(&fs->lock);
	if (fd >= 0)
		close(fd);
	return full ? -ENFILE : 0;
}

void fs_node_moved(struct rumpel_fs *fs, struct fs_hold *parent, const char *name)
{
	char *copy = strdup(name);
	struct fs_node *node;
	struct stat stat;

	if (!copy || fstatat(parent->fd, name, &stat, AT_SYMLINK_NOFOLLOW)) {
		free(copy);
		return;
	}
	pthread_mutex_lock(&fs->lock);
	node = *find_inode(fs, stat.st_dev, stat.st_ino);
	if (node && !is_above(node, parent->node)) {
		attach(fs, node, parent->node, copy);
		copy = NULL;
	}
	pthread_mutex_unlock(&fs->lock);
	free(copy);
}

void fs_forget(struct rumpel_fs *fs, uint64_t id, uint64_t lookups)
{
	struct fs_node *node;

	pthread_mutex_lock(&fs->lock);
	node = find_id(fs, id);
	if (node && node != &fs->root && node->lookups) {
		node->lookups -= lookups < node->lookups ? lookups : node->lookups;
		if (!node->lookups)
			unref(fs, node);
	}
	pthread_mutex_unlock(&fs->lock);
}

/* ---- all of them ---- */

int fs_nodes_init(struct rumpel_fs *fs, const char *path)
{
	struct rlimit limit = { .rlim_cur = 1024 };
	struct stat stat;

	fs->root = (struct fs_node){ .id = FUSE_ROOT_ID, .refs = 1, .lookups = 1 };
	fs->root.fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->root.fd < 0 || fstat(fs->root.fd, &stat))
		return -errno;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > 65536)
		limit.rlim_cur = 65536;
	fs->most_kept = limit.rlim_cur / 4;
	fs->most_files = limit.rlim_cur / 2;
	fs->most_gone = limit.rlim_cur / 8;
	fs->root.dev = stat.st_dev;
	fs->root.ino = stat.st_ino;
	fs->root.type = S_IFDIR;
	fs->node_room = fs->hash_size = HASH_FIRST;
	fs->nodes = calloc(fs->node_room, sizeof(struct fs_node *));
	fs->hash = calloc(fs->hash_size, sizeof(struct fs_node *));
	if (!fs->nodes || !fs->hash)
		return -ENOMEM;
	fs->nodes[0] = &fs->root;
	fs->hash[bucket(fs, stat.st_dev, stat.st_ino)] = &fs->root;
	fs->free_id = 1;
	return 0;
}

void fs_nodes_clear(struct rumpel_fs *fs)
{
	for (uint64_t i = 1; i < fs->node_room; i++) {
		struct fs_node *node = fs->nodes[i];

		if (node && node->lookups) {
			node->lookups = 0;
			unref(fs, node);
		}
	}
}

void fs_nodes_exit(struct rumpel_fs *fs)
{
	if (fs->nodes && fs->hash)
		fs_nodes_clear(fs);
	if (fs->root.fd >= 0)
		close(fs->root.fd);
	free(fs->nodes);
	free(fs->hash);
}
