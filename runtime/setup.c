// SPDX-License-Identifier: GPL-2.0-only
/* A kernel that has just booted becomes what programs expect to find. */
#include "core.h"

#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DESCRIPTORS_MOST (1ul << 20)

/* A profile may not have it. */
static void mount_all(struct rumpel_task *init)
{
	static const struct {
		const char *type, *target, *options;
		unsigned long flags;
	} mounts[] = {
		{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
		{ "devtmpfs", "/dev", "mode=755", MS_NOSUID },
		{ "devpts", "/dev/pts", "mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC },
		{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV },
		{ "tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV },
		{ "tmpfs", "/run", "mode=755", MS_NOSUID | MS_NODEV },
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		task_call(init, SYS_mkdir, (unsigned long)mounts[i].target, 0755);
		task_call(init, SYS_mount, (unsigned long)mounts[i].type,
			  (unsigned long)mounts[i].target, (unsigned long)mounts[i].type,
			  mounts[i].flags, (unsigned long)mounts[i].options);
	}
	/* A tmpfs begins as everybody's. */
	task_call(init, SYS_chmod, (unsigned long)"/", 0755);
	task_call(init, SYS_mkdir, (unsigned long)"/etc", 0755);
	task_call(init, SYS_mkdir, (unsigned long)"/mnt", 0755);
}

static void loopback_up(struct rumpel_task *init)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	long fd = task_call(init, SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fd = task_call(init, SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	task_call(init, SYS_ioctl, fd, SIOCSIFFLAGS, (unsigned long)&request);
	task_call(init, SYS_close, fd);
}

/* A profile may not have it. */
static void set_sysctl(struct rumpel_task *init, const char *path, const char *value)
{
	long fd = task_call(init, SYS_open, (unsigned long)path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	task_call(init, SYS_write, fd, (unsigned long)value, strlen(value));
	task_call(init, SYS_close, fd);
}

/* Linux's own defaults are for a machine. */
static void set_sysctls(struct rumpel_task *init, unsigned int pages)
{
	char tcp_mem[80], tasks[16];

	/*
	 * TCP may have a tenth of the memory, and what comes when that is used is dropped. Here the
	 * memory is for little else: half of it, slower growth from a quarter on (tcp(7)).
	 */
	snprintf(tcp_mem, sizeof(tcp_mem), "%u %u %u", pages / 4, pages / 3, pages / 2);
	set_sysctl(init, "/proc/sys/net/ipv4/tcp_mem", tcp_mem);
	/*
	 * An eighth of the memory may be stacks of tasks, which for a machine's programs is a lot.
	 * Here each call that waits has one. With its stack a task takes less than 32 KiB.
	 */
	snprintf(tasks, sizeof(tasks), "%u", pages / 12);
	set_sysctl(init, "/proc/sys/kernel/threads-max", tasks);
	/*
	 * When memory is fragmented 4 MiB more are to be kept free, of however little. With nobody
	 * to kill, a kernel of 24 MiB that writes back panicked for want of them.
	 */
	set_sysctl(init, "/proc/sys/vm/watermark_boost_factor", "0");
}

/*
 * Callers use up memory to the last page that is not kept free, and then their calls fail. But a
 * kernel thread that has to be made then finds none, nor anybody to kill: a panic. Tasks of a
 * real-time class may take half of what is kept free (min_free_kbytes), and the threads that
 * this one makes begin in the normal class all the same.
 */
static void let_threads_be_made(struct rumpel_task *init)
{
	const struct sched_param first = { .sched_priority = 1 };
	const int kthreadd = 2;

	task_call(init, SYS_sched_setscheduler, kthreadd, SCHED_FIFO, (unsigned long)&first);
}

int rumpel_kernel_setup(struct rumpel_kernel *kernel)
{
	const struct rlimit descriptors = { DESCRIPTORS_MOST, DESCRIPTORS_MOST };
	struct rumpel_task *init = kernel->init;
	int error;

	init->id = 1;
	task_call(init, SYS_prlimit64, 0, RLIMIT_NOFILE, (unsigned long)&descriptors, 0);
	mount_all(init);
	loopback_up(init);
	set_sysctls(init, kernel->arena.memory_size / PAGE);
	let_threads_be_made(init);
	/* The agent's own agent is pid 1. */
	kernel->agent = init;
	error = rumpel_task_create(kernel, 0, &kernel->agent);
	return error;
}

/* ---- later ---- */

long rumpel_open_device(struct rumpel_task *agent, const char *path, int major, int minor)
{
	const char *own = "/.rumpel-device";
	long fd = task_call(agent, SYS_open, (unsigned long)path, O_WRONLY | O_CLOEXEC, 0);

	if (fd >= 0)
		return fd;
	if (task_call(agent, SYS_mknod, (unsigned long)own, S_IFCHR | 0600, major << 8 | minor))
		return -ENODEV;
	fd = task_call(agent, SYS_open, (unsigned long)own, O_WRONLY | O_CLOEXEC, 0);
	task_call(agent, SYS_unlink, (unsigned long)own);
	return fd;
}

void rumpel_kernel_reseed(struct rumpel_task *agent)
{
	struct {
		struct rand_pool_info info;
		unsigned char seed[32];
	} entropy = { .info = { .entropy_count = 256, .buf_size = 32 } };
	long fd = rumpel_open_device(agent, "/dev/urandom", 1, 9);

	if (fd < 0)
		return;
	if (getrandom(entropy.seed, sizeof(entropy.seed), GRND_NONBLOCK) > 0 &&
	    !task_call(agent, SYS_ioctl, fd, RNDADDENTROPY, (unsigned long)&entropy))
		task_call(agent, SYS_ioctl, fd, RNDRESEEDCRNG, 0);
	task_call(agent, SYS_close, fd);
}
