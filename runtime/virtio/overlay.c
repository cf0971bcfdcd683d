// SPDX-License-Identifier: GPL-2.0-only
/* Overlays: the ends of their lives. */
#define _GNU_SOURCE
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "nbd.h"

#define NAME_MAX_LEN 1023
#define DEEPEST 32

static void forget_tables(struct rumpel_overlay *overlay)
{
	for (uint64_t i = 0; i < overlay->l1_entries; i++) {
		free(overlay->l2[i]);
		overlay->l2[i] = NULL;
		overlay->l1[i] = 0;
	}
}

/*
 * All that are open. The child of a fork lets go of them: they are the parent's, with
 * their locks, and what it writes from then on is not known here.
 */
static pthread_mutex_t overlays_lock = PTHREAD_MUTEX_INITIALIZER;
static struct rumpel_overlay *overlays;

static void enlist(struct rumpel_overlay *overlay)
{
	pthread_mutex_lock(&overlays_lock);
	overlay->next = overlays;
	overlays = overlay;
	pthread_mutex_unlock(&overlays_lock);
}

static void strike(const struct rumpel_overlay *overlay)
{
	struct rumpel_overlay **at = &overlays;

	pthread_mutex_lock(&overlays_lock);
	while (*at && *at != overlay)
		at = &(*at)->next;
	if (*at)
		*at = overlay->next;
	pthread_mutex_unlock(&overlays_lock);
}

static void before_fork(void)
{
	pthread_mutex_lock(&overlays_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&overlays_lock);
}

static void after_fork_in_child(void)
{
	for (struct rumpel_overlay *overlay = overlays; overlay; overlay = overlay->next) {
		/* Who held them is not here. */
		pthread_mutex_init(&overlay->lock, NULL);
		pthread_mutex_init(&overlay->flushing, NULL);
		pthread_mutex_init(&overlay->copying, NULL);
		close(overlay->fd);
		if (overlay->base_fd >= 0)
			close(overlay->base_fd);
		if (overlay->base_nbd)
			rumpel_nbd_forked(overlay->base_nbd);
		overlay->fd = overlay->base_fd = -1;
	}
	pthread_mutex_unlock(&overlays_lock);
}

/*
 * Before that of fork.c, so that the lock is the last to be taken: whoever holds
 * a token may wait for it.
 */
__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void rumpel_overlay_free(struct rumpel_overlay *overlay)
{
	if (!overlay || __atomic_sub_fetch(&overlay->refs, 1, __ATOMIC_ACQ_REL))
		return;
	/* Not every file system flushes the disk when it is unmounted. */
	if (overlay->ready && !overlay->volatile_file)
		rumpel_overlay_sync(overlay);
	strike(overlay);
	if (overlay->below) {
		pthread_mutex_lock(&overlay->below->lock);
		overlay->below->children--;
		pthread_mutex_unlock(&overlay->below->lock);
		rumpel_overlay_free(overlay->below);
	}
	if (overlay->l2)
		forget_tables(overlay);
	if (overlay->fd >= 0)
		close(overlay->fd);
	if (overlay->base_fd >= 0)
		close(overlay->base_fd);
	if (overlay->base_nbd)
		rumpel_nbd_free(overlay->base_nbd);
	pthread_mutex_destroy(&overlay->lock);
	pthread_mutex_destroy(&overlay->flushing);
	pthread_mutex_destroy(&overlay->copying);
	free(overlay->base_name);
	free(overlay->l1);
	free(overlay->l2);
	free(overlay);
}

/* The overlay below is not written to while there is one above. */
static int put_above(struct rumpel_overlay *overlay, struct rumpel_overlay *below, const char *name)
{
	unsigned int depth = 1;
	int error = 0;

	for (const struct rumpel_overlay *at = below; at->below; at = at->below)
		if (++depth >= DEEPEST)
			return -ELOOP;
	pthread_mutex_lock(&below->lock);
	if (below->in_use || below->fd < 0)
		error = -EBUSY;
	else
		below->children++;
	pthread_mutex_unlock(&below->lock);
	if (error)
		return error;
	overlay->below = below;
	__atomic_add_fetch(&below->refs, 1, __ATOMIC_RELAXED);
	overlay->base_size = below->size;
	if (name && !(overlay->base_name = realpath(name, NULL)))
		return -errno;
	return rumpel_overlay_sync(below);
}

static int put_on(struct rumpel_overlay *overlay, const char *path)
{
	struct stat stat;
	int error = rumpel_file_open(path, true, &overlay->base_fd, &overlay->base_size);

	if (error) {
		overlay->base_fd = -1;
		return error;
	}
	/* What has no name any more, as memory, cannot be found again. */
	if (fstat(overlay->base_fd, &stat))
		return -errno;
	if (stat.st_nlink && !(overlay->base_name = realpath(path, NULL)))
		return -errno;
	return 0;
}

/* Who serves it has its lock; here its file is only looked at, for what it is and was. */
static int put_on_nbd(struct rumpel_overlay *overlay, const char *path,
		      const struct rumpel_overlay_nbd *nbd)
{
	int error = rumpel_nbd_open(nbd->fd, nbd->size, nbd->flags, &overlay->base_nbd);

	if (error)
		return error;
	snprintf(overlay->base_format, sizeof(overlay->base_format), "%s", nbd->format);
	overlay->base_size = nbd->size;
	if (!path)
		return 0;
	overlay->base_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	overlay->base_name = overlay->base_fd < 0 ? NULL : realpath(path, NULL);
	return overlay->base_name ? 0 : -errno;
}

