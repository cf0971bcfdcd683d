/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libslirp at the other end of a socket that a network interface of a kernel
 * has for its cable. It answers the kernel's frames with sockets of this
 * process, so it needs no privilege. No Python here.
 *
 * The library is opened when it is first used, so that nothing else depends
 * on it. A thread drives each network; it never needs the interpreter. In the
 * child of a fork there is none: the network is dead there.
 */
#ifndef RUMPEL_NATIVE_SLIRP_H
#define RUMPEL_NATIVE_SLIRP_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As the kernel sees the network. */
struct slirp_addresses {
	struct in_addr network, mask;
	struct in_addr host, dns; /* where the host and a name server are */
	struct in_addr guest; /* who gets forwarded connections */
	bool has6; /* and all of it again for IPv6; a network of 64 bits */
	struct in6_addr network6, host6, dns6, guest6;
	unsigned int mtu;
	bool host_loopback; /* may the host's loopback be reached? */
};

struct slirp;

/* 0, or a negative errno and *why: a static text, or what the loader says. */
int slirp_open(const struct slirp_addresses *addresses, struct slirp **net, const char **why);
/* Ends the thread and all connections; NULL is fine. */
void slirp_close(struct slirp *net);
/* The socket with the kernel's frames: a message each. */
int slirp_guest(const struct slirp *net);
/*
 * Publishes a port of the guest at an address of the host, or takes that back
 * (guest_port < 0). The address is a text; its family is the guest's, too.
 * -EAFNOSUPPORT: it is none, or this network has not that family.
 */
int slirp_forward(struct slirp *net, bool udp, const char *host, int host_port, int guest_port);

#endif
