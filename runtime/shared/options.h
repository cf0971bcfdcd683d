/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a keeper is told: its arguments, NAME=VALUE each.
 *
 *	control=FD	a unix socket: see keeper.c
 *	image=PATH	of the kernel
 *	memory=BYTES cmdline=TEXT
 *	snapshot=FILE	to start from, or to make: see struct rumpel_config
 *	fds=N		the first number of its descriptors
 *	listen=FD	a unix socket that listens: who connects gets the descriptors
 *	log=FD		what the kernel prints
 *	detach=1	be nobody's child
 *	remove=PATH	a file that is removed in the end; up to four
 *
 * Devices, whose value ends with any of ",mac=HEX" ",mtu=N" ",pcap=FD" (interfaces):
 *
 *	tap=FD frames=FD packet=INTERFACE disk=PATH nbd=FD,size=BYTES,flags=N
 *
 * What is done when it has booted, in this order; addresses are hexadecimal:
 *
 *	write=PATH,TEXT mtu=INTERFACE,N up=INTERFACE address=INTERFACE,HEX/PREFIX gateway=INTERFACE,HEX
 */
#ifndef RUMPEL_RUNTIME_SHARED_OPTIONS_H
#define RUMPEL_RUNTIME_SHARED_OPTIONS_H

#include "instance.h"

/*
 * Each has one of the kernel's descriptors, of which 38 are for other things and one is
 * the control socket in its programs; a capture has one, too.
 */
#define MOST_DEVICES 24
#define MOST_STEPS 256
#define MOST_FILES 4

struct options {
	const char *image, *cmdline, *snapshot;
	uint64_t memory;
	int control, fds, listen, log;
	bool detach;
	const char *files[MOST_FILES]; /* that are removed */
	unsigned int file_count;
	const char *devices[MOST_DEVICES];
	unsigned int device_count;
	const char *steps[MOST_STEPS];
	unsigned int step_count;
};

/* What is wrong, or NULL. */
const char *options_parse(struct options *options, char **arguments);
/* What is behind "name=" at the beginning of a text, or NULL. */
const char *options_value(const char *text, const char *name);
/* A decimal number at the beginning of a text. */
uint64_t options_number(const char *text);
/* Hexadecimal digits, at most `most` bytes of them: how many bytes there are. */
unsigned int options_bytes(const char *text, uint8_t *bytes, unsigned int most);

/* devices.c: 0 or -errno. */
int options_device(const char *text, struct rumpel_device **device);
int options_capture(const char *text, struct rumpel_device *device);
/* configure.c */
int options_step(struct rumpel_kernel *kernel, const char *text);

#endif
