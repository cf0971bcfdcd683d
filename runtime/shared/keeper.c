// SPDX-License-Identifier: GPL-2.0-only
/*
 * The keeper: the process that makes a shared kernel. It is this file, executed.
 *
 *	rumpel-shared control=FD image=PATH ...		all of it: options.h
 *
 * `control` is a unix socket: a message on it says how the boot went: empty text and
 * the descriptors, whose numbers follow it, or a line that explains. When its other end
 * is closed the kernel is halted, and the keeper ends.
 */
#include "options.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../bare/bare.h"

#define SIGNAL_STACK (64 << 10)
#define OPEN_FILES (1 << 20) /* of a process: what the host allows is less */

int bare_fds(void)
{
	return instance->fds;
}

/* To the number that it shall have in all processes. */
static int place(long fd, int number)
{
	long placed = fd < 0 ? fd : bare_syscall(SYS_fcntl, fd, F_DUPFD, number);

	if (fd >= 0)
		bare_syscall(SYS_close, fd);
	return placed < 0 ? (int)placed : placed == number ? 0 : -EBUSY;
}

static int make_instance(const struct options *options)
{
	int fds = options->fds, memory = fds + RUMPEL_SHARED_FD_MEMORY, error;

	error = place(bare_syscall(SYS_memfd_create, "rumpel", 0), memory);
	if (!error)
		error = place(bare_syscall(SYS_openat, AT_FDCWD, "/proc/self/exe", O_RDONLY),
			      fds + RUMPEL_SHARED_FD_TEXT);
	if (!error)
		error = place(bare_syscall(SYS_openat, AT_FDCWD, options->image, O_RDONLY),
			      fds + RUMPEL_SHARED_FD_IMAGE);
	if (!error)
		error = (int)bare_syscall(SYS_ftruncate, memory, SHARED_OFFSET(SHARED_MEMORY));
	if (!error)
		error = shared_map_heap(memory);
	if (error)
		return error;
	instance->magic = RUMPEL_SHARED_MAGIC;
	instance->version = RUMPEL_SHARED_VERSION;
	instance->fds = fds;
	instance->heap_end =
		(char *)((SHARED_HEAP + sizeof(struct rumpel_instance) + PAGE - 1) & ~(PAGE - 1));
	return 0;
}

static int join(struct rumpel_local *local)
{
	struct rumpel_process *keeper = instance->processes;

	shared_process_change(keeper, 0, PROCESS_RUNS, getpid());
	local->process = keeper;
	local->tid = shared_tid_new(keeper);
	local->clock_gettime = bare_vdso_clock();
	keeper->space = shared_space_new();
	shared_fault_install();
	instance->notify = instance->keeper = -1;
	return keeper->space ? rumpel_eventfd_open(&instance->notify) : -ENOMEM;
}

/* What others need while it lives. */
static int open_descriptors(struct rumpel_kernel *kernel)
{
	int fd = (int)bare_syscall(SYS_pidfd_open, getpid(), 0), error = 0;

	if (fd < 0)
		return fd;
	instance->keeper = fcntl(fd, F_DUPFD, 0);
	close(fd);
	error = instance->keeper < 0 ? -errno : rumpel_eventfd_open(&kernel->eventfd);
	for (unsigned int i = 0; i < MOST_WAKES && !error; i++)
		error = rumpel_eventfd_open(&kernel->wakes[i].fd);
	return error;
}

/*
 * The kernel's signal for a broken pipe would end the task, before its process has
 * heard of it: all tasks have this from pid 1.
 */
static int ignore_sigpipe(struct rumpel_kernel *kernel)
{
	const unsigned long action[8] = { (unsigned long)SIG_IGN };

	return (int)task_call(rumpel_kernel_init(kernel), SYS_rt_sigaction, SIGPIPE,
			      (unsigned long)action, 0, 8);
}

/* Numbers of descriptors are given by the host: its limit is theirs. */
static int raise_limit(struct rumpel_kernel *kernel)
{
	const unsigned long limit[2] = { OPEN_FILES, OPEN_FILES };

	return (int)task_call(rumpel_kernel_init(kernel), SYS_setrlimit, 7 /* RLIMIT_NOFILE */,
			      (unsigned long)limit);
}

