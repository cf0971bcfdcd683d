/* SPDX-License-Identifier: GPL-2.0-only */
/* Two kernels with a network between them: see wire.c. */
#ifndef RUMPEL_BENCH_WIRE_H
#define RUMPEL_BENCH_WIRE_H

#include "side.h"

struct wire;

/*
 * Make one; 0, or a negative errno and *why (may be NULL). The first end is a
 * library kernel (10.0.0.2) in all but the last, whose other end is the host's
 * (which listens at 10.0.0.1, behind the TAP device or the interface: by AF_XDP or
 * a packet socket) or another such kernel's. Of the last both are the host's: two
 * connected sockets, closed with it.
 */
RUMPEL_API int bench_wire_tap(const char *image, int tap, int listener, struct wire **wire,
			      const char **why);
RUMPEL_API int bench_wire_station(const char *image, const char *interface, bool xdp, int listener,
				  struct wire **wire, const char **why);
RUMPEL_API int bench_wire_link(const char *image, struct wire **wire, const char **why);
RUMPEL_API int bench_wire_host(int fd0, int fd1, struct wire **wire);
RUMPEL_API void bench_wire_close(struct wire *wire);

/*
 * Work for both ends at once: time in ns, or a negative errno. back: from the
 * second end to the first. stream: n times `size` bytes; trips: n times a byte
 * to and fro.
 */
RUMPEL_API int64_t bench_wire_stream(struct wire *wire, bool back, long n, long size);
RUMPEL_API int64_t bench_wire_trips(struct wire *wire, bool back, long n, long size);

#endif
