// SPDX-License-Identifier: GPL-2.0-only
/* Promises of directories of the host: what a hostile kernel cannot do. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/virtio_fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../virtio/fs_server.h"
#include "fake.h"

struct scene {
	char top[64], inside[80]; /* the directory, and the one around it */
	struct rumpel_fs *fs;
	char in[128 << 10], out[128 << 10];
	size_t out_len;
};

static struct scene *begin(bool read_only)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	char path[160];
	int error, fd;

	strcpy(scene->top, "/tmp/rumpel-fs-XXXXXX");
	CHECK(mkdtemp(scene->top));
	snprintf(scene->inside, sizeof(scene->inside), "%s/inside", scene->top);
	EQUAL(mkdir(scene->inside, 0755), 0);
	snprintf(path, sizeof(path), "%s/secret", scene->top);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	EQUAL(write(fd, "secret", 6), 6);
	close(fd);
	scene->fs = rumpel_fs_new(scene->inside, read_only, 0, &error);
	CHECK(scene->fs);
	return scene;
}

static void end(struct scene *scene)
{
	char command[128];

	rumpel_fs_free(scene->fs);
	snprintf(command, sizeof(command), "rm -rf %s", scene->top);
	EQUAL(system(command), 0);
	free(scene);
}

/* What was put so far is the request's arguments. */
static void add(struct scene *scene, const void *data, size_t len)
{
	memcpy(scene->out + sizeof(struct fuse_in_header) + scene->out_len, data, len);
	scene->out_len += len;
}

static void add_name(struct scene *scene, const char *name)
{
	add(scene, name, strlen(name) + 1);
}

/* The error, and *answer what follows the header. */
static int call(struct scene *scene, uint32_t op, uint64_t node, void **answer)
{
	struct fuse_in_header *header = (void *)scene->out;
	struct fuse_out_header *result = (void *)scene->in;
	struct iovec out = { scene->out, sizeof(*header) + scene->out_len };
	struct iovec in = { scene->in, sizeof(scene->in) };
	size_t len;

	*header = (struct fuse_in_header){
		.len = out.iov_len, .opcode = op, .nodeid = node, .unique = 7
	};
	len = rumpel_fs_serve(scene->fs, &out, 1, &in, 1);
	scene->out_len = 0;
	CHECK(len >= sizeof(*result) && len == result->len);
	EQUAL(result->unique, 7);
	if (answer)
		*answer = scene->in + sizeof(*result);
	return result->error;
}

static int lookup(struct scene *scene, uint64_t parent, const char *name, uint64_t *id)
{
	struct fuse_entry_out *entry;
	int error;

	add_name(scene, name);
	error = call(scene, FUSE_LOOKUP, parent, (void **)&entry);
	if (!error && id)
		*id = entry->nodeid;
	return error;
}

static uint64_t make_dir(struct scene *scene, uint64_t parent, const char *name)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	struct fuse_entry_out *entry;

	add(scene, &in, sizeof(in));
	add_name(scene, name);
	EQUAL(call(scene, FUSE_MKDIR, parent, (void **)&entry), 0);
	return entry->nodeid;
}

static uint64_t make_file(struct scene *scene, uint64_t parent, const char *name, uint64_t *handle)
{
	struct fuse_create_in in = { .mode = S_IFREG | 0644, .flags = O_RDWR };
	struct fuse_entry_out *entry;
	struct fuse_open_out open;

	add(scene, &in, sizeof(in));
	add_name(scene, name);
	EQUAL(call(scene, FUSE_CREATE, parent, (void **)&entry), 0);
	memcpy(&open, entry + 1, sizeof(open));
	if (handle)
		*handle = open.fh;
	return entry->nodeid;
}

