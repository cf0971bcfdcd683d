// SPDX-License-Identifier: GPL-2.0-only
/* A kernel from a file: see snapshot.h. */
#include "snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* More of anything has no file that we made. */
#define MOST (1ull << 20)

struct contents {
	int fd;
	struct snapshot_header header;
	char *rest; /* what lies between the header and the pages */
	const struct snapshot_piece *pieces, *parts;
	const struct rumpel_alias *aliases;
	const char *log;
};

static bool read_all(int fd, void *to, size_t len, size_t offset)
{
	return pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* Whoever can write to it could do anything to this process. */
static bool is_own(int fd, uint64_t *size)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return false;
	*size = (uint64_t)status.st_size;
	return S_ISREG(status.st_mode) && status.st_uid == geteuid() &&
	       !(status.st_mode & (S_IWGRP | S_IWOTH));
}

/* Of a file of that size. */
static bool are_inside(const struct contents *contents, const struct snapshot_piece *pieces,
		       uint64_t count, uint64_t size)
{
	const struct snapshot_header *header = &contents->header;
	uint64_t end = header->arena + (1ull << 40);

	for (uint64_t i = 0; i < count; i++) {
		const struct snapshot_piece *piece = &pieces[i];

		if (piece->address < header->arena || piece->address > end ||
		    piece->len > end - piece->address || piece->offset > size ||
		    piece->len > size - piece->offset ||
		    (piece->address | piece->len | piece->offset) & (PAGE - 1))
			return false;
	}
	return true;
}

static int read_contents(struct contents *contents, const struct snapshot_identity *identity)
{
	struct snapshot_header *header = &contents->header;
	size_t pieces, parts, aliases;
	uint64_t size;

	if (!is_own(contents->fd, &size) || !read_all(contents->fd, header, sizeof(*header), 0) ||
	    memcmp(&header->identity, identity, sizeof(*identity)) != 0 || header->pieces > MOST ||
	    header->parts > MOST || header->aliases > MOST || header->log > LOG_SIZE)
		return -ESTALE;
	pieces = header->pieces * sizeof(*contents->pieces);
	parts = header->parts * sizeof(*contents->parts);
	aliases = header->aliases * sizeof(*contents->aliases);
	contents->rest = malloc(pieces + parts + aliases + header->log);
	if (!contents->rest)
		return -ENOMEM;
	contents->pieces = (const struct snapshot_piece *)contents->rest;
	contents->parts = contents->pieces + header->pieces;
	contents->aliases = (const struct rumpel_alias *)(contents->rest + pieces + parts);
	contents->log = contents->rest + pieces + parts + aliases;
	if (!read_all(contents->fd, contents->rest, pieces + parts + aliases + header->log,
		      sizeof(*header)) ||
	    !are_inside(contents, contents->pieces, header->pieces, size) ||
	    !are_inside(contents, contents->parts, header->parts, identity->image_size))
		return -ESTALE;
	return 0;
}

static int map_image(struct rumpel_kernel *kernel, const struct contents *contents,
		     const char *path)
{
	const struct snapshot_header *header = &contents->header;
	struct rumpel_image_file file = { .fd = -1 };
	const char *why = NULL;
	int error = rumpel_image_open(&file, path, &why);

	if (!error)
		error = rumpel_arena_create(&kernel->arena, file.size, header->identity.memory_size,
					    (char *)header->arena);
	/* A shared kernel has its own addresses. */
	if (!error && kernel->arena.base != (char *)header->arena)
		error = -ESTALE;
	if (!error)
		error = rumpel_image_load(&file, &kernel->arena, false, &kernel->image, &why);
	for (uint64_t i = 0; i < header->parts && !error; i++) {
		const struct snapshot_piece *part = &contents->parts[i];

		if (rumpel_image_map((void *)part->address, part->len, PROT_READ, file.fd,
				     (off_t)part->offset) == MAP_FAILED)
			error = -errno;
	}
	rumpel_image_close(&file);
	if (!error)
		error = rumpel_mappings_create(&kernel->mappings, (char *)header->mappings);
	return error;
}

