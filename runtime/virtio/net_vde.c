// SPDX-License-Identifier: GPL-2.0-only
/*
 * A port of a VDE switch (vde_switch(1)). One connects to the switch's control
 * socket, says where one's datagram socket is, and is told where the port's is;
 * then each datagram is a frame. The port exists as long as the connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net_fd.h"

#define VDE_MAGIC 0xfeedface
#define VDE_VERSION 3
#define VDE_NEW_PORT 0 /* with the port's number in the bits above 8; 0: any */
#define VDE_PORT_MAX 255
#define VDE_PATIENCE_MS 5000

struct vde_request {
	uint32_t magic, version, type;
	struct sockaddr_un socket;
	char description[128];
} __attribute__((packed));

/* The name of the switch is that of a directory, or of the control socket in it. */
static int vde_control(const char *path, struct sockaddr_un *address)
{
	char name[sizeof(address->sun_path) + 8];
	socklen_t len;
	int fd, error;

	if (snprintf(name, sizeof(name), "%s/ctl", path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	if (access(name, F_OK))
		name[strlen(path)] = '\0';
	error = rumpel_unix_address(name, address, &len);
	if (error)
		return error;
	fd = rumpel_unix_socket(SOCK_STREAM);
	if (fd >= 0 && connect(fd, (struct sockaddr *)address, len) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* A socket that the switch can reach: beside its own, or where everybody may write. */
static int vde_bind(const struct sockaddr_un *control, struct sockaddr_un *own)
{
	static unsigned int count; /* atomic: no name twice */
	const char *end = strrchr(control->sun_path, '/');
	unsigned int number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
	int size = end ? (int)(end - control->sun_path) : 1, fd;
	char name[sizeof(own->sun_path)];
	socklen_t len;

	if (snprintf(name, sizeof(name), "%.*s/.rumpel-%d-%u", size, end ? control->sun_path : ".",
		     getpid(), number) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	rumpel_unix_address(name, own, &len);
	fd = rumpel_unix_bind(SOCK_DGRAM, own, len);
	if (fd != -EACCES)
		return fd;
	snprintf(name, sizeof(name), "/tmp/.rumpel-%d-%u", getpid(), number);
	rumpel_unix_address(name, own, &len);
	return rumpel_unix_bind(SOCK_DGRAM, own, len);
}

/* Asks for a port; *port: where its socket is. */
static int vde_ask(int control, unsigned int number, const char *description,
		   const struct sockaddr_un *own, struct sockaddr_un *port)
{
	struct vde_request request = {
		.magic = VDE_MAGIC,
		.version = VDE_VERSION,
		.type = VDE_NEW_PORT | number << 8,
		.socket = *own,
	};
	struct pollfd answer = { .fd = control, .events = POLLIN };
	ssize_t len;

	strncpy(request.description, description, sizeof(request.description) - 1);
	if (send(control, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		return -EPROTO;
	if (poll(&answer, 1, VDE_PATIENCE_MS) <= 0)
		return -ETIMEDOUT;
	len = recv(control, port, sizeof(*port), 0);
	port->sun_path[sizeof(port->sun_path) - 1] = '\0';
	return len == sizeof(*port) && port->sun_family == AF_UNIX ? 0 : -EPROTO;
}

int rumpel_net_vde(const char *path, unsigned int port, const char *description,
		   const uint8_t mac[6], unsigned int mtu, struct rumpel_device **device)
{
	struct sockaddr_un address = { 0 }, own = { 0 }, peer;
	int control, socket, error;
	struct net_fd *fd;

	if (port > VDE_PORT_MAX)
		return -EINVAL;
	control = vde_control(path, &address);
	if (control < 0)
		return control;
	socket = vde_bind(&address, &own);
	error = socket < 0 ? socket : vde_ask(control, port, description, &own, &peer);
	if (!error && connect(socket, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		error = -errno;
	if (error && socket >= 0)
		close(socket);
	if (!error)
		error = net_fd_create(socket, mac, mtu, &fd);
	if (error) {
		close(control);
		if (socket >= 0)
			rumpel_unix_unlink(&own);
		return error;
	}
	fd->local = true;
	fd->local_name = own;
	fd->control.fd = control;
	fd->control.events = POLLIN;
	*device = &fd->net.virtio.device;
	return 0;
}
