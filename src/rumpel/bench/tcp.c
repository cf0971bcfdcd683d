// SPDX-License-Identifier: GPL-2.0-only
/* TCP over the loopback device of either kernel, both ends in one thread. */
#include "side.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define MOST (64 << 10)

int tcp_pair(struct rumpel_task *task, int fds[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int on = 1;
	long listener, result;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);
	if (listener < 0)
		return (int)listener;
	result = call(task, SYS_bind, listener, &address, len);
	if (!result)
		result = call(task, SYS_listen, listener, 1);
	if (!result)
		result = call(task, SYS_getsockname, listener, &address, &len);
	if (!result)
		result = call(task, SYS_socket, AF_INET, SOCK_STREAM, 0);
	fds[0] = (int)result;
	if (result >= 0)
		result = call(task, SYS_connect, fds[0], &address, len);
	if (!result)
		result = call(task, SYS_accept, listener, 0, 0);
	fds[1] = (int)result;
	for (int i = 0; i < 2 && result >= 0; i++)
		result = call(task, SYS_setsockopt, fds[i], IPPROTO_TCP, TCP_NODELAY, &on,
			      sizeof(on));
	call(task, SYS_close, listener);
	return (int)result;
}

static void close_pair(struct rumpel_task *task, const int fds[2])
{
	call(task, SYS_close, fds[0]);
	call(task, SYS_close, fds[1]);
}

WORK long transfer(struct rumpel_task *task, const int fds[2], long size)
{
	static char out[MOST], in[MOST];
	long result, got;

	result = call(task, SYS_write, fds[0], out, size);
	if (result != size)
		return failed(result);
	for (got = 0; got < size; got += result) {
		result = call(task, SYS_read, fds[1], in + got, size - got);
		if (result <= 0)
			return failed(result);
	}
	return 0;
}

WORK int64_t tcp_work(struct rumpel_task *task, long n, long size)
{
	long result;
	int64_t start;
	int fds[2];

	if (size > MOST)
		return -EINVAL;
	result = tcp_pair(task, fds);
	if (result)
		return result;
	start = now();
	for (long i = 0; i < n && !result; i++)
		result = transfer(task, fds, size);
	start = result ? result : now() - start;
	close_pair(task, fds);
	return start;
}

int64_t bench_tcp(const struct bench *bench, bool ours, long n, long size)
{
	return ours ? tcp_work(bench->task, n, size) : tcp_work(NULL, n, size);
}

WORK int64_t round_trip_work(struct rumpel_task *task, long n)
{
	long result;
	int64_t start;
	int there[2];

	result = tcp_pair(task, there);
	if (result)
		return result;
	const int back[2] = { there[1], there[0] };

	start = now();
	for (long i = 0; i < n && !result; i++) {
		result = transfer(task, there, 1);
		if (!result)
			result = transfer(task, back, 1);
	}
	start = result ? result : now() - start;
	close_pair(task, there);
	return start;
}

int64_t bench_round_trip(const struct bench *bench, bool ours, long n, long size)
{
	(void)size;
	return ours ? round_trip_work(bench->task, n) : round_trip_work(NULL, n);
}
