/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include "kernel.h"
#include "message.h"

#ifndef FDS
#define FDS (1u << 20) /* more than any RLIMIT_NOFILE (fs.nr_open) by default */
#endif

/* What processes share that share descriptors (CLONE_FILES). */
struct files {
	uint32_t lock;
	uint32_t executing; /* a lock: an execve uses FD_MESSAGE and FD_PROGRAM */
	bool processes; /* share it, not only threads */
	bool inside; /* the current directory is the kernel's: who shares one shares the other */
	int32_t agent_fd; /* the first of the agent's own */
	int32_t highest; /* of owned, -1: none */
	uint64_t owned[FDS / 64]; /* the kernel has it */
	uint64_t dual[FDS / 64]; /* and the host has a file there, too: an epoll of both */
};

static inline bool is_reserved(const struct files *files, uint64_t fd)
{
	return (uint32_t)fd - (uint32_t)files->agent_fd < FDS_RESERVED ||
	       (kernel_present && (uint32_t)fd - (uint32_t)kernel_fds < KERNEL_FDS);
}

struct files *files_new(int agent_fd);
/* Take the agent's own number n (FD_x): nothing is there for now. */
void files_reserve(struct files *files, int n);
struct files *files_copy(struct files *from); /* NULL: no memory */
/* Not the files of other processes any more: 0 or a negative errno. */
long files_unshare(struct thread *t);
void files_free(struct files *files);
void files_lock(struct files *files);
void files_unlock(struct files *files);

/* Has any process image here ever had a descriptor of the kernel? */
bool files_any(void);
bool files_owned(const struct files *files, long fd);
bool files_dual(const struct files *files, long fd);
static inline bool files_none(const struct files *files)
{
	return files->highest < 0;
}
/* The number is the kernel's from now on, or nobody's: true if it was the kernel's. */
void files_own(struct files *files, int fd, bool dual);
bool files_disown(struct files *files, int fd);
/* The kernel has made a descriptor: the number that the program gets, or a negative errno. */
long files_place(struct files *files, int kernel_fd);
/* Those that stay open when a program is executed, in a message that is being written. */
long files_send(const struct files *files, int message_fd);
void files_receive(struct files *files, int message_fd, uint32_t count);

/* descriptors.c */
long call_close(struct thread *t);
long call_close_range(struct thread *t);
long call_dup(struct thread *t);
long call_dup2(struct thread *t);
long call_dup3(struct thread *t);
long call_fcntl(struct thread *t);
/* names.c: the current directory */
long call_chdir(struct thread *t);
long call_getcwd(struct thread *t);
long call_ioctl(struct thread *t);
/* owner.c: fcntl and ioctl about the signals of a descriptor of the kernel's */
bool owner_has(int command);
long owner_fcntl(struct thread *t);
bool owner_has_ioctl(uint32_t command);
long owner_ioctl(struct thread *t);
/* direct.c: a call of the kernel's, without O_DIRECT */
long direct_call(struct thread *t);
/* rights.c */
long call_sendmsg(struct thread *t);
long call_recvmsg(struct thread *t);
/* limits.c */
long call_getrlimit(struct thread *t);
long call_setrlimit(struct thread *t);
long call_prlimit64(struct thread *t);

#endif
