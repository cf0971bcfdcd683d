// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel that spins for ever ends, for all who call it, but not while a disk has
 * a request. What spins here is a receive that polls its network device.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../../core.h"
#include "guest.h"

#define MS 1000000ull
#define PORT 5000

struct world {
	struct rumpel_kernel *kernel, *peer;
	struct rumpel_task *init;
	long fd; /* a datagram socket of `kernel`, that polls */
};

static long udp(struct rumpel_task *task)
{
	long fd = guest_call(task, SYS_socket, AF_INET, SOCK_DGRAM, 0);

	CHECK(fd >= 0);
	return fd;
}

/* One datagram says which device the socket has to poll. */
static void set_up(struct world *world, int poll_us, struct rumpel_device *disk)
{
	struct rumpel_device *ends[2];
	struct sockaddr_in here = guest_address("10.0.0.1", PORT);
	struct timeval shortly = { .tv_usec = 1000 };
	struct rumpel_task *peer;
	char byte = 'x';

	EQUAL(rumpel_net_link(0, 0, NULL, NULL, ends), 0);
	world->kernel = guest_boot(NULL, (struct rumpel_device *[]){ ends[0], disk }, disk ? 2 : 1);
	world->peer = guest_boot(NULL, &ends[1], 1);
	guest_ifup(world->kernel, "eth0", "10.0.0.1");
	guest_ifup(world->peer, "eth0", "10.0.0.2");
	world->init = rumpel_kernel_init(world->kernel);
	world->fd = udp(world->init);
	EQUAL(guest_call(world->init, SYS_bind, world->fd, ptr(&here), sizeof(here)), 0);
	EQUAL(guest_call(world->init, SYS_setsockopt, world->fd, SOL_SOCKET, SO_BUSY_POLL,
			 ptr(&poll_us), sizeof(poll_us)),
	      0);
	EQUAL(guest_call(world->init, SYS_setsockopt, world->fd, SOL_SOCKET, SO_RCVTIMEO,
			 ptr(&shortly), sizeof(shortly)),
	      0);
	peer = rumpel_kernel_init(world->peer);
	EQUAL(guest_call(peer, SYS_sendto, udp(peer), ptr(&byte), 1, 0, ptr(&here), sizeof(here)),
	      1);
	while (guest_call(world->init, SYS_recvfrom, world->fd, ptr(&byte), 1, 0, 0, 0) != 1)
		;
}

static bool log_has(struct rumpel_kernel *kernel, const char *text)
{
	static char log[LOG_SIZE];
	uint64_t position = 0;
	size_t len = rumpel_log_read(kernel, &position, log, sizeof(log) - 1);

	CHECK(len);
	log[len] = 0;
	return strstr(log, text);
}

static void *call(void *task)
{
	return (void *)guest_call(task, SYS_getpid, 0);
}

static void spins_for_ever(void)
{
	struct world world;
	struct rumpel_task *task;
	pthread_t thread;
	char byte;
	void *result;

	set_up(&world, 600 * 1000 * 1000, NULL);
	EQUAL(rumpel_task_create(world.kernel, 0, &task), 0);
	world.kernel->lockup.limit = 300 * MS;
	/* Whether it comes before or while the other spins. */
	pthread_create(&thread, NULL, call, task);
	EQUAL(guest_call(world.init, SYS_recvfrom, world.fd, ptr(&byte), 1, 0, 0, 0),
	      -ENOTRECOVERABLE);
	pthread_join(thread, &result);
	CHECK((long)result == -ENOTRECOVERABLE || (long)result > 0);
	EQUAL(guest_call(task, SYS_getpid, 0), -ENOTRECOVERABLE);
	CHECK(log_has(world.kernel, "soft lockup"));
	/* The other kernel goes on. */
	EQUAL(guest_call(rumpel_kernel_init(world.peer), SYS_getpid, 0), 1);
	rumpel_kernel_free(world.kernel);
	guest_end(world.peer);
}

/* Again and again, longer than the limit together: each call that ends is progress. */
static void spins_for_a_while(void)
{
	struct world world;
	uint64_t end;
	char byte;

	set_up(&world, 20 * 1000, NULL);
	/* A busy host may keep one of them waiting in between. */
	world.kernel->lockup.limit = 800 * MS;
	end = host_now() + 2000 * MS;
	while (host_now() < end)
		EQUAL(guest_call(world.init, SYS_recvfrom, world.fd, ptr(&byte), 1, 0, 0, 0),
		      -EAGAIN);
	guest_end(world.kernel);
	guest_end(world.peer);
}

#define DISK (1 << 20)

static atomic_bool slow;

static void *serve(void *server)
{
	static char zeroes[DISK];
	struct rumpel_block_io io;

	while (rumpel_block_take(server, true, &io, 1) == 1) {
		while (slow)
			usleep(1000);
		rumpel_block_io_end(&io, zeroes, 0);
	}
	return NULL;
}

static long open_disk(struct rumpel_task *task)
{
	return guest_call(task, SYS_open, ptr("/dev/vda"), O_RDONLY, 0);
}

static void *read_disk(void *task)
{
	long fd = open_disk(task);
	char block[4096];

	CHECK(fd >= 0);
	EQUAL(guest_call(task, SYS_pread64, fd, ptr(block), sizeof(block), DISK / 2),
	      sizeof(block));
	return NULL;
}

static void spins_for_a_disk(void)
{
	struct rumpel_block_server *server;
	struct rumpel_device *disk;
	pthread_t serving, reading;
	struct rumpel_task *task;
	struct world world;
	uint64_t end;
	char byte;

	EQUAL(rumpel_block_served(DISK, 512, 0, NULL, NULL, &server, &disk), 0);
	pthread_create(&serving, NULL, serve, server);
	set_up(&world, 1000 * 1000, disk);
	if (open_disk(world.init) < 0) /* the profile has none */
		goto out;
	EQUAL(rumpel_task_create(world.kernel, 0, &task), 0);
	world.kernel->lockup.limit = 300 * MS;
	slow = true;
	pthread_create(&reading, NULL, read_disk, task);
	/* Until the disk has it. */
	while (!disk->ops->is_busy(disk))
		usleep(1000);
	end = host_now() + 900 * MS;
	EQUAL(guest_call(world.init, SYS_recvfrom, world.fd, ptr(&byte), 1, 0, 0, 0), -EAGAIN);
	CHECK(host_now() > end);
	slow = false;
	pthread_join(reading, NULL);
	rumpel_task_free(task);
out:
	guest_end(world.kernel);
	pthread_join(serving, NULL);
	rumpel_block_server_free(server);
	guest_end(world.peer);
}

int main(void)
{
	spins_for_ever();
	spins_for_a_while();
	spins_for_a_disk();
	return 0;
}
