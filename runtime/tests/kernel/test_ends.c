// SPDX-License-Identifier: GPL-2.0-only
/* How calls and kernels end: interrupted, halted, in a panic, for want of an image. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ptrace.h>

#include "guest.h"

#define MS 1000000ll

static void sleep_a_moment(struct rumpel_task *task)
{
	struct timespec moment = { 0, MS };

	EQUAL(guest_call(task, SYS_nanosleep, ptr(&moment)), 0);
}

static unsigned int entries(const char *directory)
{
	DIR *dir = opendir(directory);
	unsigned int count = 0;

	CHECK(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

struct blocked {
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
	int fd;
	atomic_int id;
	long result;
	pthread_t thread;
};

static void *block(void *argument)
{
	struct blocked *blocked = argument;
	char c;

	blocked->id = gettid();
	blocked->result = guest_call(blocked->task, SYS_read, blocked->fd, ptr(&c), 1);
	return NULL;
}

/* Until it sleeps for a while: in its call, and not on its way there. */
static void wait_until_asleep(int id)
{
	char path[64], line[400];

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", id);
	for (int times = 0; times < 3; usleep(5000)) {
		int fd = open(path, O_RDONLY);
		ssize_t len = read(fd, line, sizeof(line) - 1);
		const char *state;

		CHECK(len > 0);
		close(fd);
		line[len] = 0;
		state = strrchr(line, ')');
		times = state && state[2] == 'S' ? times + 1 : 0;
	}
}

static void block_in_thread(struct blocked *blocked)
{
	int fds[2];

	EQUAL(rumpel_task_create(blocked->kernel, 0, &blocked->task), 0);
	EQUAL(guest_call(blocked->task, SYS_pipe2, ptr(fds)), 0);
	blocked->fd = fds[0];
	pthread_create(&blocked->thread, NULL, block, blocked);
	while (!blocked->id)
		sched_yield();
	wait_until_asleep(blocked->id);
}

static void cancelling(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct blocked blocked = { .kernel = kernel };

	block_in_thread(&blocked);
	EQUAL(rumpel_task_cancel(blocked.task), 0);
	pthread_join(blocked.thread, NULL);
	EQUAL(blocked.result, -EINTR);
	sleep_a_moment(blocked.task);
	rumpel_task_free(blocked.task);
	guest_end(kernel);
}

static void halting_ends_calls(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct blocked blocked[3];

	memset(blocked, 0, sizeof(blocked));
	for (int i = 0; i < 3; i++) {
		blocked[i].kernel = kernel;
		block_in_thread(&blocked[i]);
	}
	EQUAL(rumpel_halt(kernel), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(blocked[i].thread, NULL);
		EQUAL(blocked[i].result, -ESHUTDOWN);
	}
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_getpid), -ESHUTDOWN);
	rumpel_kernel_free(kernel);
}

static void on_signal(int number)
{
	(void)number;
}

static atomic_bool interrupted;

/* Again and again: the first may come before the wait that it is to end. */
static void *signal_soon(void *thread)
{
	while (!interrupted) {
		usleep(20000);
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
	}
	return NULL;
}

static void host_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	const struct timespec minute = { 60, 0 };
	const unsigned long args[6] = { ptr(&minute) };
	pthread_t self = pthread_self(), thread;
	long result = 0;

	sigaction(SIGUSR1, &action, NULL);
	EQUAL(rumpel_task_submit(init, 0, SYS_nanosleep, args, &result), 0);
	EQUAL(rumpel_task_submit(init, 0, SYS_getpid, args, &result), -EBUSY);
	EQUAL(rumpel_task_wait(init, MS, &result), 0);
	pthread_create(&thread, NULL, signal_soon, &self);
	EQUAL(rumpel_task_wait(init, -1, &result), -EINTR);
	interrupted = true;
	pthread_join(thread, NULL);
	EQUAL(rumpel_task_cancel(init), 0);
	EQUAL(rumpel_task_wait(init, -1, &result), 1);
	EQUAL(result, -EINTR);
	guest_end(kernel);
}

static void panic(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0),
			     *other = guest_boot(NULL, NULL, 0);
	struct blocked blocked = { .kernel = kernel };
	uint64_t position = 0;
	static char log[1 << 20];
	size_t len;

	block_in_thread(&blocked);
	/* pid 1 is gone first; that its last thread has ended is what the kernel cannot bear. */
	CHECK(guest_call(rumpel_kernel_init(kernel), SYS_exit_group, 3) < 0);
	pthread_join(blocked.thread, NULL);
	CHECK(blocked.result == -ENOTRECOVERABLE || blocked.result == -ESRCH);
	for (int i = 0; i < 30000 && rumpel_kernel_state(kernel) == RUMPEL_RUNNING; i++)
		usleep(1000);
	EQUAL(rumpel_kernel_state(kernel), RUMPEL_PANICKED);
	EQUAL(guest_call(rumpel_kernel_init(kernel), SYS_getpid), -ENOTRECOVERABLE);
	EQUAL(rumpel_halt(kernel), -ENOTRECOVERABLE);
	len = rumpel_log_read(kernel, &position, log, sizeof(log) - 1);
	log[len] = 0;
	CHECK(strstr(log, "Attempted to kill init"));
	CHECK(strstr(log, "Call Trace:"));
	rumpel_kernel_free(kernel);
	EQUAL(guest_call(rumpel_kernel_init(other), SYS_getpid), 1);
	guest_end(other);
}

static void again_and_again(void)
{
	unsigned int fds, threads;

	guest_end(guest_boot(NULL, NULL, 0));
	fds = entries("/proc/self/fd");
	threads = entries("/proc/self/task");
	for (int i = 0; i < 50; i++)
		guest_end(guest_boot(NULL, NULL, 0));
	EQUAL(entries("/proc/self/fd"), fds);
	EQUAL(entries("/proc/self/task"), threads);
}

static void bad_configuration(void)
{
	const char *why = NULL;
	struct rumpel_config config = { .image = "/nowhere", .error = &why };
	struct rumpel_kernel *kernel;

	EQUAL(rumpel_boot(&config, &kernel), -ENOENT);
	config.image = "/proc/self/exe";
	EQUAL(rumpel_boot(&config, &kernel), -ENOEXEC);
	CHECK(why);
	config.image = "/etc/hostname";
	EQUAL(rumpel_boot(&config, &kernel), -ENOEXEC);
	config.image = getenv("RUMPEL_IMAGE");
	config.memory = 4096;
	EQUAL(rumpel_boot(&config, &kernel), -EINVAL);
	CHECK(strstr(why, "memory"));
}

/* Stopped as soon as it calls again: as the first one to do so, while the kernel halts. */
static void halting_stopped(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *tracer;

	EQUAL(rumpel_task_create(kernel, RUMPEL_TASK_PROCESS, &tracer), 0);
	EQUAL(guest_call(tracer, SYS_ptrace, PTRACE_ATTACH, 1, 0, 0), 0);
	rumpel_task_free(tracer);
	guest_end(kernel);
}

static const struct test tests[] = {
	{ bad_configuration, "a bad configuration is an error that says what is wrong" },
	{ cancelling, "a blocked call can be interrupted" },
	{ host_signals, "host signals end waiting, not calls" },
	{ halting_ends_calls, "halting ends other threads' calls" },
	{ halting_stopped, "halting ends, though a tracer has stopped pid 1" },
	{ panic, "a panic ends one kernel only, and its callers are told" },
	{ again_and_again, "booting and halting leaks no descriptors and no threads" },
};

TEST_MAIN(tests)