static int open_node(struct scene *scene, uint64_t node, uint32_t flags, uint64_t *handle)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out *out;
	int error;

	add(scene, &in, sizeof(in));
	error = call(scene, FUSE_OPEN, node, (void **)&out);
	if (!error && handle)
		*handle = out->fh;
	return error;
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;
	DIR *directory = opendir("/proc/self/fd");

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static void test_names(void)
{
	static const char *const bad[] = { "", ".", "..", "/", "a/b", "../secret", "/etc/passwd" };
	struct scene *scene = begin(false);
	struct fuse_rename_in rename = { .newdir = 1 };
	char longest[300];

	make_dir(scene, 1, "a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct fuse_mkdir_in in = { .mode = 0755 };

		EQUAL(lookup(scene, 1, bad[i], NULL), -EINVAL);
		add(scene, &in, sizeof(in));
		add_name(scene, bad[i]);
		EQUAL(call(scene, FUSE_MKDIR, 1, NULL), -EINVAL);
		add_name(scene, bad[i]);
		EQUAL(call(scene, FUSE_UNLINK, 1, NULL), -EINVAL);
		add(scene, &rename, sizeof(rename));
		add_name(scene, "a");
		add_name(scene, bad[i]);
		EQUAL(call(scene, FUSE_RENAME, 1, NULL), -EINVAL);
		add_name(scene, bad[i]);
		add_name(scene, "target");
		EQUAL(call(scene, FUSE_SYMLINK, 1, NULL), -EINVAL);
	}
	/* A name that does not end. */
	add(scene, "abc", 3);
	EQUAL(call(scene, FUSE_LOOKUP, 1, NULL), -EINVAL);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	EQUAL(lookup(scene, 1, longest, NULL), -ENAMETOOLONG);
	longest[255] = '\0';
	EQUAL(lookup(scene, 1, longest, NULL), -ENOENT);
	end(scene);
}

static void test_links(void)
{
	struct scene *scene = begin(false);
	uint64_t link;

	add_name(scene, "out");
	add_name(scene, "../secret");
	EQUAL(call(scene, FUSE_SYMLINK, 1, NULL), 0);
	EQUAL(lookup(scene, 1, "out", &link), 0);
	EQUAL(open_node(scene, link, O_RDONLY, NULL), -ENXIO);
	/* As if it were a directory. */
	EQUAL(lookup(scene, link, "passwd", NULL), -ENOTDIR);
	add_name(scene, "up");
	add_name(scene, "..");
	EQUAL(call(scene, FUSE_SYMLINK, 1, NULL), 0);
	EQUAL(lookup(scene, 1, "up", &link), 0);
	EQUAL(lookup(scene, link, "secret", NULL), -ENOTDIR);
	end(scene);
}

/* Somebody on the host, or another kernel, puts a link where a file or a directory was. */
static void test_swapped(void)
{
	struct scene *scene = begin(false);
	char path[200], other[200];
	uint64_t directory, file, inner;

	scene->fs->most_kept = 0;
	directory = make_dir(scene, 1, "d");
	inner = make_file(scene, directory, "secret", NULL);
	file = make_file(scene, 1, "f", NULL);
	snprintf(path, sizeof(path), "%s/f", scene->inside);
	EQUAL(unlink(path), 0);
	EQUAL(symlink("../secret", path), 0);
	EQUAL(open_node(scene, file, O_RDONLY, NULL), -ESTALE);
	snprintf(path, sizeof(path), "%s/d", scene->inside);
	snprintf(other, sizeof(other), "%s/e", scene->inside);
	EQUAL(rename(path, other), 0);
	EQUAL(symlink("..", path), 0);
	EQUAL(open_node(scene, inner, O_RDONLY, NULL), -ESTALE);
	EQUAL(lookup(scene, directory, "secret", NULL), -ESTALE);
	/* And even a hard link to what is outside is another file. */
	end(scene);
}

static void test_devices(void)
{
	struct scene *scene = begin(false);
	struct fuse_mknod_in in = { .mode = S_IFCHR | 0666, .rdev = 0x103 };
	uint64_t node;
	char path[200];

	add(scene, &in, sizeof(in));
	add_name(scene, "null");
	EQUAL(call(scene, FUSE_MKNOD, 1, NULL), -EPERM);
	in.mode = S_IFBLK | 0666;
	add(scene, &in, sizeof(in));
	add_name(scene, "disk");
	EQUAL(call(scene, FUSE_MKNOD, 1, NULL), -EPERM);
	snprintf(path, sizeof(path), "%s/pipe", scene->inside);
	EQUAL(mkfifo(path, 0666), 0);
	EQUAL(lookup(scene, 1, "pipe", &node), 0);
	EQUAL(open_node(scene, node, O_RDONLY, NULL), -ENXIO);
	end(scene);
}

