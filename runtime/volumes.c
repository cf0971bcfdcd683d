// SPDX-License-Identifier: GPL-2.0-only
/*
 * The orderly end of what is made of disks, once nothing on it is mounted: mappings
 * of the device mapper go, arrays are stopped, in whatever order they lie on each
 * other. The kernel's own power off only asks md to be clean: an array whose lock
 * is held just then, for it is becoming clean, is left active.
 */
#include "core.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/major.h>
#include <linux/raid/md_u.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MAPPER_CTRL_MINOR 236 /* linux/miscdevice.h */
#define NODE "/.volume"
#define MOST_ROUNDS 64

/* linux/kdev_t.h, new_encode_dev() */
static unsigned int device_of(unsigned int major, unsigned int minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

/* /dev is gone by now. A descriptor, or a negative errno. */
static long open_device(struct rumpel_task *agent, mode_t type, unsigned int device)
{
	long error, fd;

	error = task_call(agent, SYS_mknod, (unsigned long)NODE, type | 0600, device);
	if (error)
		return error;
	fd = task_call(agent, SYS_open, (unsigned long)NODE, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	task_call(agent, SYS_unlink, (unsigned long)NODE);
	return fd;
}

static void remove_mappings(struct rumpel_task *agent)
{
	struct dm_ioctl all = { .version = { 4 }, .data_size = sizeof(all) };
	long fd = open_device(agent, S_IFCHR, device_of(MISC_MAJOR, MAPPER_CTRL_MINOR));

	if (fd < 0)
		return;
	task_call(agent, SYS_ioctl, fd, DM_REMOVE_ALL, (unsigned long)&all);
	task_call(agent, SYS_close, fd);
}

static bool stop_array(struct rumpel_task *agent, unsigned int minor)
{
	long fd = open_device(agent, S_IFBLK, device_of(MD_MAJOR, minor)), error;

	if (fd < 0)
		return false;
	error = task_call(agent, SYS_ioctl, fd, STOP_ARRAY, 0);
	task_call(agent, SYS_close, fd);
	return !error;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static unsigned int number(const char *text)
{
	unsigned int value = 0;

	while (is_digit(*text))
		value = 10 * value + (*text++ - '0');
	return value;
}

/* True: one was stopped at least. */
static bool stop_arrays(struct rumpel_task *agent)
{
	char *text, *line, *rest;
	bool any = false;

	rumpel_read_file(agent, "/proc/mdstat", &text);
	for (line = text ? strtok_r(text, "\n", &rest) : NULL; line;
	     line = strtok_r(NULL, "\n", &rest))
		if (line[0] == 'm' && line[1] == 'd' && is_digit(line[2]) &&
		    stop_array(agent, number(line + 2)))
			any = true;
	free(text);
	return any;
}

void rumpel_volumes_stop(struct rumpel_task *agent)
{
	unsigned int rounds = 0;

	do {
		remove_mappings(agent);
	} while (stop_arrays(agent) && ++rounds < MOST_ROUNDS);
}
