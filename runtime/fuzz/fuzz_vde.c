// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hostile switches: what answers a request for a port (net_vde.c) sends anything,
 * of any length, or nothing. fuzz_vde ITERATIONS SEED. Each ends with an interface
 * or an error, and leaves neither a descriptor nor a socket in the file system.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../tests/fake.h"
#include "../virtio/net_fd.h"

#define DIRECTORY_SIZE 64

struct toy_switch {
	char directory[DIRECTORY_SIZE];
	struct sockaddr_un control, port;
	int listener;
	unsigned int iterations;
	struct random_data random;
	char state[64];
};

static unsigned int pick(struct toy_switch *toy, unsigned int below)
{
	int32_t number;

	random_r(&toy->random, &number);
	return (unsigned int)number % below;
}

static size_t make_answer(struct toy_switch *toy, unsigned char *answer, size_t size)
{
	struct sockaddr_un *port = (struct sockaddr_un *)answer;
	size_t len = sizeof(*port);

	for (size_t i = 0; i < size; i++)
		answer[i] = (unsigned char)pick(toy, 256);
	switch (pick(toy, 6)) {
	case 0: /* an honest one */
		*port = toy->port;
		break;
	case 1: /* a name without an end */
		memset(port->sun_path, 'x', sizeof(port->sun_path));
		port->sun_family = AF_UNIX;
		break;
	case 2: /* honest, but for one byte */
		*port = toy->port;
		answer[pick(toy, sizeof(*port))] ^= (unsigned char)(1 + pick(toy, 255));
		break;
	case 3: /* the length */
		*port = toy->port;
		len = pick(toy, (unsigned int)size);
		break;
	case 4: /* an abstract name */
		port->sun_family = AF_UNIX;
		port->sun_path[0] = 0;
		break;
	default:
		len = pick(toy, (unsigned int)size);
	}
	return len;
}

static void *serve(void *argument)
{
	struct toy_switch *toy = argument;
	unsigned char request[512], answer[256];

	for (unsigned int i = 0; i < toy->iterations; i++) {
		int peer = accept(toy->listener, NULL, NULL);
		size_t len = make_answer(toy, answer, sizeof(answer));

		if (pick(toy, 8) && recv(peer, request, sizeof(request), 0) > 0)
			send(peer, answer, len, MSG_NOSIGNAL);
		close(peer);
	}
	return NULL;
}

static unsigned int entries(const char *path)
{
	DIR *directory = opendir(path);
	unsigned int count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static int bound(struct sockaddr_un *address, const char *directory, const char *name, int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", directory, name);
	EQUAL(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct toy_switch toy = { .directory = "/tmp/rumpel-fuzz-XXXXXX" };
	struct rumpel_device *device;
	unsigned int good = 0, files, descriptors;
	pthread_t thread;
	int port;

	if (argc != 3) {
		fprintf(stderr, "usage: fuzz_vde ITERATIONS SEED\n");
		return 2;
	}
	toy.iterations = (unsigned int)atoi(argv[1]);
	initstate_r((unsigned int)atoi(argv[2]), toy.state, sizeof(toy.state), &toy.random);
	if (!mkdtemp(toy.directory))
		return 1;
	port = bound(&toy.port, toy.directory, "port", SOCK_DGRAM);
	toy.listener = bound(&toy.control, toy.directory, "ctl", SOCK_STREAM);
	EQUAL(listen(toy.listener, 8), 0);
	files = entries(toy.directory);
	descriptors = entries("/proc/self/fd");
	pthread_create(&thread, NULL, serve, &toy);
	for (unsigned int i = 0; i < toy.iterations; i++) {
		int error = rumpel_net_vde(toy.directory, i % 256, "fuzz", NULL, 0, &device);

		if (!error) {
			good++;
			rumpel_device_free(device);
		} else if (error > 0) {
			fprintf(stderr, "fuzz_vde: input %u: %d\n", i, error);
			return 1;
		}
	}
	pthread_join(thread, NULL);
	EQUAL(entries(toy.directory), files);
	EQUAL(entries("/proc/self/fd"), descriptors);
	/* Some get through, or nothing was tried. */
	EQUAL(toy.iterations < 100 || good > 0, true);
	close(port);
	close(toy.listener);
	unlink(toy.port.sun_path);
	unlink(toy.control.sun_path);
	rmdir(toy.directory);
	return 0;
}
