// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two kernels with a network between them, and a thread at either end of a TCP
 * connection. An end is a library kernel's or, without a task, the host's.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define MOST (1 << 20)
/* TCP's windows are a share of it. */
#define MEMORY (256 << 20)

struct end {
	struct rumpel_kernel *kernel;
	struct rumpel_task *task;
	int fd;
};

struct wire {
	struct end ends[2];
	/* What is being done. */
	long n, size;
	pthread_barrier_t ready;
	int64_t other; /* how the second thread ended */
};

static struct sockaddr_in address_of(const char *ip)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(5000) };

	inet_pton(AF_INET, ip, &address.sin_addr);
	return address;
}

static int ifup(struct rumpel_task *task, const char *ip)
{
	struct sockaddr_in address = address_of(ip), mask = address_of("255.255.255.0");
	struct ifreq request = { .ifr_name = "eth0" };
	long fd, result;

	fd = call(task, SYS_socket, AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		return (int)fd;
	memcpy(&request.ifr_addr, &address, sizeof(address));
	result = call(task, SYS_ioctl, fd, SIOCSIFADDR, &request);
	memcpy(&request.ifr_addr, &mask, sizeof(mask));
	if (!result)
		result = call(task, SYS_ioctl, fd, SIOCSIFNETMASK, &request);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (!result)
		result = call(task, SYS_ioctl, fd, SIOCSIFFLAGS, &request);
	call(task, SYS_close, fd);
	return (int)result;
}

/* Boots a kernel that owns the device from now on, also if it fails. */
static int boot(struct end *end, const char *image, struct rumpel_device *device, const char *ip,
		const char **why)
{
	struct rumpel_config config = {
		.image = image,
		.memory = MEMORY,
		.devices = &device,
		.device_count = 1,
		.error = why,
	};
	int error = rumpel_boot(&config, &end->kernel);

	if (error) {
		if (error != -ENOTRECOVERABLE)
			rumpel_device_free(device);
		return error;
	}
	error = rumpel_task_create(end->kernel, 0, &end->task);
	return error ? error : ifup(end->task, ip);
}

static int listen_at(struct rumpel_task *task)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(5000) };
	long fd = call(task, SYS_socket, AF_INET, SOCK_STREAM, 0), result;

	if (fd < 0)
		return (int)fd;
	result = call(task, SYS_bind, fd, &address, sizeof(address));
	if (!result)
		result = call(task, SYS_listen, fd, 1);
	return (int)(result ? result : fd);
}

/* Connects ends[0] to what listens at ends[1]. */
static int join(struct wire *wire, const char *ip, int listener)
{
	struct end *client = &wire->ends[0], *server = &wire->ends[1];
	struct sockaddr_in address = address_of(ip);
	int on = 1;
	long result;

	result = call(client->task, SYS_socket, AF_INET, SOCK_STREAM, 0);
	if (result < 0)
		return (int)result;
	client->fd = (int)result;
	result = call(client->task, SYS_connect, client->fd, &address, sizeof(address));
	if (!result)
		result = call(server->task, SYS_accept, listener, 0, 0);
	if (result < 0)
		return (int)result;
	server->fd = (int)result;
	result = 0;
	for (int i = 0; i < 2 && !result; i++)
		result = call(wire->ends[i].task, SYS_setsockopt, wire->ends[i].fd, IPPROTO_TCP,
			      TCP_NODELAY, &on, sizeof(on));
	return (int)result;
}

static struct wire *wire_new(void)
{
	struct wire *wire = calloc(1, sizeof(*wire));

	if (wire)
		wire->ends[0].fd = wire->ends[1].fd = -1;
	return wire;
}

static int finish(struct wire *wire, int error, struct wire **result)
{
	if (error)
		bench_wire_close(wire);
	else
		*result = wire;
	return error;
}

int bench_wire_tap(const char *image, int tap, int listener, struct wire **result, const char **why)
{
	struct rumpel_device *device;
	struct wire *wire = wire_new();
	int error = wire ? rumpel_net_tap(tap, 0, NULL, 0, &device) : -ENOMEM;

	if (!error)
		error = boot(&wire->ends[0], image, device, "10.0.0.2", why);
	if (!error)
		error = join(wire, "10.0.0.1", listener);
	return finish(wire, error, result);
}

int bench_wire_station(const char *image, const char *interface, bool xdp, int listener,
		       struct wire **result, const char **why)
{
	struct wire *wire = wire_new();
	struct rumpel_device *device;
	enum rumpel_xdp_mode mode;
	int error;

