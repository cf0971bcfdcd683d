// SPDX-License-Identifier: GPL-2.0-only
/*
 * NBD, the client's side. Requests of several threads are under way at a time, and
 * are answered in any order: one of the threads that wait reads the answers, for
 * all of them.
 */
#define _GNU_SOURCE
#include "nbd.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "queue.h"

/* Servers need not take more at once (proto.md, "Size constraints"). */
#define NBD_MOST (32u << 20)
#define NBD_CMD_WRITE_ZEROES 6
#define NBD_FLAG_NO_HOLE (1 << 1) /* of a command */
#define NBD_SENT_ZEROES (1 << 6) /* the server has WRITE_ZEROES */

struct call {
	struct call *next;
	uint64_t cookie;
	struct iovec *iov; /* for what is read */
	unsigned int count;
	bool done;
	int error;
};

struct rumpel_nbd {
	int fd;
	uint64_t size;
	unsigned int flags;
	pthread_mutex_t sending; /* whole requests */
	pthread_mutex_t lock; /* all below */
	pthread_cond_t answered;
	struct call *calls; /* that wait */
	uint64_t cookie;
	bool reading; /* some thread */
	bool dead;
};

int rumpel_nbd_open(int fd, uint64_t size, unsigned int flags, struct rumpel_nbd **nbd)
{
	struct rumpel_nbd *made = calloc(1, sizeof(*made));

	if (!made)
		return -ENOMEM;
	made->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (made->fd < 0) {
		free(made);
		return -errno;
	}
	made->size = size;
	made->flags = flags;
	pthread_mutex_init(&made->sending, NULL);
	pthread_mutex_init(&made->lock, NULL);
	pthread_cond_init(&made->answered, NULL);
	*nbd = made;
	return 0;
}

void rumpel_nbd_forked(struct rumpel_nbd *nbd)
{
	pthread_mutex_init(&nbd->sending, NULL);
	pthread_mutex_init(&nbd->lock, NULL);
	pthread_cond_init(&nbd->answered, NULL);
	nbd->dead = true;
	nbd->calls = NULL;
	if (nbd->fd >= 0)
		close(nbd->fd);
	nbd->fd = -1;
}

bool rumpel_nbd_is_read_only(const struct rumpel_nbd *nbd)
{
	return nbd->flags & NBD_FLAG_READ_ONLY;
}

bool rumpel_nbd_can_discard(const struct rumpel_nbd *nbd)
{
	return nbd->flags & NBD_FLAG_SEND_TRIM;
}

bool rumpel_nbd_can_zero(const struct rumpel_nbd *nbd)
{
	return nbd->flags & NBD_SENT_ZEROES;
}

/* All of it, or -EIO. */
static int move(int fd, struct iovec *iov, unsigned int count, bool send)
{
	ssize_t done;

	while (count) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };

		done = send ? sendmsg(fd, &message, MSG_NOSIGNAL) : recvmsg(fd, &message, 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -EIO;
		count = rumpel_iov_skip(&iov, count, done);
	}
	return 0;
}

/* ---- answers ---- */

/* Locked. All that wait have failed, and whoever comes will. */
static void give_up(struct rumpel_nbd *nbd)
{
	nbd->dead = true;
	for (; nbd->calls; nbd->calls = nbd->calls->next) {
		nbd->calls->error = -EIO;
		nbd->calls->done = true;
	}
}

/* What it says is the number of this error on Linux, for those that it may say. */
static int error_of(uint32_t said)
{
	switch (said) {
	case 0:
	case EPERM:
	case EIO:
	case ENOMEM:
	case EINVAL:
	case ENOSPC:
	case EOVERFLOW:
	case EOPNOTSUPP:
	case ESHUTDOWN:
		return -(int)said;
	}
	return -EIO;
}

/* Locked: takes it off the list. */
static struct call *take(struct rumpel_nbd *nbd, uint64_t cookie)
{
	struct call **at = &nbd->calls, *found;

	while (*at && (*at)->cookie != cookie)
		at = &(*at)->next;
	found = *at;
	if (found)
		*at = found->next;
	return found;
}

/* Not locked, but `reading`. Ends one call. */
static int receive(struct rumpel_nbd *nbd)
{
	struct nbd_reply reply;
	struct iovec iov = { &reply, sizeof(reply) };
	struct call *call;
	uint64_t cookie;
	int error = move(nbd->fd, &iov, 1, false);

	if (error || be32toh(reply.magic) != NBD_REPLY_MAGIC)
		return -EIO;
	memcpy(&cookie, &reply.handle, sizeof(cookie));
	pthread_mutex_lock(&nbd->lock);
	call = take(nbd, cookie);
	pthread_mutex_unlock(&nbd->lock);
	if (!call)
		return -EIO;
	call->error = error_of(be32toh(reply.error));
	if (!call->error)
		error = move(nbd->fd, call->iov, call->count, false);
	pthread_mutex_lock(&nbd->lock);
	if (error)
		call->error = error;
	call->done = true;
	pthread_mutex_unlock(&nbd->lock);
	return error;
}

