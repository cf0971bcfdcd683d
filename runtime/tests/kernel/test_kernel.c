// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core on a real kernel: RUMPEL_IMAGE names the image. Threads, waiting,
 * asynchronous calls, clocks, bad pointers.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>

#include "guest.h"

#define MS 1000000ull

static struct rumpel_kernel *boot(void)
{
	return guest_boot(NULL, NULL, 0);
}

static long sleep_ns(struct rumpel_task *task, uint64_t ns)
{
	struct timespec time = { ns / (1000 * MS), ns % (1000 * MS) };

	return guest_call(task, SYS_nanosleep, ptr(&time));
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

	EQUAL(guest_call(init, SYS_getpid), 1);
	EQUAL(guest_call(init, SYS_pipe2, ptr(pipe_fds)), 0);
	EQUAL(guest_call(init, SYS_write, pipe_fds[1], ptr("x"), 1), 1);
	EQUAL(guest_call(init, SYS_read, pipe_fds[0], ptr(&c), 1), 1);
	EQUAL(c, 'x');
	EQUAL(guest_call(init, 100000), -ENOSYS);
	EQUAL(rumpel_task_create(kernel, RUMPEL_TASK_PROCESS, &process), 0);
	CHECK(guest_call(process, SYS_getpid) > 1);
	EQUAL(guest_call(process, SYS_close, pipe_fds[0]), 0);
	EQUAL(guest_call(process, SYS_close, pipe_fds[0]), -EBADF);
	EQUAL(guest_call(init, SYS_close, pipe_fds[0]), 0);
	rumpel_task_free(process);
	guest_end(kernel);
}

static void bad_pointers(void)
{
	static char good[100];
	struct rumpel_kernel *kernel = boot();
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	const unsigned long bad[] = { 8, 0x1000, 1ul << 46, ~0ul, 1ul << 63, 0xffff800000000000 };
	int fds[2];

	EQUAL(guest_call(init, SYS_pipe2, ptr(fds)), 0);
	EQUAL(guest_call(init, SYS_write, fds[1], ptr(good), sizeof(good)), sizeof(good));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EQUAL(guest_call(init, SYS_write, fds[1], bad[i], 1), -EFAULT);
		EQUAL(guest_call(init, SYS_write, fds[1], bad[i], 5000), -EFAULT);
		EQUAL(guest_call(init, SYS_read, fds[0], bad[i], 1), -EFAULT);
		EQUAL(guest_call(init, SYS_open, bad[i], 0), -EFAULT);
		EQUAL(guest_call(init, SYS_pipe2, bad[i]), -EFAULT);
		EQUAL(guest_call(init, SYS_nanosleep, bad[i]), -EFAULT);
		EQUAL(guest_call(init, SYS_getcwd, bad[i], 100), -EFAULT);
		EQUAL(guest_call(init, SYS_getrandom, bad[i], 100), -EFAULT);
	}
	EQUAL(guest_call(init, SYS_read, fds[0], ptr(good), sizeof(good)), sizeof(good));
	guest_end(kernel);
}

static void real_sleep(void)
{
	struct rumpel_kernel *kernel = boot();
	uint64_t start = host_now();

	EQUAL(sleep_ns(rumpel_kernel_init(kernel), 20 * MS), 0);
	CHECK(host_now() - start >= 20 * MS);
	CHECK(host_now() - start < 60000 * MS);
	guest_end(kernel);
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
		EQUAL(guest_call(task, SYS_read, partner->in, ptr(&c), 1), 1);
		c++;
		EQUAL(guest_call(task, SYS_write, partner->out, ptr(&c), 1), 1);
	}
	rumpel_task_free(task);
	return NULL;
}

static void ping_pong(unsigned int flags)
{
	struct rumpel_kernel *kernel = guest_boot_with((struct rumpel_config){ .flags = flags });
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	struct partner partner = { .kernel = kernel, .rounds = 3000 };
	int there[2], back[2];
	char c;

	EQUAL(guest_call(init, SYS_pipe2, ptr(there)), 0);
	EQUAL(guest_call(init, SYS_pipe2, ptr(back)), 0);
	partner.in = there[0];
	partner.out = back[1];
	pthread_create(&partner.thread, NULL, echo, &partner);
	for (int i = 0; i < partner.rounds; i++) {
		c = (char)i;
		EQUAL(guest_call(init, SYS_write, there[1], ptr(&c), 1), 1);
		EQUAL(guest_call(init, SYS_read, back[0], ptr(&c), 1), 1);
		EQUAL(c, (char)(i + 1));
	}
	pthread_join(partner.thread, NULL);
	guest_end(kernel);
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

	EQUAL(guest_call(task, SYS_poll, ptr(&polled), 1, i % 3), 0);
	EQUAL(guest_call(task, SYS_write, fds[1], ptr("hello"), 5), 5);
	EQUAL(guest_call(task, SYS_poll, ptr(&polled), 1, 1000), 1);
	EQUAL(guest_call(task, SYS_read, fds[0], ptr(buffer), sizeof(buffer)), 5);
	EQUAL(memcmp(buffer, "hello", 5), 0);
	if (i % 7 == 0)
		EQUAL(sleep_ns(task, 100000), 0);
	CHECK(guest_call(task, SYS_gettid) > 1);
}

