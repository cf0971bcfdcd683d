// SPDX-License-Identifier: GPL-2.0-only
/* A kernel that nobody has called yet goes into a file: see snapshot.h. */
#include "snapshot.h"

#include <cpuid.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of pages: a new piece begins behind more that are not needed; a part has at least as many. */
#define GAP 16
#define MOST_PARTS 8
/* Nobody writes to a file that was not written to for so long, in seconds. */
#define ABANDONED 60

int snapshot_identify(struct snapshot_identity *identity, const char *image, uint64_t memory_size)
{
	int fd = open(image, O_RDONLY | O_CLOEXEC), error;
	struct stat status;
	uint32_t *cpu = identity->cpu;

	memset(identity, 0, sizeof(*identity));
	if (fd < 0)
		return -errno;
	error = fstat(fd, &status) < 0 ? -errno : 0;
	close(fd);
	if (error)
		return error;
	identity->magic = SNAPSHOT_MAGIC;
	identity->abi = RUMPEL_ABI;
	identity->image_device = status.st_dev;
	identity->image_inode = status.st_ino;
	identity->image_size = (uint64_t)status.st_size;
	identity->image_seconds = (uint64_t)status.st_mtim.tv_sec;
	identity->image_nanoseconds = (uint64_t)status.st_mtim.tv_nsec;
	identity->memory_size = memory_size;
	__get_cpuid(1, &cpu[0], &cpu[1], &cpu[2], &cpu[3]);
	cpu[1] = 0; /* says which CPU this is */
	__get_cpuid_count(7, 0, &cpu[4], &cpu[5], &cpu[6], &cpu[7]);
	return 0;
}

struct saved {
	int fd;
	struct snapshot_piece *pieces;
	uint64_t count, room;
	/* Of the image's file. */
	struct rumpel_image_file file;
	uint64_t base;
	struct snapshot_piece parts[MOST_PARTS], part; /* the last is not yet among them */
	uint64_t part_count;
};

