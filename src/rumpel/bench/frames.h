/* SPDX-License-Identifier: GPL-2.0-only */
/* Frames through a network of the host: see frames.c. */
#ifndef RUMPEL_BENCH_FRAMES_H
#define RUMPEL_BENCH_FRAMES_H

#include "side.h"

/* Sends the frames of a capture (a file) into an interface. How many, or a negative errno. */
RUMPEL_API int64_t bench_frames_send(const char *interface, int capture);
/*
 * Writes IP frames that an interface receives as a capture, until there were
 * `most` or no more come; before that, a byte to `ready`. As above.
 */
RUMPEL_API int64_t bench_frames_receive(const char *interface, int ready, int capture,
					int64_t most);

#endif
