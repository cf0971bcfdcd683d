// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core on a real kernel: RUMPEL_IMAGE names the image. Threads, waiting,
 * cancelling, clocks, faults and the ends of a kernel's life.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <rumpel/rumpel.h>

#include "../check.h"

#define MS 1000000ull
#define call(task, nr, ...) call6(task, nr, (const unsigned long[6]){ __VA_ARGS__ })
#define ptr(p) ((unsigned long)(p))

static long call6(struct rumpel_task *task, long nr, const unsigned long a[6])
{
	return rumpel_syscall(task, nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static struct rumpel_kernel *boot_with(struct rumpel_config config)
{
	const char *why = NULL;
	struct rumpel_kernel *kernel = NULL;
	int error;

	config.image = getenv("RUMPEL_IMAGE");
	config.error = &why;
	error = rumpel_boot(&config, &kernel);
	if (error)
		fprintf(stderr, "boot: %s %s\n", strerror(-error), why ? why : "");
	EQUAL(error, 0);
	return kernel;
}

static struct rumpel_kernel *boot(void)
{
	return boot_with((struct rumpel_config){ 0 });
}

static void end(struct rumpel_kernel *kernel)
{
	EQUAL(rumpel_halt(kernel), 0);
	EQUAL(rumpel_kernel_state(kernel), RUMPEL_HALTED);
	rumpel_kernel_free(kernel);
}

static uint64_t host_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * MS + now.tv_nsec;
}

static long sleep_ns(struct rumpel_task *task, uint64_t ns)
{
	struct timespec time = { ns / (1000 * MS), ns % (1000 * MS) };

	return call(task, SYS_nanosleep, ptr(&time));
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

static void new_task(struct rumpel_kernel *kernel, struct rumpel_task **task)
{
	EQUAL(rumpel_task_create(kernel, 0, task), 0);
}

/* ---- */

static void basic_calls(void)
{
	struct rumpel_kernel *kernel = boot();
	struct rumpel_task *init = rumpel_kernel_init(kernel), *process;
	int pipe_fds[2];
	char c = 0;

	EQUAL(call(init, SYS_getpid), 1);
	EQUAL(call(init, SYS_pipe2, ptr(pipe_fds)), 0);
	EQUAL(call(init, SYS_write, pipe_fds[1], ptr("x"), 1), 1);
	EQUAL(call(init, SYS_read, pipe_fds[0], ptr(&c), 1), 1);
	EQUAL(c, 'x');
	EQUAL(call(init, 100000), -ENOSYS);
	EQUAL(rumpel_task_create(kernel, RUMPEL_TASK_PROCESS, &process), 0);
	CHECK(call(process, SYS_getpid) > 1);
	EQUAL(call(process, SYS_close, pipe_fds[0]), 0);
	EQUAL(call(process, SYS_close, pipe_fds[0]), -EBADF);
	EQUAL(call(init, SYS_close, pipe_fds[0]), 0);
	rumpel_task_free(process);
	end(kernel);
}

static void bad_pointers(void)
{
	static char good[100];
	struct rumpel_kernel *kernel = boot();
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	const unsigned long bad[] = { 8, 0x1000, 1ul << 46, ~0ul, 1ul << 63, 0xffff800000000000 };
	int fds[2];

	EQUAL(call(init, SYS_pipe2, ptr(fds)), 0);
	EQUAL(call(init, SYS_write, fds[1], ptr(good), sizeof(good)), sizeof(good));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EQUAL(call(init, SYS_write, fds[1], bad[i], 1), -EFAULT);
		EQUAL(call(init, SYS_write, fds[1], bad[i], 5000), -EFAULT);
		EQUAL(call(init, SYS_read, fds[0], bad[i], 1), -EFAULT);
		EQUAL(call(init, SYS_open, bad[i], 0), -EFAULT);
		EQUAL(call(init, SYS_pipe2, bad[i]), -EFAULT);
		EQUAL(call(init, SYS_nanosleep, bad[i]), -EFAULT);
		EQUAL(call(init, SYS_getcwd, bad[i], 100), -EFAULT);
		EQUAL(call(init, SYS_getrandom, bad[i], 100), -EFAULT);
	}
	EQUAL(call(init, SYS_read, fds[0], ptr(good), sizeof(good)), sizeof(good));
	end(kernel);
}

static void real_sleep(void)
{
	struct rumpel_kernel *kernel = boot();
	uint64_t start = host_now();

	EQUAL(sleep_ns(rumpel_kernel_init(kernel), 20 * MS), 0);
	CHECK(host_now() - start >= 20 * MS);
	CHECK(host_now() - start < 2000 * MS);
	end(kernel);
}

/* ---- two threads ---- */

struct partner {
	struct rumpel_kernel *kernel;
	int in, out;
	int rounds;
	long result;
	pthread_t thread;
};

static void *echo(void *argument)
{
	struct partner *partner = argument;
	struct rumpel_task *task;
	char c;

	new_task(partner->kernel, &task);
	for (int i = 0; i < partner->rounds; i++) {
		EQUAL(call(task, SYS_read, partner->in, ptr(&c), 1), 1);
		c++;
		EQUAL(call(task, SYS_write, partner->out, ptr(&c), 1), 1);
	}
	rumpel_task_free(task);
	return NULL;
}

static void ping_pong(unsigned int flags)
{
	struct rumpel_kernel *kernel = boot_with((struct rumpel_config){ .flags = flags });
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct partner partner = { .kernel = kernel, .rounds = 3000 };
	int there[2], back[2];
	char c;

	EQUAL(call(init, SYS_pipe2, ptr(there)), 0);
	EQUAL(call(init, SYS_pipe2, ptr(back)), 0);
	partner.in = there[0];
	partner.out = back[1];
	pthread_create(&partner.thread, NULL, echo, &partner);
	for (int i = 0; i < partner.rounds; i++) {
		c = (char)i;
		EQUAL(call(init, SYS_write, there[1], ptr(&c), 1), 1);
		EQUAL(call(init, SYS_read, back[0], ptr(&c), 1), 1);
		EQUAL(c, (char)(i + 1));
	}
	pthread_join(partner.thread, NULL);
	end(kernel);
}

static void two_threads(void)
{
	ping_pong(0);
}

static void two_threads_alone(void)
{
	ping_pong(RUMPEL_BOOT_NO_HOUSEKEEPER);
}

/* ---- many threads ---- */

static void mixed_round(struct rumpel_task *task, int fds[2], int i)
{
	struct pollfd polled = { .fd = fds[0], .events = POLLIN };
	char buffer[64] = "";

	EQUAL(call(task, SYS_poll, ptr(&polled), 1, i % 3), 0);
	EQUAL(call(task, SYS_write, fds[1], ptr("hello"), 5), 5);
	EQUAL(call(task, SYS_poll, ptr(&polled), 1, 1000), 1);
	EQUAL(call(task, SYS_read, fds[0], ptr(buffer), sizeof(buffer)), 5);
	EQUAL(memcmp(buffer, "hello", 5), 0);
	if (i % 7 == 0)
		EQUAL(sleep_ns(task, 100000), 0);
	CHECK(call(task, SYS_gettid) > 1);
}

static void *mixed(void *argument)
{
	struct rumpel_kernel *kernel = argument;
	struct rumpel_task *task;
	int fds[2];

	new_task(kernel, &task);
	EQUAL(call(task, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(fds)), 0);
	for (int i = 0; i < 300; i++)
		mixed_round(task, fds, i);
	rumpel_task_free(task);
	return NULL;
}

static void many_threads(void)
{
	struct rumpel_kernel *kernel = boot();
	pthread_t threads[10];

	for (int i = 0; i < 10; i++)
		pthread_create(&threads[i], NULL, mixed, kernel);
	for (int i = 0; i < 10; i++)
		pthread_join(threads[i], NULL);
	end(kernel);
}

static void tcp_pair(struct rumpel_task *task, int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	long listener = call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(listener >= 0);
	EQUAL(call(task, SYS_bind, listener, ptr(&address), sizeof(address)), 0);
	EQUAL(call(task, SYS_listen, listener, 1), 0);
	EQUAL(call(task, SYS_getsockname, listener, ptr(&address), ptr(&len)), 0);
	fds[0] = (int)call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);
	EQUAL(call(task, SYS_connect, fds[0], ptr(&address), sizeof(address)), 0);
	fds[1] = (int)call(task, SYS_accept, listener, 0, 0);
	CHECK(fds[1] >= 0);
	EQUAL(call(task, SYS_close, listener), 0);
}

