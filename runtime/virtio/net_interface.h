/* SPDX-License-Identifier: GPL-2.0-only */
/* Interfaces of the host, in the network namespace that this thread is in. */
#ifndef RUMPEL_VIRTIO_NET_INTERFACE_H
#define RUMPEL_VIRTIO_NET_INTERFACE_H

/* The index of one that carries Ethernet; -ENODEV, -EPROTOTYPE. fd: any socket. */
int net_interface_index(int fd, const char *name);
/* As long as this packet socket is open it takes frames for any address. */
int net_interface_promiscuous(int fd, int index);
/* Its MTU, but no more than a device can have; 0: there is no such interface. */
unsigned int net_interface_mtu(const char *name);

#endif