static int wait_for(struct rumpel_nbd *nbd, struct call *call)
{
	int error;

	pthread_mutex_lock(&nbd->lock);
	while (!call->done) {
		if (nbd->reading) {
			pthread_cond_wait(&nbd->answered, &nbd->lock);
			continue;
		}
		nbd->reading = true;
		pthread_mutex_unlock(&nbd->lock);
		error = receive(nbd);
		pthread_mutex_lock(&nbd->lock);
		nbd->reading = false;
		if (error)
			give_up(nbd);
		pthread_cond_broadcast(&nbd->answered);
	}
	pthread_mutex_unlock(&nbd->lock);
	return call->error;
}

/* ---- requests ---- */

static int enlist(struct rumpel_nbd *nbd, struct call *call)
{
	int error = 0;

	pthread_mutex_lock(&nbd->lock);
	if (nbd->dead) {
		error = -EIO;
	} else {
		call->cookie = ++nbd->cookie;
		call->next = nbd->calls;
		nbd->calls = call;
	}
	pthread_mutex_unlock(&nbd->lock);
	return error;
}

/* `type` with flags above; `iov` is what is written, or has room for what is read. */
static int request(struct rumpel_nbd *nbd, uint32_t type, uint64_t offset, uint64_t len,
		   struct iovec *iov, unsigned int count)
{
	bool writes = type == NBD_CMD_WRITE;
	struct call call = { .iov = writes ? NULL : iov, .count = writes ? 0 : count };
	struct nbd_request header = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe32(type),
		.from = htobe64(offset),
		.len = htobe32(len),
	};
	struct iovec head = { &header, sizeof(header) };
	int error;

	if (offset > nbd->size || len > nbd->size - offset)
		return -EIO;
	error = enlist(nbd, &call);
	if (error)
		return error;
	memcpy(&header.handle, &call.cookie, sizeof(call.cookie));
	pthread_mutex_lock(&nbd->sending);
	error = move(nbd->fd, &head, 1, true);
	if (!error && writes)
		error = move(nbd->fd, iov, count, true);
	pthread_mutex_unlock(&nbd->sending);
	/* Half a request: nothing that follows would be understood. Who reads finds out. */
	if (error)
		shutdown(nbd->fd, SHUT_RDWR);
	return wait_for(nbd, &call);
}

int rumpel_nbd_transfer(struct rumpel_nbd *nbd, struct iovec *iov, unsigned int count,
			uint64_t offset, bool write)
{
	uint64_t len = 0;

	for (unsigned int i = 0; i < count; i++)
		len += iov[i].iov_len;
	if (len > NBD_MOST)
		return -EINVAL;
	return len ? request(nbd, write ? NBD_CMD_WRITE : NBD_CMD_READ, offset, len, iov, count)
		   : 0;
}

int rumpel_nbd_flush(struct rumpel_nbd *nbd)
{
	if (!(nbd->flags & NBD_FLAG_SEND_FLUSH) || rumpel_nbd_is_read_only(nbd))
		return 0;
	return request(nbd, NBD_CMD_FLUSH, 0, 0, NULL, 0);
}

int rumpel_nbd_discard(struct rumpel_nbd *nbd, uint64_t offset, uint64_t len)
{
	int error;

	if (!rumpel_nbd_can_discard(nbd))
		return 0;
	error = request(nbd, NBD_CMD_TRIM, offset, len, NULL, 0);
	/* A hint: whoever cannot keep less has lost nothing. */
	return error == -EOPNOTSUPP ? 0 : error;
}

int rumpel_nbd_zero(struct rumpel_nbd *nbd, uint64_t offset, uint64_t len, bool unmap)
{
	uint32_t flags = unmap ? 0 : NBD_FLAG_NO_HOLE << 16;

	if (!rumpel_nbd_can_zero(nbd))
		return -EOPNOTSUPP;
	return request(nbd, NBD_CMD_WRITE_ZEROES | flags, offset, len, NULL, 0);
}

/* Says goodbye: the server flushes, and closes its end when it has. */
void rumpel_nbd_free(struct rumpel_nbd *nbd)
{
	struct nbd_request header = {
		.magic = htobe32(NBD_REQUEST_MAGIC),
		.type = htobe32(NBD_CMD_DISC),
	};
	struct iovec head = { &header, sizeof(header) };

	if (nbd->fd >= 0) {
		if (!nbd->dead)
			move(nbd->fd, &head, 1, true);
		close(nbd->fd);
	}
	pthread_mutex_destroy(&nbd->sending);
	pthread_mutex_destroy(&nbd->lock);
	pthread_cond_destroy(&nbd->answered);
	free(nbd);
}
