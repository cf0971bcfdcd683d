// SPDX-License-Identifier: GPL-2.0-only
/* The host's end of vsock connections: unix sockets, and how they find each other. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vsock.h"

#define BACKLOG 128
#define GREETING_MAX 32u
/* The host's ports of connections that its programs make: above those anyone listens to. */
#define FIRST_PORT (1u << 30)
#define PORT_ANY 0xffffffffu

/*
 * By edges: an edge that was seen is remembered until the socket says EAGAIN, so
 * what is asked for need never change. A copy of a descriptor in another process
 * keeps the registration, so it is taken back before the connection goes.
 */
void vsock_host_watch(struct vsock *vsock, int fd, struct vsock_connection *connection)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = connection,
	};

	epoll_ctl(vsock->watch.fd, EPOLL_CTL_ADD, fd, &event);
}

void vsock_host_drop(struct vsock_connection *connection)
{
	if (connection->fd < 0)
		return;
	epoll_ctl(connection->vsock->watch.fd, EPOLL_CTL_DEL, connection->fd, NULL);
	close(connection->fd);
	connection->fd = -1;
	connection->readable = connection->writable = false;
}

int vsock_host_open(struct vsock *vsock, const char *path)
{
	socklen_t len;
	int error = rumpel_unix_address(path, &vsock->address, &len);

	if (error)
		return error;
	/* Room for "_port". */
	if (strlen(path) + 11 >= sizeof(vsock->address.sun_path))
		return -ENAMETOOLONG;
	vsock->path = strdup(path);
	vsock->watch.fd = epoll_create1(EPOLL_CLOEXEC);
	if (!vsock->path || vsock->watch.fd < 0)
		return vsock->path ? -errno : -ENOMEM;
	vsock->listener = rumpel_unix_bind(SOCK_STREAM, &vsock->address, len);
	if (vsock->listener < 0)
		return vsock->listener;
	if (listen(vsock->listener, BACKLOG) < 0)
		return -errno;
	vsock_host_watch(vsock, vsock->listener, NULL);
	return 0;
}

void vsock_host_close(struct vsock *vsock)
{
	if (vsock->listener >= 0) {
		close(vsock->listener);
		rumpel_unix_unlink(&vsock->address);
	}
	if (vsock->watch.fd >= 0)
		close(vsock->watch.fd);
	free(vsock->path);
}

void vsock_host_accept(struct vsock *vsock)
{
	struct vsock_connection *connection;
	int fd;

	while ((fd = accept4(vsock->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		connection = vsock_add(vsock, VSOCK_GREETING, fd, 0, 0);
		if (!connection)
			rumpel_virtio_count(&vsock->virtio.stats.dropped, 1);
		else
			vsock_host_greet(connection);
	}
}

int vsock_host_connect(struct vsock *vsock, uint32_t port)
{
	char path[sizeof(vsock->address.sun_path)];
	struct sockaddr_un address;
	socklen_t len;
	int fd, error;

	snprintf(path, sizeof(path), "%s_%u", vsock->path, port);
	error = rumpel_unix_address(path, &address, &len);
	fd = error ? error : rumpel_unix_socket(SOCK_STREAM);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)&address, len) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* "CONNECT 1024": the port, or PORT_ANY. */
static uint32_t parse(const char *line)
{
	unsigned long long port;
	char *end;

	if (strncmp(line, "CONNECT ", 8) != 0 || line[8] < '0' || line[8] > '9')
		return PORT_ANY;
	errno = 0;
	port = strtoull(line + 8, &end, 10);
	return errno || *end || port > PORT_ANY ? PORT_ANY : port;
}

bool vsock_host_greet(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;
	char line[GREETING_MAX + 1];
	char *end = NULL;
	uint32_t port;
	ssize_t len;

	/* What comes after the line is for the kernel. */
	len = recv(connection->fd, line, GREETING_MAX, MSG_PEEK);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (len > 0)
		end = memchr(line, '\n', len);
	if (len > 0 && !end && len < GREETING_MAX)
		return true;
	if (!end || recv(connection->fd, line, end - line + 1, 0) < 0) {
		vsock_remove(connection);
		return false;
	}
	*end = '\0';
	port = parse(line);
	if (port == PORT_ANY) {
		vsock_remove(connection);
		return false;
	}
	do {
		vsock->last_port = vsock->last_port < FIRST_PORT || vsock->last_port == PORT_ANY - 1
					   ? FIRST_PORT
					   : vsock->last_port + 1;
	} while (vsock_find(vsock, vsock->last_port, port));
	vsock_rename(connection, vsock->last_port, port);
	connection->state = VSOCK_ASKED;
	connection->owes = VSOCK_OWES_REQUEST;
	vsock_wait(connection);
	return true;
}

bool vsock_host_welcome(struct vsock_connection *connection)
{
	char line[GREETING_MAX];
	int len = snprintf(line, sizeof(line), "OK %u\n", connection->host_port);

	return send(connection->fd, line, len, MSG_NOSIGNAL) == len;
}
