// SPDX-License-Identifier: GPL-2.0-only
/* From a configuration to a kernel that takes calls, and what frees it. */
#include "core.h"

#include <fcntl.h>
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

#define MEMORY_DEFAULT (64ull << 20)
#define MEMORY_LEAST (8ull << 20)
#define MEMORY_MOST (1ull << 40)
#define DESCRIPTORS_MOST (1ul << 20)
#define CMDLINE_MOST 4095

/*
 * Drivers that would make devices nobody asked for; pressure stall accounting
 * costs a third of a round trip between tasks. Every message is for the host.
 */
#define CMDLINE                                                                    \
	"ignore_loglevel nbd.nbds_max=0 null_blk.nr_devices=0 zram.num_devices=0 " \
	"dummy.numdummies=0 ifb.numifbs=0 bonding.max_bonds=0 brd.rd_nr=0 "        \
	"loop.max_loop=0 psi=0 virtio_net.napi_tx=0"

static void op_print(void *host, const char *text, unsigned long len)
{
	rumpel_log_append(&((struct rumpel_kernel *)host)->log, text, len);
}

static int op_map(void *host, unsigned long va, unsigned long pa, unsigned long len, int prot)
{
	struct rumpel_kernel *kernel = host;

	if (rumpel_mappings_has(kernel->mappings, va, len))
		return rumpel_mappings_map(kernel->mappings, &kernel->arena, va, pa, len, prot);
	if (!rumpel_arena_has(&kernel->arena, va, len))
		return -EINVAL;
	return rumpel_arena_map(&kernel->arena, va, pa, len, prot);
}

static int op_unmap(void *host, unsigned long va, unsigned long len)
{
	struct rumpel_kernel *kernel = host;

	if (rumpel_mappings_has(kernel->mappings, va, len))
		return rumpel_mappings_unmap(kernel->mappings, va, len);
	return rumpel_arena_unmap(&kernel->arena, va, len);
}

static int attach_devices(struct rumpel_kernel *kernel, const struct rumpel_config *config)
{
	int error = 0;

	for (size_t i = 0; i < config->device_count && !error; i++)
		error = rumpel_device_attach(kernel, config->devices[i]);
	return error;
}

/* The devices are the caller's again. */
static void return_devices(struct rumpel_kernel *kernel)
{
	for (unsigned int i = 0; i < kernel->device_count; i++) {
		struct rumpel_device *device = kernel->devices[i];

		rumpel_device_detach(device);
		rumpel_device_finish(device);
	}
	kernel->device_count = 0;
}

static int load(struct rumpel_kernel *kernel, const struct rumpel_config *config, const char **why)
{
	uint64_t memory = config->memory ? config->memory : MEMORY_DEFAULT;
	struct rumpel_image_file file = { .fd = -1 };
	int error;

	error = rumpel_image_open(&file, config->image, why);
	if (!error)
		error = rumpel_arena_create(&kernel->arena, file.size, memory & ~(PAGE - 1));
	if (!error)
		error = rumpel_image_load(&file, &kernel->arena, &kernel->image, why);
	rumpel_image_close(&file);
	if (!error)
		error = rumpel_mappings_create(&kernel->mappings);
	if (error)
		return error;
	rumpel_valgrind_announce(&kernel->arena);
	kernel->vcpu = kernel->image->vcpu;
	kernel->enter = kernel->image->enter;
	return rumpel_fault_add(kernel);
}

static void set_ops(struct rumpel_kernel *kernel)
{
	struct host_ops *ops = &kernel->image->private_page->ops;

	ops->host = kernel;
	ops->print = op_print;
	ops->map = op_map;
	ops->unmap = op_unmap;
	rumpel_clock_ops(ops);
	rumpel_device_ops(ops);
}

static void fill_seed(const struct rumpel_kernel *kernel, unsigned char *seed, size_t size)
{
	if (!kernel->clock && getrandom(seed, size, GRND_NONBLOCK) == (ssize_t)size)
		return;
	/* Runs on a virtual clock are all alike, kernels on one are not. */
	memset(seed, 0, size);
	memcpy(seed, &kernel->clock_order, sizeof(kernel->clock_order));
}

/* Runs start_kernel() until pid 1 is there. */
static int start(struct rumpel_kernel *kernel, const char *cmdline)
{
	struct rumpel_boot_params params = {
		.memory = (unsigned long)kernel->arena.memory,
		.memory_size = kernel->arena.memory_size,
		.vmalloc = (unsigned long)kernel->arena.vmalloc,
		.vmalloc_size = kernel->arena.vmalloc_size,
		.mmio = kernel->mmio,
		.devices = kernel->device_count,
		.init = &kernel->init->caller,
	};
	struct rumpel_waiter *waiter = &kernel->init->waiting;
	char line[CMDLINE_MOST + 1];
	int result, len;

	len = snprintf(line, sizeof(line), "%s %s", CMDLINE, cmdline ? cmdline : "");
	if (len > CMDLINE_MOST)
		return -E2BIG;
	params.cmdline = line;
	rumpel_mappings_range(kernel->mappings, &params.mappings, &params.mappings_size);
	fill_seed(kernel, params.seed, sizeof(params.seed));
	set_ops(kernel);

	kernel->booted_at = rumpel_kernel_now(kernel);
	rumpel_lockup_init(kernel);
	rumpel_token_take(kernel);
	kernel->init->state = TASK_BUSY;
	waiter->task = kernel->init;
	rumpel_vcpu_handle(kernel, kernel->image->boot(&params), kernel->init);
	result = rumpel_wait(kernel, waiter, NEVER);
	while (result == -EINTR) {
		rumpel_token_take(kernel);
		result = rumpel_wait(kernel, waiter, NEVER);
	}
	kernel->init->state = TASK_READY;
	if (result == 1)
		return 0;
	/* It must not be said to be halted: it has never been up. */
	atomic_set(&kernel->state, RUMPEL_PANICKED);
	return -ENOTRECOVERABLE;
}

