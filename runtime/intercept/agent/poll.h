/* SPDX-License-Identifier: GPL-2.0-only */
/* Waiting for descriptors of both kernels at once. */
#ifndef AGENT_POLL_H
#define AGENT_POLL_H

#include <asm/poll.h>
#include <linux/time_types.h>

#include "agent.h"

typedef struct __kernel_timespec timespec_t;

/*
 * As ppoll without a mask, for descriptors of anybody; timeout (NULL: for ever) is what is
 * left afterwards. The mask of signals is the host's.
 */
long poll_both(struct thread *t, struct pollfd *polled, unsigned int count, timespec_t *timeout);

long call_poll(struct thread *t);
long call_ppoll(struct thread *t);
long call_select(struct thread *t);
long call_pselect6(struct thread *t);

/* epoll.c */
long call_epoll_create(struct thread *t);
long call_epoll_ctl(struct thread *t);
long call_epoll_wait(struct thread *t);
long call_epoll_pwait(struct thread *t);

/* transfer.c */
long call_sendfile(struct thread *t);
/* lseek(2) of anybody's descriptor. */
long seek(struct thread *t, int fd, int64_t at, int whence);

/* splice.c */
long call_splice(struct thread *t);

#endif