#define TCP_CHUNK (64 << 10)
#define TCP_TOTAL (64l << 20)

static void *tcp_sink(void *argument)
{
	struct partner *partner = argument;
	struct rumpel_task *task;
	static unsigned char buffer[TCP_CHUNK];
	long got, total = 0;

	new_task(partner->kernel, &task);
	for (;;) {
		got = call(task, SYS_read, partner->in, ptr(buffer), sizeof(buffer));
		if (got <= 0)
			break;
		for (long i = 0; i < got; i++)
			if (buffer[i] != (unsigned char)((total + i) % 251))
				partner->result = -1;
		total += got;
	}
	EQUAL(got, 0);
	if (!partner->result)
		partner->result = total;
	rumpel_task_free(task);
	return NULL;
}

static void tcp_between_threads(void)
{
	struct rumpel_kernel *kernel = boot();
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct partner partner = { .kernel = kernel };
	static unsigned char data[TCP_CHUNK + 251];
	int fds[2];
	long sent = 0, result;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = i % 251;
	tcp_pair(init, fds);
	partner.in = fds[1];
	pthread_create(&partner.thread, NULL, tcp_sink, &partner);
	while (sent < TCP_TOTAL) {
		result = call(init, SYS_write, fds[0], ptr(data + sent % 251), TCP_CHUNK);
		CHECK(result > 0);
		sent += result;
	}
	EQUAL(call(init, SYS_close, fds[0]), 0);
	pthread_join(partner.thread, NULL);
	EQUAL(partner.result, sent);
	end(kernel);
}

