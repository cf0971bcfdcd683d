/* SPDX-License-Identifier: GPL-2.0-only */
/* Pipes and terminals of the host. */
#ifndef RUMPEL_VIRTIO_STREAM_H
#define RUMPEL_VIRTIO_STREAM_H

#include <sys/types.h>

/* Bytes, or a negative errno. A reader that went away ends no process. */
ssize_t rumpel_stream_write(int fd, const void *data, size_t len);

#endif