static int write_all(int fd, const void *from, size_t len, uint64_t offset)
{
	while (len) {
		ssize_t done = pwrite(fd, from, len, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		from = (const char *)from + done;
		offset += (uint64_t)done;
		len -= (size_t)done;
	}
	return 0;
}

/* gap: as many bytes that are not needed are taken along rather than to begin a new piece. */
static int add_piece(struct saved *saved, uint64_t address, uint64_t len, uint64_t gap)
{
	struct snapshot_piece *last = saved->count ? &saved->pieces[saved->count - 1] : NULL;
	struct snapshot_piece *more;

	if (last && address - last->address <= last->len + gap) {
		last->len = address + len - last->address;
		return 0;
	}
	if (saved->count == saved->room) {
		saved->room = saved->room ? 2 * saved->room : 64;
		more = realloc(saved->pieces, saved->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		saved->pieces = more;
	}
	saved->pieces[saved->count++] = (struct snapshot_piece){ address, len, 0 };
	return 0;
}

static bool is_zero(const uint64_t *page)
{
	for (size_t i = 0; i < PAGE / sizeof(*page); i++)
		if (page[i])
			return false;
	return true;
}

/* Is a page as it is in the image's file, and stays so? Then this is where. */
static bool is_of_image(const struct saved *saved, uint64_t address, int64_t *offset)
{
	char page[PAGE];

	if (address < saved->base)
		return false;
	*offset = rumpel_image_constant(&saved->file, address - saved->base);
	return *offset >= 0 && pread(saved->file.fd, page, PAGE, *offset) == (ssize_t)PAGE &&
	       !memcmp(page, (const void *)address, PAGE);
}

/* To map a part pays from some length on. */
static int end_part(struct saved *saved)
{
	struct snapshot_piece part = saved->part;

	saved->part.len = 0;
	if (part.len < GAP * PAGE || saved->part_count == MOST_PARTS)
		return part.len ? add_piece(saved, part.address, part.len, 0) : 0;
	saved->parts[saved->part_count++] = part;
	return 0;
}

/* Only what has to be copied: what is not is zero, or the image's. */
static int add_needed(struct saved *saved, uint64_t address)
{
	struct snapshot_piece *part = &saved->part;
	int64_t offset;
	int error;

	if (is_zero((const uint64_t *)address))
		return 0;
	if (!is_of_image(saved, address, &offset)) {
		error = end_part(saved);
		return error ? error : add_piece(saved, address, PAGE, 0);
	}
	if (part->len && part->address + part->len == address) {
		part->len += PAGE;
		return 0;
	}
	error = end_part(saved);
	*part = (struct snapshot_piece){ address, PAGE, (uint64_t)offset };
	return error;
}

/* In the order of their addresses. */
static int add_pages(void *data, uint64_t address, uint64_t len)
{
	struct saved *saved = data;
	int error = 0;

	if (!RUMPEL_SNAPSHOT_IS_WHOLE)
		return add_piece(saved, address, len, GAP * PAGE);
	for (uint64_t end = address + len; address < end && !error; address += PAGE)
		error = add_needed(saved, address);
	return error;
}

static uint64_t page_up(uint64_t at)
{
	return (at + PAGE - 1) & ~(PAGE - 1);
}

/* After the header: pieces, parts, aliases, the log, and from the next page on what the pieces hold. */
static int write_rest(struct saved *saved, struct rumpel_kernel *kernel,
		      struct snapshot_header *header)
{
	uint64_t at = sizeof(*header) + saved->count * sizeof(*saved->pieces);
	uint64_t parts = saved->part_count * sizeof(*saved->parts);
	struct rumpel_alias alias;
	size_t index = 0;
	int error;

	header->pieces = saved->count;
	header->parts = saved->part_count;
	error = write_all(saved->fd, saved->parts, parts, at);
	at += parts;
	while (!error && rumpel_arena_alias(&kernel->arena, &index, &alias)) {
		error = write_all(saved->fd, &alias, sizeof(alias), at);
		at += sizeof(alias);
		header->aliases++;
	}
	/* A boot's messages are fewer than the ring has room for. */
	header->log = kernel->log.end < LOG_SIZE ? kernel->log.end : LOG_SIZE;
	if (!error)
		error = write_all(saved->fd, kernel->log.ring, header->log, at);
	at = page_up(at + header->log);
	for (uint64_t i = 0; i < saved->count && !error; i++) {
		struct snapshot_piece *piece = &saved->pieces[i];

		piece->offset = at;
		error = write_all(saved->fd, (const void *)piece->address, piece->len, at);
		at += piece->len;
	}
	if (!error)
		error = write_all(saved->fd, saved->pieces, saved->count * sizeof(*saved->pieces),
				  sizeof(*header));
	return error ? error : write_all(saved->fd, header, sizeof(*header), 0);
}

/* Token held. */
static int save(struct rumpel_kernel *kernel, int fd, struct snapshot_header *header,
		const char *image)
{
	struct saved saved = { .fd = fd, .base = (uint64_t)kernel->arena.image };
	const struct rumpel_task *tasks[SNAPSHOT_TASKS] = { kernel->init, kernel->agent };
	uint64_t mappings_size;
	const char *why = NULL;
	int error;

	/* What the boot has left to do need not be done each time. */
	rumpel_vcpu_run(kernel, NULL);
	if (atomic_get(&kernel->state) != RUMPEL_RUNNING)
		return -ENOTRECOVERABLE;
	header->arena = (uint64_t)kernel->arena.base;
	rumpel_mappings_range(kernel->mappings, &header->mappings, &mappings_size);
	header->now = rumpel_cycles_look(kernel);
	header->age = rumpel_kernel_now(kernel) - kernel->booted_at;
	header->runnable = kernel->runnable;
	for (int i = 0; i < SNAPSHOT_TASKS; i++) {
		header->tasks[i].caller = tasks[i]->caller;
		header->tasks[i].id = tasks[i]->id;
	}
	error = rumpel_image_open(&saved.file, image, &why);
	if (!error)
		error = rumpel_arena_written(&kernel->arena, add_pages, &saved);
	if (!error)
		error = end_part(&saved);
	if (!error)
		error = write_rest(&saved, kernel, header);
	rumpel_image_close(&saved.file);
	free(saved.pieces);
	return error;
}

static bool is_abandoned(const char *name)
{
	int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;
	struct timespec now;
	bool result;

	if (fd < 0)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	result = fstat(fd, &status) == 0 && status.st_mtim.tv_sec + ABANDONED < now.tv_sec;
	close(fd);
	return result;
}

/*
 * Not what another thread, or a process that has the same number in another container, is
 * about to write. But one that was killed while it wrote must not be the last that ever did:
 * in a container each program may have its number.
 */
static int create(const char *name)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	int fd = open(name, flags, 0600);

	if (fd < 0 && errno == EEXIST && is_abandoned(name) && unlink(name) == 0)
		fd = open(name, flags, 0600);
	return fd < 0 ? -errno : fd;
}

int snapshot_save(struct rumpel_kernel *kernel, const char *file,
		  const struct snapshot_identity *identity, const char *image)
{
	struct snapshot_header header = { .identity = *identity };
	int fd, error;
	char name[PATH_MAX];

	if (snprintf(name, sizeof(name), "%s.%d.new", file, (int)getpid()) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = create(name);
	if (fd < 0)
		return fd;
	rumpel_token_take(kernel);
	error = save(kernel, fd, &header, image);
	rumpel_leave(kernel, false);
	/* Were the host to lose its power, half a file would not be noticed. */
	if (!error && fdatasync(fd) < 0)
		error = -errno;
	close(fd);
	if (!error && rename(name, file) < 0)
		error = -errno;
	if (error)
		unlink(name);
	return error;
}