/* ---- cancelling and halting ---- */

struct blocked {
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
	int fd;
	atomic_bool entered;
	long result;
	pthread_t thread;
};

static void *block(void *argument)
{
	struct blocked *blocked = argument;
	char c;

	blocked->entered = true;
	blocked->result = call(blocked->task, SYS_read, blocked->fd, ptr(&c), 1);
	return NULL;
}

static void block_in_thread(struct blocked *blocked)
{
	int fds[2];

	new_task(blocked->kernel, &blocked->task);
	EQUAL(call(blocked->task, SYS_pipe2, ptr(fds)), 0);
	blocked->fd = fds[0];
	pthread_create(&blocked->thread, NULL, block, blocked);
	while (!blocked->entered)
		sched_yield();
	usleep(5000);
}

static void cancelling(void)
{
	struct rumpel_kernel *kernel = boot();
	struct blocked blocked = { .kernel = kernel };

	block_in_thread(&blocked);
	EQUAL(rumpel_task_cancel(blocked.task), 0);
	pthread_join(blocked.thread, NULL);
	EQUAL(blocked.result, -EINTR);
	EQUAL(sleep_ns(blocked.task, MS), 0);
	rumpel_task_free(blocked.task);
	end(kernel);
}

static void halting_ends_calls(void)
{
	struct rumpel_kernel *kernel = boot();
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
	EQUAL(call(rumpel_kernel_init(kernel), SYS_getpid), -ESHUTDOWN);
	rumpel_kernel_free(kernel);
}

static void on_signal(int number)
{
	(void)number;
}

static void *signal_soon(void *thread)
{
	usleep(20000);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

static void host_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct rumpel_kernel *kernel = boot();
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
	EQUAL(rumpel_task_cancel(init), 0);
	EQUAL(rumpel_task_wait(init, -1, &result), 1);
	EQUAL(result, -EINTR);
	pthread_join(thread, NULL);
	end(kernel);
}