	if (!wire)
		return -ENOMEM;
	if (xdp)
		error = rumpel_net_xdp(interface, 0, 0, NULL, 0, &mode, &device);
	else
		error = rumpel_net_packet(interface, 0, NULL, 0, &device);
	if (!error)
		error = boot(&wire->ends[0], image, device, "10.0.0.2", why);
	if (!error)
		error = join(wire, "10.0.0.1", listener);
	return finish(wire, error, result);
}

int bench_wire_link(const char *image, struct wire **result, const char **why)
{
	struct rumpel_device *devices[2];
	struct wire *wire = wire_new();
	int listener, error = wire ? rumpel_net_link(0, 0, NULL, NULL, devices) : -ENOMEM;

	if (error)
		return finish(wire, error, result);
	error = boot(&wire->ends[0], image, devices[0], "10.0.0.2", why);
	if (error)
		rumpel_device_free(devices[1]);
	else
		error = boot(&wire->ends[1], image, devices[1], "10.0.0.1", why);
	if (error)
		return finish(wire, error, result);
	listener = listen_at(wire->ends[1].task);
	return finish(wire, listener < 0 ? listener : join(wire, "10.0.0.1", listener), result);
}

int bench_wire_host(int fd0, int fd1, struct wire **result)
{
	struct wire *wire = wire_new();

	if (!wire)
		return -ENOMEM;
	wire->ends[0].fd = fd0;
	wire->ends[1].fd = fd1;
	return finish(wire, 0, result);
}

void bench_wire_close(struct wire *wire)
{
	for (int i = 0; wire && i < 2; i++) {
		struct end *end = &wire->ends[i];

		if (end->fd >= 0)
			call(end->task, SYS_close, end->fd);
		if (end->task)
			rumpel_task_free(end->task);
		if (end->kernel)
			rumpel_halt(end->kernel);
		rumpel_kernel_free(end->kernel);
	}
	free(wire);
}

/* ---- what the two threads do ---- */

typedef int64_t part(struct wire *wire, const struct end *end);

static int64_t all(const struct end *end, long nr, char *data, long size)
{
	long result;

	for (; size; size -= result, data += result) {
		result = call(end->task, nr, end->fd, data, size);
		if (result <= 0)
			return failed(result);
	}
	return 0;
}

static int64_t sender(struct wire *wire, const struct end *end)
{
	static char data[MOST];
	int64_t result = 0;

	for (long i = 0; i < wire->n && !result; i++)
		result = all(end, SYS_write, data, wire->size);
	return result;
}

static int64_t receiver(struct wire *wire, const struct end *end)
{
	static char data[MOST];
	int64_t result = 0;

	for (long i = 0; i < wire->n && !result; i++)
		result = all(end, SYS_read, data, wire->size);
	return result;
}

static int64_t ping(struct wire *wire, const struct end *end)
{
	int64_t result = 0;
	char byte = 'x';

	for (long i = 0; i < wire->n && !result; i++) {
		result = all(end, SYS_write, &byte, 1);
		if (!result)
			result = all(end, SYS_read, &byte, 1);
	}
	return result;
}

static int64_t pong(struct wire *wire, const struct end *end)
{
	int64_t result = 0;
	char byte;

	for (long i = 0; i < wire->n && !result; i++) {
		result = all(end, SYS_read, &byte, 1);
		if (!result)
			result = all(end, SYS_write, &byte, 1);
	}
	return result;
}

struct second {
	struct wire *wire;
	part *run;
};

static void *second_main(void *argument)
{
	const struct second *second = argument;
	struct wire *wire = second->wire;

	pthread_barrier_wait(&wire->ready);
	wire->other = second->run(wire, &wire->ends[1]);
	return NULL;
}

static int64_t run(struct wire *wire, part *first, part *other)
{
	struct second second = { wire, other };
	int64_t start, result;
	pthread_t thread;

	pthread_barrier_init(&wire->ready, NULL, 2);
	if (pthread_create(&thread, NULL, second_main, &second))
		return -EAGAIN;
	pthread_barrier_wait(&wire->ready);
	start = now();
	result = first(wire, &wire->ends[0]);
	/* A partner that waits for what never comes. */
	if (result)
		for (int i = 0; i < 2; i++)
			call(wire->ends[i].task, SYS_shutdown, wire->ends[i].fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	start = now() - start;
	pthread_barrier_destroy(&wire->ready);
	if (!result)
		result = wire->other;
	return result ? result : start;
}

int64_t bench_wire_stream(struct wire *wire, bool back, long n, long size)
{
	wire->n = n;
	wire->size = size;
	if (size > MOST)
		return -EINVAL;
	return back ? run(wire, receiver, sender) : run(wire, sender, receiver);
}

int64_t bench_wire_trips(struct wire *wire, bool back, long n, long size)
{
	(void)back, (void)size;
	wire->n = n;
	return run(wire, ping, pong);
}
