// SPDX-License-Identifier: GPL-2.0-only
/* Unix sockets and their names (unix(7)). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unix.h"

int rumpel_unix_address(const char *path, struct sockaddr_un *address, socklen_t *len)
{
	size_t size = strlen(path);

	if (!size)
		return -EINVAL;
	if (size >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, path, size);
	*len = offsetof(struct sockaddr_un, sun_path) + size;
	if (*path == '@')
		address->sun_path[0] = '\0';
	else
		++*len;
	return 0;
}

int rumpel_unix_socket(int type)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* Is it a socket's name that nobody answers to? */
static bool is_left_behind(int type, const struct sockaddr_un *address, socklen_t len)
{
	struct stat stat;
	bool refused;
	int fd;

	if (!address->sun_path[0] || lstat(address->sun_path, &stat) || !S_ISSOCK(stat.st_mode))
		return false;
	fd = rumpel_unix_socket(type);
	if (fd < 0)
		return false;
	refused = connect(fd, (const struct sockaddr *)address, len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

int rumpel_unix_bind(int type, const struct sockaddr_un *address, socklen_t len)
{
	int fd = rumpel_unix_socket(type), error;

	if (fd < 0)
		return fd;
	error = bind(fd, (const struct sockaddr *)address, len) < 0 ? -errno : 0;
	if (error == -EADDRINUSE && is_left_behind(type, address, len)) {
		rumpel_unix_unlink(address);
		error = bind(fd, (const struct sockaddr *)address, len) < 0 ? -errno : 0;
	}
	if (!error)
		return fd;
	close(fd);
	return error;
}

void rumpel_unix_unlink(const struct sockaddr_un *address)
{
	if (address->sun_path[0])
		unlink(address->sun_path);
}