static int map_memory(struct rumpel_kernel *kernel, const struct contents *contents)
{
	const struct snapshot_header *header = &contents->header;
	int error = 0;

	for (uint64_t i = 0; i < header->pieces; i++) {
		const struct snapshot_piece *piece = &contents->pieces[i];

		if (rumpel_image_map((void *)piece->address, piece->len, PROT_READ | PROT_WRITE,
				     contents->fd, (off_t)piece->offset) == MAP_FAILED)
			return -errno;
	}
	for (uint64_t i = 0; i < header->aliases && !error; i++) {
		const struct rumpel_alias *alias = &contents->aliases[i];

		error = rumpel_arena_map(&kernel->arena, alias->va, alias->pa, alias->len,
					 (int)alias->prot);
	}
	return error;
}

static int make_tasks(struct rumpel_kernel *kernel, const struct snapshot_header *header)
{
	struct rumpel_task **tasks[SNAPSHOT_TASKS] = { &kernel->init, &kernel->agent };

	for (int i = 0; i < SNAPSHOT_TASKS; i++) {
		struct rumpel_task *task = rumpel_task_new(kernel);

		if (!task)
			return -ENOMEM;
		task->caller = header->tasks[i].caller;
		task->id = (int)header->tasks[i].id;
		*tasks[i] = task;
		/* The agent's own agent is pid 1. */
		if (task == kernel->init)
			kernel->agent = task;
		else
			rumpel_task_link(task);
	}
	return 0;
}

#define SOON 20000 /* ns */

/*
 * The first call of a kernel takes most of a millisecond, since its pages are fetched; the
 * clock would be late by as much. So it is set again, until that has not taken long.
 */
static void set_clock(struct rumpel_kernel *kernel)
{
	for (int tries = 0; tries < 5; tries++) {
		struct timespec now;
		uint64_t start = rumpel_host_now();

		clock_gettime(CLOCK_REALTIME, &now);
		task_call(kernel->init, SYS_clock_settime, CLOCK_REALTIME, (unsigned long)&now);
		if (rumpel_host_now() - start < SOON)
			return;
	}
}

/* What has become of the world since. */
static void catch_up(struct rumpel_kernel *kernel)
{
	set_clock(kernel);
	rumpel_kernel_reseed(kernel->agent);
}

static int start(struct rumpel_kernel *kernel, const struct contents *contents)
{
	const struct snapshot_header *header = &contents->header;
	struct rumpel_vcpu *vcpu;
	uint64_t now = rumpel_host_now();
	int error = map_memory(kernel, contents);

	if (!error)
		error = make_tasks(kernel, header);
	if (error)
		return error;
	rumpel_kernel_connect(kernel);
	vcpu = kernel->vcpu;
	vcpu->cycle_limit = vcpu->cycle_mult = 0;
	kernel->ahead = header->now - now;
	kernel->booted_at = now - header->age;
	kernel->runnable = header->runnable;
	rumpel_lockup_init(kernel);
	rumpel_log_append(&kernel->log, contents->log, header->log);
	if (kernel->log.fd >= 0)
		rumpel_log_copy(&kernel->log);
	return rumpel_fault_add(kernel);
}

static void forget(struct rumpel_kernel *kernel)
{
	if (kernel->range)
		rumpel_fault_remove(kernel);
	if (kernel->mappings)
		rumpel_mappings_end(kernel->mappings);
	rumpel_arena_destroy(&kernel->arena);
	kernel->mappings = NULL;
	kernel->tasks = kernel->init = kernel->agent = NULL;
	kernel->image = NULL;
	kernel->vcpu = NULL;
}

int snapshot_load(struct rumpel_kernel *kernel, const char *file,
		  const struct snapshot_identity *identity, const char *image)
{
	struct contents contents = { .fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) };
	int error;

	if (contents.fd < 0)
		return errno == ENOENT ? -ENOENT : -ESTALE;
	error = read_contents(&contents, identity);
	if (!error)
		error = map_image(kernel, &contents, image);
	if (!error)
		error = start(kernel, &contents);
	if (error)
		forget(kernel);
	free(contents.rest);
	close(contents.fd);
	if (!error)
		catch_up(kernel);
	return error == -EEXIST || !error ? error : -ESTALE;
}