static int put_on_base(struct rumpel_overlay *overlay, const char *base,
		       struct rumpel_overlay *below, const struct rumpel_overlay_nbd *nbd)
{
	strcpy(overlay->base_format, below ? "qcow2" : "raw");
	if (nbd)
		return put_on_nbd(overlay, base, nbd);
	return below ? put_above(overlay, below, base) : put_on(overlay, base);
}

static int set_up(struct rumpel_overlay *overlay, const char *base, struct rumpel_overlay *below,
		  const struct rumpel_overlay_nbd *nbd, const char *file, const char **why)
{
	int error = put_on_base(overlay, base, below, nbd);

	if (error) {
		*why = "the base";
		return error;
	}
	if (overlay->base_name && strlen(overlay->base_name) > NAME_MAX_LEN)
		return -ENAMETOOLONG;
	overlay->size = overlay->base_size & ~511ull;
	if (!overlay->size) {
		*why = "the base is empty";
		return -EINVAL;
	}
	overlay->l1_entries = (overlay->size + L2_SPAN - 1) / L2_SPAN;
	overlay->l1 = calloc(overlay->l1_entries, sizeof(*overlay->l1));
	overlay->l2 = calloc(overlay->l1_entries, sizeof(*overlay->l2));
	if (!overlay->l1 || !overlay->l2)
		return -ENOMEM;
	return overlay_file_open(overlay, file, why);
}

static int overlay_open(const char *base, struct rumpel_overlay *below,
			const struct rumpel_overlay_nbd *nbd, const char *file,
			struct rumpel_overlay **overlay, const char **why)
{
	struct rumpel_overlay *made = calloc(1, sizeof(*made));
	int error;

	*why = NULL;
	if (!made)
		return -ENOMEM;
	made->refs = 1;
	made->fd = made->base_fd = -1;
	pthread_mutex_init(&made->lock, NULL);
	pthread_mutex_init(&made->flushing, NULL);
	pthread_mutex_init(&made->copying, NULL);
	error = set_up(made, base, below, nbd, file, why);
	made->ready = !error;
	if (error) {
		rumpel_overlay_free(made);
		return error;
	}
	enlist(made);
	*overlay = made;
	return 0;
}

int rumpel_overlay_open(const char *base, struct rumpel_overlay *below, const char *file,
			struct rumpel_overlay **overlay, const char **why)
{
	return overlay_open(base, below, NULL, file, overlay, why);
}

int rumpel_overlay_open_nbd(const struct rumpel_overlay_nbd *nbd, const char *base,
			    const char *file, struct rumpel_overlay **overlay, const char **why)
{
	return overlay_open(base, NULL, nbd, file, overlay, why);
}

int overlay_use(struct rumpel_overlay *overlay, bool begin)
{
	int error = 0;

	pthread_mutex_lock(&overlay->lock);
	if (begin && (overlay->in_use || overlay->children || overlay->fd < 0))
		error = -EBUSY;
	else
		overlay->in_use = begin;
	pthread_mutex_unlock(&overlay->lock);
	return error;
}

/* ---- discard and commit ---- */

static int make_empty(struct rumpel_overlay *overlay)
{
	forget_tables(overlay);
	/* No file of this length is taken for one with a header. */
	if (ftruncate(overlay->fd, 0))
		return -errno;
	return overlay_file_make(overlay);
}

int rumpel_overlay_discard(struct rumpel_overlay *overlay)
{
	int error = overlay_use(overlay, true);

	if (error)
		return error;
	error = make_empty(overlay);
	overlay_use(overlay, false);
	return error;
}

/* Our own lock of the base, for reading, gives way to one for writing. */
static int open_base(struct rumpel_overlay *overlay, int *fd)
{
	char path[64];
	uint64_t size;
	struct flock none = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	snprintf(path, sizeof(path), "/proc/self/fd/%d", overlay->base_fd);
	fcntl(overlay->base_fd, F_OFD_SETLK, &none);
	return rumpel_file_open(path, false, fd, &size);
}

/* A commit that is interrupted can be made again: the overlay keeps all until it is done. */
static int commit(struct rumpel_overlay *overlay, int fd)
{
	int error = rumpel_overlay_sync(overlay);

	if (!error)
		error = overlay_file_leave_unchecked(overlay);
	if (!error)
		error = overlay_merge(overlay, fd);
	if (!error && overlay->below)
		error = rumpel_overlay_sync(overlay->below);
	if (!error && overlay->base_nbd)
		error = rumpel_nbd_flush(overlay->base_nbd);
	if (!error && fd >= 0 && fdatasync(fd))
		error = -errno;
	return error ? error : make_empty(overlay);
}

/* The overlay below must be ours alone, but for us. */
static int only_child(struct rumpel_overlay *below)
{
	int error;

	pthread_mutex_lock(&below->lock);
	error = below->children > 1 ? -EBUSY : 0;
	pthread_mutex_unlock(&below->lock);
	return error;
}

int rumpel_overlay_commit(struct rumpel_overlay *overlay)
{
	int fd = -1, error = overlay_use(overlay, true);

	if (error)
		return error;
	if (overlay->below)
		error = only_child(overlay->below);
	else if (!overlay->base_nbd)
		error = open_base(overlay, &fd);
	else if (rumpel_nbd_is_read_only(overlay->base_nbd))
		error = -EROFS;
	if (!error)
		error = commit(overlay, fd);
	if (fd >= 0)
		close(fd);
	if (!overlay->below && !overlay->base_nbd)
		rumpel_file_lock(overlay->base_fd, true);
	overlay_use(overlay, false);
	return error;
}