/* What every program expects to find. A profile may not have it. */
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
	char tcp_mem[80];

	/*
	 * TCP may have a tenth of the memory, and what comes when that is used is dropped. Here the
	 * memory is for little else: half of it, slower growth from a quarter on (tcp(7)).
	 */
	snprintf(tcp_mem, sizeof(tcp_mem), "%u %u %u", pages / 4, pages / 3, pages / 2);
	set_sysctl(init, "/proc/sys/net/ipv4/tcp_mem", tcp_mem);
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

static int prepare(struct rumpel_kernel *kernel)
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

static int check_config(const struct rumpel_config *config, const char **why)
{
	*why = NULL;
	if (!config->image)
		*why = "no image was named";
	else if (config->memory && config->memory < MEMORY_LEAST)
		*why = "a kernel needs at least 8 MiB of memory";
	else if (config->memory > MEMORY_MOST)
		*why = "a kernel cannot have more than 1 TiB of memory";
	else if (config->device_count > RUMPEL_MAX_DEVICES)
		*why = "a kernel can have at most 48 devices";
	for (size_t i = 0; !*why && i < config->device_count; i++) {
		if (!config->devices[i] || config->devices[i]->kernel)
			*why = "a device belongs to another kernel";
		for (size_t j = 0; !*why && j < i; j++)
			if (config->devices[i] == config->devices[j])
				*why = "a device is given twice";
	}
	return *why ? -EINVAL : 0;
}

static int boot(struct rumpel_kernel *kernel, const struct rumpel_config *config, const char **why)
{
	int error;

	error = rumpel_log_init(&kernel->log, config->log_fd ? config->log_fd : -1);
	if (error)
		return error;
	kernel->init = rumpel_task_new(kernel);
	if (!kernel->init)
		return -ENOMEM;
	error = load(kernel, config, why);
	if (error)
		return error;
	/* No device lies where guest memory is. */
	kernel->mmio = kernel->arena.memory_size + RUMPEL_MMIO_SIZE;
	kernel->mmio &= ~(RUMPEL_MMIO_SIZE - 1);
	if (config->clock)
		rumpel_clock_join(config->clock, kernel);
	error = attach_devices(kernel, config);
	if (!error)
		error = start(kernel, config->cmdline);
	if (error == -E2BIG)
		*why = "the command line is too long";
	if (!error)
		error = prepare(kernel);
	if (!error && !config->clock && !(config->flags & RUMPEL_BOOT_NO_HOUSEKEEPER))
		error = rumpel_housekeeper_start(kernel);
	return error;
}

int rumpel_boot(const struct rumpel_config *config, struct rumpel_kernel **result)
{
	const char *why = NULL;
	struct rumpel_kernel *kernel;
	int error = check_config(config, &why);

	kernel = error ? NULL : calloc(1, sizeof(*kernel));
	if (!error && !kernel)
		error = -ENOMEM;
	if (!error) {
		kernel->arena.memfd = kernel->arena.copy = -1;
		kernel->eventfd = kernel->done_fd = kernel->leader_fd = -1;
		for (unsigned int i = 0; i < MOST_WAKES; i++)
			kernel->wakes[i].fd = -1;
		pthread_mutex_init(&kernel->agent_lock, NULL);
		rumpel_jobs_init(&kernel->jobs);
		error = boot(kernel, config, &why);
	}
	if (config->error)
		*config->error = why;
	if (error && error != -ENOTRECOVERABLE && kernel) {
		return_devices(kernel);
		rumpel_kernel_free(kernel);
		return error;
	}
	if (kernel) {
		rumpel_fork_add(kernel);
		*result = kernel;
	}
	return error;
}

void rumpel_kernel_free(struct rumpel_kernel *kernel)
{
	struct rumpel_task *task;

	if (!kernel)
		return;
	/* From here on no fork may take its token. */
	rumpel_fork_remove(kernel);
	rumpel_fault_drain(kernel);
	rumpel_housekeeper_stop(kernel);
	if (kernel->clock)
		rumpel_clock_leave(kernel);
	rumpel_jobs_exit(&kernel->jobs);
	rumpel_devices_detach(kernel);
	/* Who touches them until then tries again. */
	rumpel_mappings_end(kernel->mappings);
	rumpel_fault_remove(kernel);
	rumpel_valgrind_forget(&kernel->arena);
	rumpel_arena_destroy(&kernel->arena);
	while ((task = kernel->tasks)) {
		kernel->tasks = task->next;
		free(task);
	}
	free(kernel->init);
	if (kernel->eventfd >= 0)
		close(kernel->eventfd);
	if (kernel->done_fd >= 0)
		close(kernel->done_fd);
	for (unsigned int i = 0; i < MOST_WAKES; i++)
		if (kernel->wakes[i].fd >= 0)
			close(kernel->wakes[i].fd);
	rumpel_log_exit(&kernel->log);
	pthread_mutex_destroy(&kernel->agent_lock);
	free(kernel);
}

enum rumpel_state rumpel_kernel_state(const struct rumpel_kernel *kernel)
{
	return atomic_get(&kernel->state);
}

const char *rumpel_kernel_release(const struct rumpel_kernel *kernel)
{
	return kernel->image->release;
}

uintptr_t rumpel_kernel_load_address(const struct rumpel_kernel *kernel)
{
	return (uintptr_t)kernel->arena.image;
}