/* ---- asynchronous calls ---- */

#define ASYNC 100

static void async_calls(void)
{
	struct rumpel_kernel *kernel = boot();
	struct rumpel_task *init = rumpel_kernel_init(kernel), *tasks[ASYNC], *done[ASYNC];
	static char bytes[ASYNC];
	int fds[ASYNC][2], seen = 0, count;
	long result;

	for (int i = 0; i < ASYNC; i++) {
		unsigned long args[6] = { 0, ptr(&bytes[i]), 1 };

		EQUAL(call(init, SYS_pipe2, ptr(fds[i])), 0);
		args[0] = fds[i][0];
		new_task(kernel, &tasks[i]);
		EQUAL(rumpel_task_submit(tasks[i], RUMPEL_SUBMIT_ASYNC, SYS_read, args, &result),
		      0);
	}
	EQUAL(rumpel_run(kernel, 0, done, ASYNC), 0);
	for (int i = 0; i < ASYNC; i++) {
		char c = (char)i;

		EQUAL(call(init, SYS_write, fds[i][1], ptr(&c), 1), 1);
		while (i % 10 == 9 && seen <= i) {
			count = rumpel_run(kernel, 1000 * MS, done, 3);
			CHECK(count > 0 && count <= 3);
			for (int j = 0; j < count; j++, seen++) {
				EQUAL(rumpel_task_wait(done[j], 0, &result), 1);
				EQUAL(result, 1);
			}
		}
	}
	EQUAL(seen, ASYNC);
	for (int i = 0; i < ASYNC; i++) {
		EQUAL(bytes[i], (char)i);
		rumpel_task_free(tasks[i]);
	}
	EQUAL(rumpel_run(kernel, MS, done, ASYNC), 0);
	end(kernel);
}

/* ---- virtual time ---- */

static void virtual_time(void)
{
	struct rumpel_clock *clock;
	struct rumpel_kernel *kernel;
	struct rumpel_task *init;
	uint64_t start = host_now(), before;

	EQUAL(rumpel_clock_create(0, 1000000000ull * 1000 * MS, &clock), 0);
	kernel = boot_with((struct rumpel_config){ .clock = clock });
	init = rumpel_kernel_init(kernel);
	before = rumpel_clock_now(clock);
	EQUAL(sleep_ns(init, 1000ull * 1000 * MS), 0);
	CHECK(rumpel_clock_now(clock) - before >= 1000ull * 1000 * MS);
	CHECK(rumpel_clock_now(clock) - before < 1001ull * 1000 * MS);
	CHECK(host_now() - start < 1000 * MS);
	EQUAL(rumpel_clock_advance(clock, before), -EINVAL);
	EQUAL(rumpel_clock_advance(clock, before + 5000ull * 1000 * MS), 0);
	EQUAL(rumpel_clock_now(clock), before + 5000ull * 1000 * MS);
	end(kernel);
	rumpel_clock_free(clock);
}

static size_t whole_log(char *buffer, size_t size)
{
	struct rumpel_clock *clock;
	struct rumpel_kernel *kernel;
	uint64_t position = 0;
	size_t len = 0, got;

	EQUAL(rumpel_clock_create(0, 0, &clock), 0);
	kernel = boot_with((struct rumpel_config){ .clock = clock });
	for (int i = 0; i < 50; i++)
		EQUAL(sleep_ns(rumpel_kernel_init(kernel), 1234567), 0);
	EQUAL(rumpel_halt(kernel), 0);
	while ((got = rumpel_log_read(kernel, &position, buffer + len, size - len)))
		len += got;
	rumpel_kernel_free(kernel);
	rumpel_clock_free(clock);
	return len;
}

static void reproducible(void)
{
	static char one[1 << 20], two[1 << 20];
	size_t len = whole_log(one, sizeof(one));

	CHECK(len > 1000);
	EQUAL(whole_log(two, sizeof(two)), len);
	EQUAL(memcmp(one, two, len), 0);
}

