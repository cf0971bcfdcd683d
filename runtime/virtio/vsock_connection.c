// SPDX-License-Identifier: GPL-2.0-only
/* A vsock connection: its state, its credit (VIRTIO 1.2, 5.10.6.3) and its bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "vsock.h"

static struct vsock_connection **bucket(struct vsock *vsock, uint32_t guest_port)
{
	return &vsock->buckets[guest_port % VSOCK_BUCKETS];
}

static void link_in(struct vsock_connection *connection)
{
	struct vsock_connection **at = bucket(connection->vsock, connection->guest_port);

	connection->next = *at;
	*at = connection;
}

static void take_out(struct vsock_connection *connection)
{
	struct vsock_connection **at = bucket(connection->vsock, connection->guest_port);

	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
}

struct vsock_connection *vsock_add(struct vsock *vsock, enum vsock_state state, int fd,
				   uint32_t host_port, uint32_t guest_port)
{
	struct vsock_connection *connection = NULL;

	if (vsock->count < VSOCK_CONNECTIONS)
		connection = calloc(1, sizeof(*connection));
	if (!connection) {
		close(fd);
		return NULL;
	}
	connection->vsock = vsock;
	connection->state = state;
	connection->fd = fd;
	connection->host_port = host_port;
	connection->guest_port = guest_port;
	vsock->count++;
	link_in(connection);
	vsock_host_watch(vsock, fd, connection);
	return connection;
}

struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_connection *at = *bucket(vsock, guest_port);

	while (at && (at->host_port != host_port || at->guest_port != guest_port ||
		      (at->state != VSOCK_ASKED && at->state != VSOCK_OPEN)))
		at = at->next;
	return at;
}

void vsock_rename(struct vsock_connection *connection, uint32_t host_port, uint32_t guest_port)
{
	take_out(connection);
	connection->host_port = host_port;
	connection->guest_port = guest_port;
	link_in(connection);
}

void vsock_wait(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;

	if (connection->waits)
		return;
	connection->waits = true;
	connection->next_waiting = NULL;
	*vsock->waiting_tail = connection;
	vsock->waiting_tail = &connection->next_waiting;
}

static void wait_no_more(struct vsock_connection *connection)
{
	struct vsock *vsock = connection->vsock;
	struct vsock_connection **at = &vsock->waiting;

	if (!connection->waits)
		return;
	while (*at != connection)
		at = &(*at)->next_waiting;
	*at = connection->next_waiting;
	if (vsock->waiting_tail == &connection->next_waiting)
		vsock->waiting_tail = at;
	connection->waits = false;
}

void vsock_remove(struct vsock_connection *connection)
{
	wait_no_more(connection);
	take_out(connection);
	vsock_host_drop(connection);
	connection->vsock->count--;
	free(connection->buffer);
	free(connection);
}

void vsock_leave(struct vsock_connection *connection)
{
	wait_no_more(connection);
	connection->owes = 0;
	connection->state = VSOCK_FLUSHING;
	vsock_flush(connection);
}

static void owe(struct vsock_connection *connection, enum vsock_owed what)
{
	connection->owes |= what;
	vsock_wait(connection);
}

/* Says that bytes in these directions are over. */
static void shut(struct vsock_connection *connection, uint32_t flags)
{
	if ((connection->shut | flags) == connection->shut)
		return;
	connection->shut |= flags;
	owe(connection, VSOCK_OWES_SHUTDOWN);
}

/* ---- from the driver ---- */

bool vsock_response(struct vsock_connection *connection)
{
	if (connection->state != VSOCK_ASKED || (connection->owes & VSOCK_OWES_REQUEST))
		return false;
	connection->state = VSOCK_OPEN;
	return vsock_host_welcome(connection);
}

/* Bytes, of an open connection; what the host's program will never read counts as sent. */
static size_t send_some(struct vsock_connection *connection, struct iovec *iov, unsigned int count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t len = -1;
	size_t all = 0;

	for (unsigned int i = 0; i < count; i++)
		all += iov[i].iov_len;
	if (connection->fd < 0)
		return all;
	if (!connection->writable)
		return 0;
	len = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (len >= 0)
		return len;
	if (errno == EINTR)
		return 0;
	if (errno == EAGAIN) {
		connection->writable = false;
		return 0;
	}
	shut(connection, VIRTIO_VSOCK_SHUTDOWN_RCV);
	return all;
}

static void forwarded(struct vsock_connection *connection, size_t len)
{
	connection->forwarded += len;
	if (connection->forwarded - connection->told >= VSOCK_BUFFER / 2 &&
	    connection->state == VSOCK_OPEN)
		owe(connection, VSOCK_OWES_CREDIT);
}

static void keep(struct vsock_connection *connection, const struct iovec *iov, unsigned int count,
		 size_t len)
{
	size_t at = connection->received % VSOCK_BUFFER;
	size_t first = len < VSOCK_BUFFER - at ? len : VSOCK_BUFFER - at;

	rumpel_iov_read(iov, count, 0, connection->buffer + at, first);
	rumpel_iov_read(iov, count, first, connection->buffer, len - first);
	connection->received += len;
}

