// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into a program of the host: its netlink sockets are those of a
 * library kernel, whose process relays the messages (rumpel.net.relay).
 *
 * Programs rely on netlink answering within the call that asks: what sends
 * here returns when the answer is there. For each socket there are two pairs.
 * The program has one end of the first, of packets, so it can wait for it as
 * for any descriptor; what it sends goes over the second, a stream, to the
 * relay. The answers are put into the first, as many as fit, and more when it
 * has read those. In the stream each message has its length before it, and an
 * answer ends with a length of 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CONTROL "RUMPEL_NETLINK"
#define DESCRIPTORS 1024

/* Of the program's sockets, by descriptor. */
static struct netlink {
	int in; /* the other end of what the program has */
	int relay; /* to the relay; 0 if this is none of ours */
	unsigned int port;
	unsigned int more; /* answers that are not complete yet */
	char *held; /* a message for which there was no room */
	unsigned int size; /* of it */
} table[DESCRIPTORS];

static struct netlink *find(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && table[fd].relay ? &table[fd] : NULL;
}

static ssize_t send_plain(int fd, const void *data, size_t size, int flags)
{
	return syscall(SYS_sendto, fd, data, size, flags | MSG_NOSIGNAL, NULL, 0);
}

/* Give the relay one end of a pair, and say for which protocol. */
static int hand_over(int control, int end, int protocol)
{
	char room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &protocol, sizeof(protocol) };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = room,
				  .msg_controllen = sizeof(room) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &end, sizeof(int));
	return syscall(SYS_sendmsg, control, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int open_netlink(int control, int type, int protocol)
{
	int program[2], relay[2], answer[2];
	struct netlink *own;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | (type & (SOCK_CLOEXEC | SOCK_NONBLOCK)), 0,
		       program))
		return -1;
	if (program[0] >= DESCRIPTORS ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, relay)) {
		errno = EMFILE;
		goto program;
	}
	/* The answer to this is an error, or the number of the socket's port. */
	if (hand_over(control, relay[1], protocol) ||
	    syscall(SYS_recvfrom, relay[0], answer, sizeof(answer), 0, NULL, NULL) !=
		    sizeof(answer)) {
		errno = EIO;
		goto relay;
	}
	if (answer[0]) {
		errno = answer[0];
		goto relay;
	}
	syscall(SYS_close, relay[1]);
	fcntl(program[1], F_SETFL, O_NONBLOCK);
	own = &table[program[0]];
	*own = (struct netlink){ .in = program[1], .relay = relay[0], .port = answer[1] };
	return program[0];
relay:
	syscall(SYS_close, relay[0]);
	syscall(SYS_close, relay[1]);
program:
	syscall(SYS_close, program[0]);
	syscall(SYS_close, program[1]);
	return -1;
}

EXPORT int socket(int domain, int type, int protocol)
{
	const char *control = domain == AF_NETLINK ? getenv(CONTROL) : NULL;

	if (control)
		return open_netlink(atoi(control), type, protocol);
	return syscall(SYS_socket, domain, type, protocol);
}

static void drop(struct netlink *own)
{
	free(own->held);
	own->held = NULL;
}

/* No more answers will come: who reads finds the end. */
static int lost(struct netlink *own)
{
	drop(own);
	own->more = 0;
	shutdown(own->in, SHUT_RDWR);
	errno = ECONNRESET;
	return -1;
}

static int read_all(int fd, void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = syscall(SYS_recvfrom, fd, (char *)data + done, size - done,
				      MSG_WAITALL, NULL, NULL);

		if (got <= 0 && !(got < 0 && errno == EINTR))
			return -1;
		done += got > 0 ? got : 0;
	}
	return 0;
}

/* Have the next message of an answer, or find out that there is none. */
static int next(struct netlink *own)
{
	if (own->held)
		return 0;
	if (read_all(own->relay, &own->size, sizeof(own->size)))
		return -1;
	if (!own->size) {
		own->more--;
		return 0;
	}
	own->held = malloc(own->size);
	return own->held ? read_all(own->relay, own->held, own->size) : -1;
}