static int boot(const struct options *options, struct rumpel_kernel **kernel, const char **why)
{
	struct rumpel_device *devices[MOST_DEVICES];
	struct rumpel_config config = {
		.memory = options->memory,
		.cmdline = options->cmdline,
		.snapshot = options->snapshot,
		.log_fd = options->log,
		.devices = devices,
		.device_count = options->device_count,
		.error = why,
	};
	char image[32];
	int error = 0;

	snprintf(image, sizeof(image), "/proc/self/fd/%d", options->fds + RUMPEL_SHARED_FD_IMAGE);
	config.image = image;
	for (unsigned int i = 0; i < options->device_count && !error; i++) {
		error = options_device(options->devices[i], &devices[i]);
		if (error)
			*why = options->devices[i];
	}
	if (!error)
		error = rumpel_boot(&config, kernel);
	/* Its thread takes the kernel's token in the end, which comes at once for a full disk. */
	for (unsigned int i = 0; i < options->device_count && !error; i++) {
		error = options_capture(options->devices[i], devices[i]);
		if (error)
			*why = options->devices[i];
	}
	if (!error)
		error = open_descriptors(*kernel);
	if (!error)
		error = ignore_sigpipe(*kernel);
	if (!error)
		error = raise_limit(*kernel);
	if (!error)
		error = shared_shoot_start();
	for (unsigned int i = 0; i < options->step_count && !error; i++) {
		error = options_step(*kernel, options->steps[i]);
		if (error)
			*why = options->steps[i];
	}
	return error;
}

/* All descriptors of the kernel's, with their numbers. */
int shared_send_descriptors(int socket)
{
	int numbers[RUMPEL_SHARED_FDS], count = 0;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(numbers))];
	} control = { 0 };
	struct iovec data = { numbers, 0 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control };

	for (int fd = instance->fds; fd < instance->fds + RUMPEL_SHARED_FDS; fd++)
		if (bare_syscall(SYS_fcntl, fd, F_GETFD) >= 0)
			numbers[count++] = fd;
	data.iov_len = count * sizeof(*numbers);
	message.msg_controllen = CMSG_SPACE(data.iov_len);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(data.iov_len);
	memcpy(CMSG_DATA(&control.header), numbers, data.iov_len);
	return (int)bare_syscall(SYS_sendmsg, socket, &message, MSG_NOSIGNAL);
}

static void explain(const struct options *options, int error, const char *why)
{
	char line[256];
	int len = snprintf(line, sizeof(line), "%s (error %d)\n", why ? why : "no kernel", -error);

	if (len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	bare_syscall(SYS_write, options->control < 0 ? 2 : options->control, line, len);
}

static void remove_files(const struct options *options)
{
	for (unsigned int i = 0; i < options->file_count; i++)
		unlink(options->files[i]);
}

static int run(char **arguments)
{
	struct options options;
	struct rumpel_local local = { .self = &local };
	struct rumpel_kernel *kernel = NULL;
	const char *why;
	int error = -EINVAL;

	bare_syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, &local);
	why = options_parse(&options, arguments);
	if (options.detach && bare_syscall(SYS_fork))
		return 0;
	if (!why)
		error = make_instance(&options);
	if (!error)
		error = join(&local);
	if (!error)
		error = boot(&options, &kernel, &why);
	if (!error && shared_send_descriptors(options.control) < 0)
		return 1;
	if (error) {
		remove_files(&options);
		explain(&options, error, why);
		return 1;
	}
	shared_reap(kernel, options.control, options.listen);
	remove_files(&options);
	return rumpel_halt(kernel) != 0;
}

__attribute__((used)) static void begin(long *stack)
{
	stack_t signals = { .ss_size = SIGNAL_STACK };

	signals.ss_sp = (void *)bare_syscall(SYS_mmap, 0, SIGNAL_STACK, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bare_syscall(SYS_sigaltstack, &signals, 0);
	bare_syscall(SYS_exit_group, run((char **)stack + 2));
}

asm(".globl keeper_start\n"
    "keeper_start:\n\t"
    "xorl %ebp, %ebp\n\t"
    "movq %rsp, %rdi\n\t"
    "andq $-16, %rsp\n\t"
    "callq begin");