bool vsock_payload(struct vsock_connection *connection, struct iovec *iov, unsigned int count,
		   size_t len)
{
	size_t done = 0;

	if (connection->state != VSOCK_OPEN ||
	    (connection->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
	    len > VSOCK_BUFFER - (connection->received - connection->forwarded))
		return false;
	if (!connection->buffer && len) {
		done = send_some(connection, iov, count);
		connection->received += done;
		forwarded(connection, done);
		count = rumpel_iov_skip(&iov, count, done);
	}
	if (done == len)
		return true;
	if (!connection->buffer)
		connection->buffer = malloc(VSOCK_BUFFER);
	if (!connection->buffer)
		return false;
	keep(connection, iov, count, len - done);
	return true;
}

void vsock_flush(struct vsock_connection *connection)
{
	while (connection->received != connection->forwarded) {
		size_t at = connection->forwarded % VSOCK_BUFFER;
		size_t len = connection->received - connection->forwarded;
		struct iovec iov;

		if (len > VSOCK_BUFFER - at)
			len = VSOCK_BUFFER - at;
		iov = (struct iovec){ connection->buffer + at, len };
		len = send_some(connection, &iov, 1);
		if (!len)
			return;
		forwarded(connection, len);
	}
	free(connection->buffer);
	connection->buffer = NULL;
	if (connection->state == VSOCK_FLUSHING)
		vsock_remove(connection);
	else if ((connection->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) && connection->fd >= 0)
		shutdown(connection->fd, SHUT_WR);
}

bool vsock_shutdown(struct vsock_connection *connection, uint32_t flags)
{
	if (connection->state != VSOCK_OPEN)
		return false;
	connection->guest_shut |= flags & VSOCK_BOTH;
	if ((connection->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) && connection->fd >= 0)
		shutdown(connection->fd, SHUT_RD);
	vsock_flush(connection);
	return true;
}

/* What the driver has room for. */
static uint32_t credit(const struct vsock_connection *connection)
{
	uint32_t under_way = connection->sent - connection->guest_forwarded;

	return under_way < connection->guest_room ? connection->guest_room - under_way : 0;
}

void vsock_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header)
{
	connection->guest_room = header->buf_alloc;
	connection->guest_forwarded = header->fwd_cnt;
	if (connection->readable && credit(connection))
		vsock_wait(connection);
}

/* ---- to the driver ---- */

/* Bytes that were read; 0: none, but there may be something to say. */
static size_t receive(struct vsock_connection *connection, struct iovec *iov, unsigned int count,
		      size_t room)
{
	ssize_t len;

	if (!connection->readable || connection->fd < 0)
		return 0;
	if (connection->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		if (connection->hup)
			shut(connection, VSOCK_BOTH);
		return 0;
	}
	if (room > credit(connection))
		room = credit(connection);
	if (!room)
		return 0;
	count = rumpel_iov_trim(iov, count, room);
	len = readv(connection->fd, iov, count);
	if (len > 0)
		return len;
	if (len < 0 && errno == EINTR)
		return 0;
	connection->readable = false;
	if (len < 0 && errno == EAGAIN)
		return 0;
	/* Its end, or of all of it; an error is that it went away without reading. */
	shut(connection, connection->hup || len < 0 ? VSOCK_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (connection->shut == VSOCK_BOTH) {
		vsock_host_drop(connection);
		vsock_flush(connection);
	}
	return 0;
}

static uint16_t next_owed(struct vsock_connection *connection)
{
	static const struct {
		unsigned int owed;
		uint16_t op;
	} order[] = {
		{ VSOCK_OWES_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ VSOCK_OWES_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		{ VSOCK_OWES_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
		{ VSOCK_OWES_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
	};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (!(connection->owes & order[i].owed))
			continue;
		connection->owes &= ~order[i].owed;
		return order[i].op;
	}
	return VIRTIO_VSOCK_OP_INVALID;
}

ssize_t vsock_produce(struct vsock_connection *connection, struct virtio_vsock_hdr *header,
		      struct iovec *iov, unsigned int count, size_t room)
{
	const unsigned int first = VSOCK_OWES_REQUEST | VSOCK_OWES_RESPONSE;
	size_t len = 0;
	uint16_t op;

	/* Bytes go before the end that was found behind them. */
	if (connection->state == VSOCK_OPEN && !(connection->owes & first))
		len = receive(connection, iov, count, room);
	op = len ? VIRTIO_VSOCK_OP_RW : next_owed(connection);
	if (op == VIRTIO_VSOCK_OP_INVALID) {
		wait_no_more(connection);
		return -EAGAIN;
	}
	connection->sent += len;
	connection->told = connection->forwarded;
	connection->owes &= ~VSOCK_OWES_CREDIT;
	*header = (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST,
		.dst_cid = connection->vsock->config.guest_cid,
		.src_port = connection->host_port,
		.dst_port = connection->guest_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? connection->shut : 0,
		.buf_alloc = VSOCK_BUFFER,
		.fwd_cnt = connection->forwarded,
	};
	/* The others get their turn. */
	wait_no_more(connection);
	vsock_wait(connection);
	return len;
}