/*
 * Put answers where the program reads them, until there is no room or no more.
 * Done again whenever it has read one, so that it never finds nothing while
 * there is more.
 */
static int refill(struct netlink *own)
{
	while (own->more) {
		if (next(own))
			return lost(own);
		if (!own->held)
			continue;
		if (send_plain(own->in, own->held, own->size, MSG_DONTWAIT) < 0)
			return errno == EAGAIN ? 0 : lost(own);
		drop(own);
	}
	return 0;
}

static int write_all(int fd, const void *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t put = send_plain(fd, (const char *)data + done, size - done, 0);

		if (put < 0 && errno != EINTR)
			return -1;
		done += put > 0 ? put : 0;
	}
	return 0;
}

static ssize_t request(struct netlink *own, const struct iovec *parts, size_t count)
{
	unsigned int size = 0;

	for (size_t i = 0; i < count; i++)
		size += parts[i].iov_len;
	if (write_all(own->relay, &size, sizeof(size)))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (write_all(own->relay, parts[i].iov_base, parts[i].iov_len))
			return -1;
	own->more++;
	return refill(own) ? -1 : (ssize_t)size;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct netlink *own = find(fd);

	if (own)
		return request(own, message->msg_iov, message->msg_iovlen);
	return syscall(SYS_sendmsg, fd, message, flags);
}

EXPORT ssize_t sendto(int fd, const void *data, size_t size, int flags,
		      const struct sockaddr *address, socklen_t length)
{
	struct netlink *own = find(fd);

	if (own)
		return request(own, &(struct iovec){ (void *)data, size }, 1);
	return syscall(SYS_sendto, fd, data, size, flags, address, length);
}

EXPORT ssize_t send(int fd, const void *data, size_t size, int flags)
{
	return sendto(fd, data, size, flags, NULL, 0);
}

/* Whatever comes, comes from the kernel. */
static void from_kernel(void *name, socklen_t *length)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	size_t room = *length < sizeof(kernel) ? *length : sizeof(kernel);

	if (name)
		memcpy(name, &kernel, room);
	*length = name ? sizeof(kernel) : 0;
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct netlink *own = find(fd);
	socklen_t length = message->msg_namelen;
	ssize_t size;

	size = syscall(SYS_recvmsg, fd, message, flags);
	if (own && size >= 0) {
		refill(own);
		message->msg_namelen = length;
		from_kernel(message->msg_name, &message->msg_namelen);
	}
	return size;
}

EXPORT ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *address,
			socklen_t *length)
{
	struct netlink *own = find(fd);
	ssize_t got;

	if (!own)
		return syscall(SYS_recvfrom, fd, data, size, flags, address, length);
	got = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
	if (got >= 0)
		refill(own);
	if (got >= 0 && length)
		from_kernel(address, length);
	return got;
}

EXPORT ssize_t recv(int fd, void *data, size_t size, int flags)
{
	return recvfrom(fd, data, size, flags, NULL, NULL);
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	if (!find(fd))
		return syscall(SYS_bind, fd, address, length);
	/* It has a port already; events are not relayed. */
	if (length >= sizeof(struct sockaddr_nl) &&
	    ((const struct sockaddr_nl *)address)->nl_groups) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return 0;
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
	struct netlink *own = find(fd);

	if (!own)
		return syscall(SYS_getsockname, fd, address, length);
	from_kernel(address, length);
	if (*length >= sizeof(struct sockaddr_nl))
		((struct sockaddr_nl *)address)->nl_pid = own->port;
	return 0;
}

EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
	/* Of the options of netlink none matters to those who only ask. */
	if (level == SOL_NETLINK && find(fd))
		return 0;
	return syscall(SYS_setsockopt, fd, level, option, value, length);
}

EXPORT int close(int fd)
{
	struct netlink *own = find(fd);

	if (own) {
		drop(own);
		syscall(SYS_close, own->in);
		syscall(SYS_close, own->relay);
		*own = (struct netlink){ 0 };
	}
	return syscall(SYS_close, fd);
}
