/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include "agent.h"
#include "message.h"

#define FDS (1u << 20) /* more than any RLIMIT_NOFILE (fs.nr_open) by default */

/* What processes share that share descriptors (CLONE_FILES). */
struct files {
	uint32_t lock;
	int32_t agent_fd; /* the first of the agent's own */
	int32_t highest; /* of owned, -1: none */
	uint64_t owned[FDS / 64];
};

static inline bool is_reserved(const struct files *files, uint64_t fd)
{
	return (uint32_t)fd - (uint32_t)files->agent_fd < FDS_RESERVED;
}

struct files *files_new(int agent_fd);
/* Take the agent's own number n (FD_x): nothing is there for now. */
void files_reserve(struct files *files, int n);
struct files *files_copy(struct files *from); /* NULL: no memory */
void files_free(struct files *files);
void files_lock(struct files *files);
void files_unlock(struct files *files);

/* Has any process image here ever had a descriptor of the kernel? */
bool files_any(void);
bool files_owned(const struct files *files, long fd);
/* The kernel has made a descriptor: the number that the program gets, or a negative errno. */
long files_place(struct files *files, int kernel_fd);
/* Those that stay open when a program is executed, in a message that is being written. */
long files_send(const struct files *files, int message_fd);
void files_receive(struct files *files, int message_fd, uint32_t count);

long call_close(struct thread *t);
long call_close_range(struct thread *t);
long call_dup(struct thread *t);
long call_dup2(struct thread *t);
long call_dup3(struct thread *t);
long call_fcntl(struct thread *t);
long call_setrlimit(struct thread *t);
long call_prlimit64(struct thread *t);

#endif