static void test_read_only(void)
{
	struct scene *scene = begin(true);
	struct fuse_mkdir_in in = { .mode = 0755 };
	uint64_t node, handle;
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/f", scene->inside);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	close(fd);
	add(scene, &in, sizeof(in));
	add_name(scene, "d");
	EQUAL(call(scene, FUSE_MKDIR, 1, NULL), -EROFS);
	EQUAL(lookup(scene, 1, "f", &node), 0);
	EQUAL(open_node(scene, node, O_RDWR, NULL), -EROFS);
	EQUAL(open_node(scene, node, O_WRONLY, NULL), -EROFS);
	EQUAL(open_node(scene, node, O_RDONLY | O_TRUNC, NULL), -EROFS);
	EQUAL(open_node(scene, node, O_RDONLY, &handle), 0);
	EQUAL(call(scene, FUSE_SETATTR, node, NULL), -EROFS);
	end(scene);
}

/* More nodes than descriptors: they are found again by their names, also moved ones. */
static void test_many_nodes(void)
{
	struct scene *scene = begin(false);
	struct fuse_rename_in rename = { .newdir = 1 };
	struct fuse_attr_out *attr;
	uint64_t nodes[300], directory = 1, top = 0;
	unsigned int before = open_descriptors();
	char name[32];

	scene->fs->most_kept = 4;
	for (int depth = 0; depth < 10; depth++) {
		directory = make_dir(scene, directory, "directory");
		top = top ? top : directory;
	}
	for (int i = 0; i < 300; i++) {
		uint64_t handle;

		snprintf(name, sizeof(name), "file%d", i);
		nodes[i] = make_file(scene, directory, name, &handle);
		add(scene, &handle, sizeof(handle));
		EQUAL(call(scene, FUSE_RELEASE, nodes[i], NULL), 0);
	}
	CHECK(open_descriptors() <= before + 4);
	add(scene, &rename, sizeof(rename));
	add_name(scene, "directory");
	add_name(scene, "elsewhere");
	EQUAL(call(scene, FUSE_RENAME, 1, NULL), 0);
	for (int i = 0; i < 300; i++) {
		EQUAL(call(scene, FUSE_GETATTR, nodes[i], (void **)&attr), 0);
		CHECK(S_ISREG(attr->attr.mode));
	}
	/* Without a name they stay as long as they are known. */
	for (int i = 0; i < 10; i++) {
		struct fuse_forget_in forget = { .nlookup = 1 };
		struct fuse_in_header *header = (void *)scene->out;
		struct iovec out = { scene->out, sizeof(*header) + sizeof(forget) };

		snprintf(name, sizeof(name), "file%d", i);
		add_name(scene, name);
		EQUAL(call(scene, FUSE_UNLINK, directory, NULL), 0);
		EQUAL(call(scene, FUSE_GETATTR, nodes[i], (void **)&attr), 0);
		EQUAL(attr->attr.nlink, 0);
		add(scene, &forget, sizeof(forget));
		*header = (struct fuse_in_header){ .opcode = FUSE_FORGET, .nodeid = nodes[i] };
		EQUAL(rumpel_fs_serve(scene->fs, &out, 1, NULL, 0), 0);
		scene->out_len = 0;
		EQUAL(call(scene, FUSE_GETATTR, nodes[i], NULL), -ESTALE);
	}
	CHECK(open_descriptors() <= before + 4);
	end(scene);
}

static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

static int remove_tree(const char *path)
{
	char command[160];

	snprintf(command, sizeof(command), "find %s -mindepth 1 -delete", path);
	return system(command);
}

/*
 * Requests that are right in most of their parts: no memory error, an answer
 * that fits, and nothing outside of the directory changes.
 */
