// SPDX-License-Identifier: GPL-2.0-only
/* Threads that wake each other all the time, on a CPU each where there are two. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "guest.h"

#define DATAGRAMS 100000

struct flow {
	struct rumpel_kernel *kernel;
	long in, out;
	atomic_bool stop;
};

/* The nth of the CPUs that this process may use, if it may use as many. */
static void move_to(int n)
{
	cpu_set_t may, one;

	EQUAL(sched_getaffinity(0, sizeof(may), &may), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || n--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		EQUAL(sched_setaffinity(0, sizeof(one), &one), 0);
	}
}

static void *flood(void *argument)
{
	struct flow *flow = argument;
	struct rumpel_task *task;
	char byte = 'x';

	move_to(1);
	EQUAL(rumpel_task_create(flow->kernel, 0, &task), 0);
	while (!atomic_load(&flow->stop))
		EQUAL(guest_call(task, SYS_sendto, flow->out, ptr(&byte), 1), 1);
	rumpel_task_free(task);
	return NULL;
}

/*
 * The receiver goes to sleep and is woken again and again, each time while others
 * finish waking it from before. One wake-up that gets lost and it sleeps for ever.
 */
static void wake_ups(void)
{
	struct sockaddr_in address = guest_address("127.0.0.1", 9);
	struct flow flow = { .kernel = guest_boot(NULL, NULL, 0) };
	struct rumpel_task *init = rumpel_kernel_init(flow.kernel);
	pthread_t sender;
	char byte;

	flow.in = guest_call(init, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	flow.out = guest_call(init, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	EQUAL(guest_call(init, SYS_bind, flow.in, ptr(&address), sizeof(address)), 0);
	EQUAL(guest_call(init, SYS_connect, flow.out, ptr(&address), sizeof(address)), 0);
	EQUAL(pthread_create(&sender, NULL, flood, &flow), 0);
	move_to(0);
	for (int i = 0; i < DATAGRAMS; i++)
		EQUAL(guest_call(init, SYS_recvfrom, flow.in, ptr(&byte), 1), 1);
	atomic_store(&flow.stop, true);
	pthread_join(sender, NULL);
	guest_end(flow.kernel);
}

static const struct test tests[] = {
	{ wake_ups, "no wake-up of a thread that goes to sleep gets lost" },
};

TEST_MAIN(tests)
