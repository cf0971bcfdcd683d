/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * virtio-vsock (VIRTIO 1.2, 5.10): stream sockets between programs of the
 * host and callers of the kernel.
 *
 *	vsock.c            the device: its queues
 *	vsock_connection.c one connection: its state, credit and bytes
 *	vsock_host.c       the host's end: unix sockets
 *
 * A connection is a unix socket on the host's side, under names that are
 * Firecracker's: who connects to `path` says "CONNECT port\n" and reads
 * "OK number\n"; who listens to a port of the host listens at `path`_port.
 *
 * All of it belongs to the holder of the token.
 */
#ifndef RUMPEL_VIRTIO_VSOCK_H
#define RUMPEL_VIRTIO_VSOCK_H

#include <linux/virtio_vsock.h>

#include "mmio.h"
#include "unix.h"

#define VSOCK_HOST 2 /* the host's context identifier (5.10.4) */
#define VSOCK_HEADER sizeof(struct virtio_vsock_hdr)
/* What the driver may send before the host's program reads: as Linux's own. */
#define VSOCK_BUFFER (256u << 10)
/* No driver uses up the process's descriptors. */
#define VSOCK_CONNECTIONS 512u
#define VSOCK_BUCKETS 64u
#define VSOCK_STRAYS 64u
#define VSOCK_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum vsock_state {
	VSOCK_GREETING, /* the host's program has not yet said which port */
	VSOCK_ASKED, /* the driver has not yet answered */
	VSOCK_OPEN,
	VSOCK_FLUSHING, /* the driver knows it no more, but the host's program has not read all */
};

/* Packets that the driver is owed. */
enum vsock_owed {
	VSOCK_OWES_REQUEST = 1 << 0,
	VSOCK_OWES_RESPONSE = 1 << 1,
	VSOCK_OWES_SHUTDOWN = 1 << 2,
	VSOCK_OWES_CREDIT = 1 << 3,
};

struct vsock_connection {
	struct vsock *vsock;
	struct vsock_connection *next; /* in its bucket */
	struct vsock_connection *next_waiting;
	bool waits; /* on the list of those that have something for the driver */
	enum vsock_state state;
	uint32_t host_port, guest_port;
	int fd; /* -1: the host's program is gone */
	bool readable, writable, hup; /* edges that epoll saw */
	unsigned int owes; /* enum vsock_owed */
	uint32_t shut, guest_shut; /* VIRTIO_VSOCK_SHUTDOWN_*: what each side has said */
	/* 5.10.6.3: bytes from the driver, passed on, and what it knows of that; bytes to it. */
	uint32_t received, forwarded, told, sent;
	uint32_t guest_room, guest_forwarded;
	char *buffer; /* received and not forwarded: a ring; NULL if there is nothing */
};

/* A packet of a connection that there is not: it is reset. */
struct vsock_stray {
	uint32_t host_port, guest_port;
	uint64_t cid; /* who it says it is for */
	uint16_t type;
};

struct vsock {
	struct rumpel_virtio virtio; /* first */
	struct virtio_vsock_config config;
	struct rumpel_watch watch; /* of an epoll descriptor */
	int listener;
	bool up; /* the driver has been heard of */
	char *path;
	struct sockaddr_un address;
	unsigned int count; /* of connections */
	uint32_t last_port; /* of those that the host's programs made */
	struct vsock_connection *buckets[VSOCK_BUCKETS];
	struct vsock_connection *waiting, **waiting_tail;
	struct vsock_stray strays[VSOCK_STRAYS]; /* a ring */
	unsigned int stray_first, stray_count;
	struct iovec iov[RUMPEL_QUEUE_MAX];
};

/* ---- vsock_connection.c ---- */

/* One more, with the host's descriptor, which is its; NULL: there are enough. */
struct vsock_connection *vsock_add(struct vsock *vsock, enum vsock_state state, int fd,
				   uint32_t host_port, uint32_t guest_port);
struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t host_port, uint32_t guest_port);
/* Its ports have been chosen. */
void vsock_rename(struct vsock_connection *connection, uint32_t host_port, uint32_t guest_port);
void vsock_remove(struct vsock_connection *connection);
/* The driver knows it no more; goes once the host's program has read what was sent to it. */
void vsock_leave(struct vsock_connection *connection);
/* It may have something for the driver. */
void vsock_wait(struct vsock_connection *connection);
/* Packets from the driver. False: they make no sense, and the connection is to be reset. */
bool vsock_response(struct vsock_connection *connection);
bool vsock_payload(struct vsock_connection *connection, struct iovec *iov, unsigned int count,
		   size_t len);
bool vsock_shutdown(struct vsock_connection *connection, uint32_t flags);
void vsock_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header);
/* Passes on what was received, as far as the host's program goes. It may be gone then. */
void vsock_flush(struct vsock_connection *connection);
/*
 * The next packet for the driver: its header, and up to `room` bytes that go
 * to iov. Bytes, or -EAGAIN: none now.
 */
ssize_t vsock_produce(struct vsock_connection *connection, struct virtio_vsock_hdr *header,
		      struct iovec *iov, unsigned int count, size_t room);

/* ---- vsock_host.c ---- */

int vsock_host_open(struct vsock *vsock, const char *path);
void vsock_host_close(struct vsock *vsock);
/* Programs that want to connect. */
void vsock_host_accept(struct vsock *vsock);
/* A descriptor connected to whoever listens to a port of the host, or a negative errno. */
int vsock_host_connect(struct vsock *vsock, uint32_t port);
/* Reads which port it shall be. False: it is none, and the connection is gone. */
bool vsock_host_greet(struct vsock_connection *connection);
/* Tells that it is connected. */
bool vsock_host_welcome(struct vsock_connection *connection);
void vsock_host_watch(struct vsock *vsock, int fd, struct vsock_connection *connection);
/* Closes the descriptor of a connection. */
void vsock_host_drop(struct vsock_connection *connection);

#endif