static void test_hostile(void)
{
	static const char *const names[] = { "a", "b", "c", "..", "a/b", "link", "d", "" };
	struct scene *scene = begin(false);
	struct stat stat;
	char secret[160];

	seed = 1;
	for (int i = 0; i < 60000; i++) {
		struct fuse_in_header *header = (void *)scene->out;
		uint32_t op = chance(4) ? chance(53) : FUSE_LOOKUP + chance(2) * (FUSE_CREATE - 1);
		size_t fields = chance(8);
		struct iovec out[3], in[2];
		size_t len, room;

		for (size_t n = 0; n < fields; n++) {
			uint64_t word = chance(2) ? chance(8) : chance(8) << 32 | chance(8);

			if (!chance(50))
				word = ~0ull - chance(4);
			add(scene, &word, chance(2) ? 8 : 4);
		}
		for (size_t n = chance(3); n; n--)
			add_name(scene, names[chance(sizeof(names) / sizeof(names[0]))]);
		len = sizeof(*header) + scene->out_len;
		*header = (struct fuse_in_header){ .len = chance(9) ? len : chance(100),
						   .opcode = op,
						   .nodeid = chance(20),
						   .uid = chance(3),
						   .unique = i };
		if (!chance(10))
			len = chance(len + 1);
		out[0] = (struct iovec){ scene->out, len < 17 ? len : 17 };
		out[1] = (struct iovec){ scene->out + out[0].iov_len, len - out[0].iov_len };
		room = chance(4) ? 4096 + chance(60000) : chance(200);
		in[0] = (struct iovec){ scene->in, room < 9 ? room : 9 };
		in[1] = (struct iovec){ malloc(room - in[0].iov_len + 1), room - in[0].iov_len };
		CHECK(rumpel_fs_serve(scene->fs, out, 2, in, 2) <= room);
		free(in[1].iov_base);
		scene->out_len = 0;
		if (i % 5000 == 0)
			EQUAL(remove_tree(scene->inside), 0);
	}
	snprintf(secret, sizeof(secret), "%s/secret", scene->top);
	EQUAL(lstat(secret, &stat), 0);
	EQUAL(stat.st_size, 6);
	EQUAL(stat.st_nlink, 1);
	EQUAL(stat.st_mode, S_IFREG | 0600);
	end(scene);
}

/* ---- the device ---- */

static void test_device(void)
{
	struct scene *scene = begin(false);
	struct rumpel_kernel *kernel = fake_kernel(false);
	struct driver_queue queues[2];
	struct rumpel_device *device;
	struct fuse_in_header *header;
	struct fuse_out_header *answer;
	uint64_t page = fake_pages(kernel, 8192);
	struct driver_buffer buffers[] = { { page, sizeof(*header) + 2, false },
					   { page + 4096, 4096, true } };
	uint32_t len;

	EQUAL(rumpel_host_directory("/nonexistent", "t", 0, 0, &device), -ENOENT);
	EQUAL(rumpel_host_directory("/etc/passwd", "t", 0, 0, &device), -ENOTDIR);
	EQUAL(rumpel_host_directory(scene->inside, "", 0, 0, &device), -EINVAL);
	EQUAL(rumpel_host_directory(scene->inside, "my tag", 0, 0, &device), 0);
	fake_attach(kernel, device);
	EQUAL(driver_read(device, VIRTIO_MMIO_DEVICE_ID), 26);
	EQUAL(driver_read(device, VIRTIO_MMIO_CONFIG), 0x7420796d);
	driver_up(device, queues, 2, 16);
	header = fake_at(kernel, page);
	answer = fake_at(kernel, page + 4096);
	*header = (struct fuse_in_header){ .opcode = FUSE_LOOKUP, .nodeid = 1, .unique = 9 };
	strcpy((char *)(header + 1), "a");
	driver_add(&queues[1], buffers, 2);
	driver_kick(&queues[1]);
	fake_run(kernel);
	EQUAL(fake_jobs(kernel), 1);
	CHECK(driver_used(&queues[1], NULL, &len));
	EQUAL(len, sizeof(*answer));
	EQUAL(answer->error, -ENOENT);
	EQUAL(answer->unique, 9);
	/* What is on the way when the driver resets is void. */
	driver_add(&queues[1], buffers, 2);
	driver_kick(&queues[1]);
	fake_run(kernel);
	driver_up(device, queues, 2, 16);
	EQUAL(fake_jobs(kernel), 1);
	CHECK(!driver_used(&queues[1], NULL, NULL));
	fake_kernel_free(kernel);
	end(scene);
}

static const struct test tests[] = {
	{ test_names, "names are single components" },
	{ test_links, "symbolic links are not followed" },
	{ test_swapped, "a link put where a file was is not followed" },
	{ test_devices, "devices are not made, nothing but files and directories is opened" },
	{ test_read_only, "read-only is enforced" },
	{ test_many_nodes, "more files than descriptors, moved and removed ones" },
	{ test_hostile, "hostile requests" },
	{ test_device, "the device" },
};

TEST_MAIN(tests)