static void *mixed(void *argument)
{
	struct rumpel_kernel *kernel = argument;
	struct rumpel_task *task;
	int fds[2];

	new_task(kernel, &task);
	EQUAL(guest_call(task, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ptr(fds)), 0);
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
	guest_end(kernel);
}

static void tcp_pair(struct rumpel_task *task, int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	long listener = guest_call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(listener >= 0);
	EQUAL(guest_call(task, SYS_bind, listener, ptr(&address), sizeof(address)), 0);
	EQUAL(guest_call(task, SYS_listen, listener, 1), 0);
	EQUAL(guest_call(task, SYS_getsockname, listener, ptr(&address), ptr(&len)), 0);
	fds[0] = (int)guest_call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);
	EQUAL(guest_call(task, SYS_connect, fds[0], ptr(&address), sizeof(address)), 0);
	fds[1] = (int)guest_call(task, SYS_accept, listener, 0, 0);
	CHECK(fds[1] >= 0);
	EQUAL(guest_call(task, SYS_close, listener), 0);
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
		got = guest_call(task, SYS_read, partner->in, ptr(buffer), sizeof(buffer));
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
		result = guest_call(init, SYS_write, fds[0], ptr(data + sent % 251), TCP_CHUNK);
		CHECK(result > 0);
		sent += result;
	}
	EQUAL(guest_call(init, SYS_close, fds[0]), 0);
	pthread_join(partner.thread, NULL);
	EQUAL(partner.result, sent);
	guest_end(kernel);
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

		EQUAL(guest_call(init, SYS_pipe2, ptr(fds[i])), 0);
		args[0] = fds[i][0];
		new_task(kernel, &tasks[i]);
		EQUAL(rumpel_task_submit(tasks[i], RUMPEL_SUBMIT_ASYNC, SYS_read, args, &result),
		      0);
	}
	EQUAL(rumpel_run(kernel, 0, -1, done, ASYNC), 0);
	for (int i = 0; i < ASYNC; i++) {
		char c = (char)i;

		EQUAL(guest_call(init, SYS_write, fds[i][1], ptr(&c), 1), 1);
		while (i % 10 == 9 && seen <= i) {
			count = rumpel_run(kernel, 1000 * MS, -1, done, 3);
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
	EQUAL(rumpel_run(kernel, MS, -1, done, ASYNC), 0);
	guest_end(kernel);
}

/* ---- virtual time ---- */

static void virtual_time(void)
{
	struct rumpel_clock *clock;
	struct rumpel_kernel *kernel;
	struct rumpel_task *init;
	uint64_t start = host_now(), before;

	EQUAL(rumpel_clock_create(0, 1000000000ull * 1000 * MS, &clock), 0);
	kernel = guest_boot_with((struct rumpel_config){ .clock = clock });
	init = rumpel_kernel_init(kernel);
	before = rumpel_clock_now(clock);
	EQUAL(sleep_ns(init, 1000ull * 1000 * MS), 0);
	CHECK(rumpel_clock_now(clock) - before >= 1000ull * 1000 * MS);
	CHECK(rumpel_clock_now(clock) - before < 1001ull * 1000 * MS);
	CHECK(host_now() - start < 60000 * MS);
	EQUAL(rumpel_clock_advance(clock, before), -EINVAL);
	EQUAL(rumpel_clock_advance(clock, before + 5000ull * 1000 * MS), 0);
	EQUAL(rumpel_clock_now(clock), before + 5000ull * 1000 * MS);
	guest_end(kernel);
	rumpel_clock_free(clock);
}

static size_t whole_log(char *buffer, size_t size)
{
	struct rumpel_clock *clock;
	struct rumpel_kernel *kernel;
	uint64_t position = 0;
	size_t len = 0, got;

	EQUAL(rumpel_clock_create(0, 0, &clock), 0);
	kernel = guest_boot_with((struct rumpel_config){ .clock = clock });
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

static const struct test tests[] = {
	{ basic_calls, "system calls, processes" },
	{ bad_pointers, "bad pointers are EFAULT" },
	{ real_sleep, "sleeping takes the host's time" },
	{ two_threads, "two threads wake each other" },
	{ two_threads_alone, "also without a housekeeper" },
	{ many_threads, "ten threads on one kernel" },
	{ tcp_between_threads, "TCP between two threads" },
	{ async_calls, "a hundred blocked calls on one thread" },
	{ virtual_time, "virtual time jumps" },
	{ reproducible, "two runs on a virtual clock are identical" },
};

TEST_MAIN(tests)
