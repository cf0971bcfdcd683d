// SPDX-License-Identifier: GPL-2.0-only
/* Promises of plugging, and of memory that mmap() of a kernel returns. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "guest.h"

#define PAGE 4096ul
#define PAGES 64ul
#define THREADS 8

static char *map(struct rumpel_task *task, size_t size)
{
	long address = guest_call(task, SYS_mmap, 0, size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(address > 0 && !(address % PAGE));
	return (char *)address;
}

static void test_memory(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_task *init = rumpel_kernel_init(kernel);
	char *memory = map(init, PAGES * PAGE);
	int fds[2];

	for (unsigned long i = 0; i < PAGES; i++) {
		EQUAL(memory[i * PAGE], 0);
		memory[i * PAGE] = (char)i;
	}
	EQUAL(guest_call(init, SYS_pipe, ptr(fds)), 0);
	/* Calls use it, page by page; and pages that nobody has touched. */
	EQUAL(guest_call(init, SYS_write, fds[1], ptr(memory), 8 * PAGE), 8 * PAGE);
	EQUAL(guest_call(init, SYS_munmap, ptr(memory), 32 * PAGE), 0);
	memory = map(init, 32 * PAGE);
	EQUAL(guest_call(init, SYS_read, fds[0], ptr(memory + 100), 8 * PAGE), 8 * PAGE);
	for (unsigned long i = 0; i < 8; i++)
		EQUAL(memory[100 + i * PAGE], (char)i);
	/* Not there any more, or not for writing: EFAULT to a call. */
	EQUAL(guest_call(init, SYS_mprotect, ptr(memory), PAGE, PROT_READ), 0);
	EQUAL(guest_call(init, SYS_pipe, ptr(memory)), -EFAULT);
	EQUAL(guest_call(init, SYS_munmap, ptr(memory), PAGE), 0);
	EQUAL(guest_call(init, SYS_write, fds[1], ptr(memory), 1), -EFAULT);
	guest_end(kernel);
}

/* Memory that is held stays readable, and what the kernel had is not seen. */
static void test_held(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	char *memory = map(rumpel_kernel_init(kernel), 2 * PAGE);
	struct rumpel_mappings *held = rumpel_mappings_hold(kernel);

	memory[0] = 1;
	EQUAL(rumpel_halt(kernel), 0);
	EQUAL(memory[PAGE], 0);
	rumpel_kernel_free(kernel);
	EQUAL(memory[0], 0);
	memory[PAGE] = 1;
	rumpel_mappings_release(held);
}

static void *touch_all(void *argument)
{
	char *memory = argument;

	for (unsigned long i = 0; i < PAGES; i++)
		__atomic_fetch_add(&memory[i * PAGE], 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Threads that have never called the kernel fault at the same pages. */
static void test_threads(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	char *memory = map(rumpel_kernel_init(kernel), PAGES * PAGE);
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, touch_all, memory);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned long i = 0; i < PAGES; i++)
		EQUAL(memory[i * PAGE], THREADS);
	guest_end(kernel);
}

static void test_plug(void)
{
	struct rumpel_kernel *kernel = guest_boot(NULL, NULL, 0);
	struct rumpel_device *link[2];

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, link), 0);
	for (int round = 0; round < 3; round++) {
		EQUAL(rumpel_device_plug(kernel, link[0]), 0);
		EQUAL(rumpel_device_plug(kernel, link[0]), -EBUSY);
		EQUAL(rumpel_device_plug(kernel, link[1]), 0);
		EQUAL(rumpel_device_unplug(kernel, link[0]), 0);
		EQUAL(rumpel_device_unplug(kernel, link[0]), -ENODEV);
		EQUAL(rumpel_device_unplug(kernel, link[1]), 0);
	}
	/* One stays, and goes with the kernel. */
	EQUAL(rumpel_device_plug(kernel, link[0]), 0);
	guest_end(kernel);
	rumpel_device_free(link[1]);
}

static const struct test tests[] = {
	{ test_memory, "mmap: host code and calls use the same memory" },
	{ test_held, "mmap: who holds it may read it when the kernel is gone" },
	{ test_threads, "mmap: many threads may touch a page first" },
	{ test_plug, "devices are plugged in and unplugged, again and again" },
};

TEST_MAIN(tests)