/* ---- ends ---- */

static void panic(void)
{
	struct rumpel_kernel *kernel = boot(), *other = boot();
	struct blocked blocked = { .kernel = kernel };
	uint64_t position = 0;
	static char log[1 << 20];
	size_t len;

	block_in_thread(&blocked);
	/* pid 1 is gone first; that its last thread has ended is what the kernel cannot bear. */
	CHECK(call(rumpel_kernel_init(kernel), SYS_exit_group, 3) < 0);
	pthread_join(blocked.thread, NULL);
	CHECK(blocked.result == -ENOTRECOVERABLE || blocked.result == -ESRCH);
	for (int i = 0; i < 2000 && rumpel_kernel_state(kernel) == RUMPEL_RUNNING; i++)
		usleep(1000);
	EQUAL(rumpel_kernel_state(kernel), RUMPEL_PANICKED);
	EQUAL(call(rumpel_kernel_init(kernel), SYS_getpid), -ENOTRECOVERABLE);
	EQUAL(rumpel_halt(kernel), -ENOTRECOVERABLE);
	len = rumpel_log_read(kernel, &position, log, sizeof(log) - 1);
	log[len] = 0;
	CHECK(strstr(log, "Attempted to kill init"));
	CHECK(strstr(log, "Call Trace:"));
	rumpel_kernel_free(kernel);
	EQUAL(call(rumpel_kernel_init(other), SYS_getpid), 1);
	end(other);
}

static void again_and_again(void)
{
	unsigned int fds, threads;

	end(boot());
	fds = entries("/proc/self/fd");
	threads = entries("/proc/self/task");
	for (int i = 0; i < 50; i++)
		end(boot());
	EQUAL(entries("/proc/self/fd"), fds);
	EQUAL(entries("/proc/self/task"), threads);
}

static void forked(void)
{
	struct rumpel_kernel *kernel = boot();
	struct blocked blocked = { .kernel = kernel };
	int status;
	pid_t child;

	block_in_thread(&blocked);
	child = fork();
	if (!child) {
		alarm(10);
		EQUAL(call(rumpel_kernel_init(kernel), SYS_getpid), -EOWNERDEAD);
		EQUAL(rumpel_kernel_state(kernel), RUMPEL_FORKED);
		CHECK(rumpel_halt(kernel) < 0);
		rumpel_kernel_free(kernel);
		kernel = boot();
		EQUAL(call(rumpel_kernel_init(kernel), SYS_getpid), 1);
		end(kernel);
		_exit(7);
	}
	EQUAL(waitpid(child, &status, 0), child);
	EQUAL(WEXITSTATUS(status), 7);
	EQUAL(call(rumpel_kernel_init(kernel), SYS_getpid), 1);
	EQUAL(rumpel_task_cancel(blocked.task), 0);
	pthread_join(blocked.thread, NULL);
	end(kernel);
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

static const struct test tests[] = {
	{ bad_configuration, "a bad configuration is an error that says what is wrong" },
	{ basic_calls, "system calls, processes" },
	{ bad_pointers, "bad pointers are EFAULT" },
	{ real_sleep, "sleeping takes the host's time" },
	{ two_threads, "two threads wake each other" },
	{ two_threads_alone, "also without a housekeeper" },
	{ many_threads, "ten threads on one kernel" },
	{ tcp_between_threads, "TCP between two threads" },
	{ cancelling, "a blocked call can be interrupted" },
	{ host_signals, "host signals end waiting, not calls" },
	{ async_calls, "a hundred blocked calls on one thread" },
	{ virtual_time, "virtual time jumps" },
	{ reproducible, "two runs on a virtual clock are identical" },
	{ halting_ends_calls, "halting ends other threads' calls" },
	{ panic, "a panic ends one kernel only, and its callers are told" },
	{ forked, "the child of a fork cannot use its parent's kernel, but boot its own" },
	{ again_and_again, "booting and halting leaks no descriptors and no threads" },
};

TEST_MAIN(tests)
