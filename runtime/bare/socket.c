// SPDX-License-Identifier: GPL-2.0-only
/* Sockets of the host, and masks of signals, with the signatures of its C library. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bare.h"

static long result_of(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

#define call(nr, ...) result_of(bare_syscall(nr, ##__VA_ARGS__))

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	return call(SYS_recvfrom, fd, data, size, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	return call(SYS_recvmsg, fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return call(SYS_sendmsg, fd, message, flags);
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
	     struct timespec *timeout)
{
	return (int)call(SYS_recvmmsg, fd, messages, count, flags, timeout);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	return (int)call(SYS_sendmmsg, fd, messages, count, flags);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	return (int)call(SYS_bind, fd, address, len);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return (int)call(SYS_connect, fd, address, len);
}

int getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
	return (int)call(SYS_getsockname, fd, address, len);
}

int getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
	return (int)call(SYS_getsockopt, fd, level, option, value, len);
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
	return (int)call(SYS_setsockopt, fd, level, option, value, len);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	return (int)call(SYS_accept4, fd, address, len, flags);
}

int shutdown(int fd, int how)
{
	return (int)call(SYS_shutdown, fd, how);
}

int unlink(const char *path)
{
	return (int)call(SYS_unlink, path);
}

struct cmsghdr *__cmsg_nxthdr(struct msghdr *message, struct cmsghdr *header)
{
	char *end = (char *)message->msg_control + message->msg_controllen;
	char *next = (char *)header + CMSG_ALIGN(header->cmsg_len);

	if (header->cmsg_len < sizeof(*header) || next + sizeof(*header) > end)
		return NULL;
	return (struct cmsghdr *)next;
}

int sigfillset(sigset_t *set)
{
	memset(set, 0xff, sizeof(*set));
	return 0;
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return (int)-bare_syscall(SYS_rt_sigprocmask, how, set, old, 8);
}
