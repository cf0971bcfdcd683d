// SPDX-License-Identifier: GPL-2.0-only
/*
 * UDP over the loopback device of either kernel: one thread sends as fast as
 * it can, one receives. What the receiver's buffer has no room for is lost.
 */
#include "side.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define MOST 1500

struct flow {
	struct rumpel_kernel *kernel; /* NULL: the host's */
	struct rumpel_task *task; /* of the receiver */
	int in, out;
	long size;
	atomic_bool stop;
	long sent;
	int64_t failure; /* of the sender */
	pthread_barrier_t ready;
};

static void *send_main(void *argument)
{
	static const char data[MOST];
	struct flow *flow = argument;
	struct rumpel_task *task = NULL;
	long result = flow->kernel ? rumpel_task_create(flow->kernel, 0, &task) : 0;

	flow->failure = result;
	pthread_barrier_wait(&flow->ready);
	while (!result && !atomic_load_explicit(&flow->stop, memory_order_relaxed)) {
		result = call(task, SYS_sendto, flow->out, data, flow->size, 0, 0, 0);
		if (result == flow->size) {
			flow->sent++;
			result = 0;
		}
	}
	flow->failure = result ? failed(result) : 0;
	if (result) /* so that the receiver does not wait for ever */
		call(task, SYS_shutdown, flow->in, SHUT_RDWR);
	if (task)
		rumpel_task_free(task);
	return NULL;
}

/* Two sockets, of which one sends to the other. 0 or a negative errno. */
static int udp_pair(struct flow *flow)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	long result;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	result = call(flow->task, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	if (result < 0)
		return (int)result;
	flow->in = (int)result;
	result = call(flow->task, SYS_bind, flow->in, &address, len);
	if (!result)
		result = call(flow->task, SYS_getsockname, flow->in, &address, &len);
	if (!result)
		result = call(flow->task, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	if (result < 0)
		return (int)result;
	flow->out = (int)result;
	return (int)call(flow->task, SYS_connect, flow->out, &address, len);
}

/* Receives n datagrams: the time that takes; *more are those that were left over. */
static int64_t receive(struct flow *flow, long n, long *more)
{
	char data[MOST];
	int64_t start = now();
	long result = flow->size;

	for (long i = 0; i < n && result == flow->size; i++)
		result = call(flow->task, SYS_recvfrom, flow->in, data, flow->size, 0, 0, 0);
	start = result == flow->size ? now() - start : failed(result);
	atomic_store(&flow->stop, true);
	for (*more = 0; *more < n; ++*more)
		if (call(flow->task, SYS_recvfrom, flow->in, data, flow->size, MSG_DONTWAIT, 0, 0) <
		    0)
			break;
	return start;
}

static int64_t run_flow(const struct bench *bench, bool ours, long n, long size, long *lost)
{
	struct flow flow = { .size = size, .in = -1, .out = -1 };
	int64_t result;
	pthread_t thread;
	long more = 0;

	if (ours) {
		flow.kernel = bench->kernel;
		flow.task = bench->task;
	}
	result = size > MOST ? -EINVAL : udp_pair(&flow);
	pthread_barrier_init(&flow.ready, NULL, 2);
	if (!result && !pthread_create(&thread, NULL, send_main, &flow)) {
		pthread_barrier_wait(&flow.ready);
		result = receive(&flow, n, &more);
		pthread_join(thread, NULL);
		if (result >= 0 && flow.failure)
			result = flow.failure;
	} else if (!result) {
		result = -EAGAIN;
	}
	pthread_barrier_destroy(&flow.ready);
	call(flow.task, SYS_close, flow.in);
	call(flow.task, SYS_close, flow.out);
	*lost = flow.sent - n - more;
	return result;
}

int64_t bench_udp(const struct bench *bench, bool ours, long n, long size)
{
	long lost;

	return run_flow(bench, ours, n, size, &lost);
}

/* Not a time: how many datagrams of a million that are sent get lost. */
int64_t bench_udp_lost(const struct bench *bench, bool ours, long n, long size)
{
	long lost;
	int64_t result = run_flow(bench, ours, n, size, &lost);

	return result < 0 ? result : lost > 0 ? lost * 1000000 / (n + lost) : 0;
}
