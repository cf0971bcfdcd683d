// SPDX-License-Identifier: GPL-2.0-only
/* From a configuration to a kernel that takes calls, and what frees it. */
#include "snapshot.h"

#include <limits.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY_DEFAULT (64ull << 20)
#define MEMORY_LEAST (8ull << 20)
#define MEMORY_MOST (1ull << 40)
#define CMDLINE_MOST 4095
/* Files of one snapshot: so many kernels of a process start from one. */
#define SNAPSHOTS 4
/* A file has the struct pages of all memory: a 64th of it. */
#define SNAPSHOT_MEMORY_MOST (1ull << 30)

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

static uint64_t memory_size(const struct rumpel_config *config)
{
	return (config->memory ? config->memory : MEMORY_DEFAULT) & ~(PAGE - 1);
}

/* The kernel puts its struct pages at the end of memory at once, and writes to all. */
static void populate(const struct rumpel_arena *arena)
{
	size_t pages = (arena->memory_size / PAGE * 64 + PAGE - 1) & ~(PAGE - 1);

	rumpel_populate(arena->memory + arena->memory_size - pages, pages);
}

/* at, mappings_at: NULL, or the addresses that it shall have. */
static int load(struct rumpel_kernel *kernel, const struct rumpel_config *config, char *at,
		char *mappings_at, const char **why)
{
	struct rumpel_image_file file = { .fd = -1 };
	int error;

	error = rumpel_image_open(&file, config->image, why);
	if (!error)
		error = rumpel_arena_create(&kernel->arena, file.size, memory_size(config), at);
	if (!error)
		populate(&kernel->arena);
	if (!error)
		error = rumpel_image_load(&file, &kernel->arena, true, &kernel->image, why);
	rumpel_image_close(&file);
	if (!error)
		error = rumpel_mappings_create(&kernel->mappings, mappings_at);
	if (error)
		return error;
	rumpel_valgrind_announce(&kernel->arena);
	return rumpel_fault_add(kernel);
}

void rumpel_kernel_connect(struct rumpel_kernel *kernel)
{
	struct host_ops *ops = &kernel->image->private_page->ops;

	kernel->vcpu = kernel->image->vcpu;
	kernel->enter = kernel->image->enter;
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
	rumpel_kernel_connect(kernel);

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

/* With the devices, unless they are to come later. */
static int boot_fresh(struct rumpel_kernel *kernel, const struct rumpel_config *config, char *at,
		      char *mappings_at, const char **why)
{
	int error = load(kernel, config, at, mappings_at, why);

	if (error)
		return error;
	kernel->init = rumpel_task_new(kernel);
	if (!kernel->init)
		return -ENOMEM;
	if (config->clock)
		rumpel_clock_join(config->clock, kernel);
	if (!at)
		error = attach_devices(kernel, config);
	if (!error)
		error = start(kernel, config->cmdline);
	if (error == -E2BIG)
		*why = "the command line is too long";
	return error ? error : rumpel_kernel_setup(kernel);
}

/* Into a kernel that is up; what it has no driver for is there all the same. */
static int plug_devices(struct rumpel_kernel *kernel, const struct rumpel_config *config)
{
	int error;

	rumpel_token_take(kernel);
	error = attach_devices(kernel, config);
	rumpel_leave(kernel, false);
	for (unsigned int i = 0; i < kernel->device_count && !error; i++)
		task_call(kernel->agent, RUMPEL_CALL_PLUG, i);
	return error;
}

static bool may_have_snapshot(const struct rumpel_config *config)
{
	return config->snapshot && !config->clock && !(config->cmdline && *config->cmdline) &&
	       memory_size(config) <= SNAPSHOT_MEMORY_MOST && !rumpel_valgrind_runs();
}

/* From the first snapshot whose addresses are free, or by a boot that makes one. */
static int boot_by_snapshot(struct rumpel_kernel *kernel, const struct rumpel_config *config,
			    const char **why)
{
	struct snapshot_identity identity;
	char file[PATH_MAX], *at = NULL, *mappings_at = NULL;
	int error = snapshot_identify(&identity, config->image, memory_size(config));
	bool taken = true;

	if (error)
		return boot_fresh(kernel, config, NULL, NULL, why);
	for (unsigned int i = 0; taken && i < SNAPSHOTS; i++) {
		if (snprintf(file, sizeof(file), "%s.%u", config->snapshot, i) >= PATH_MAX)
			return -ENAMETOOLONG;
		error = snapshot_load(kernel, file, &identity, config->image);
		if (!error)
			return plug_devices(kernel, config);
		taken = error == -EEXIST;
	}
	/* Where there can be none, starts are slower, and that is all. */
	if (taken || !rumpel_addresses_choose(&at, &mappings_at))
		return boot_fresh(kernel, config, NULL, NULL, why);
	error = boot_fresh(kernel, config, at, mappings_at, why);
	if (!error) {
		snapshot_save(kernel, file, &identity, config->image);
		error = plug_devices(kernel, config);
	}
	return error;
}

static int boot(struct rumpel_kernel *kernel, const struct rumpel_config *config, const char **why)
{
	int error;

	error = rumpel_log_init(&kernel->log, config->log_fd ? config->log_fd : -1);
	if (error)
		return error;
	/* No device lies where guest memory is. */
	kernel->mmio = memory_size(config) + RUMPEL_MMIO_SIZE;
	kernel->mmio &= ~(RUMPEL_MMIO_SIZE - 1);
	if (may_have_snapshot(config))
		error = boot_by_snapshot(kernel, config, why);
	else
		error = boot_fresh(kernel, config, NULL, NULL, why);
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
		if (!error)
			rumpel_visits_begin(kernel);
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
	rumpel_visits_end(kernel);
	rumpel_fault_drain(kernel);
	rumpel_housekeeper_stop(kernel);
	if (kernel->clock)
		rumpel_clock_leave(kernel);
	rumpel_jobs_exit(&kernel->jobs);
	rumpel_devices_detach(kernel);
	/* Who touches them until then tries again. */
	rumpel_mappings_end(kernel->mappings);
	rumpel_fault_remove(kernel);
	while ((task = kernel->tasks)) {
		kernel->tasks = task->next;
		rumpel_task_delete(task);
	}
	if (kernel->init)
		rumpel_task_delete(kernel->init);
	rumpel_valgrind_forget(&kernel->arena);
	rumpel_arena_destroy(&kernel->arena);
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
