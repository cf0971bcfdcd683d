// SPDX-License-Identifier: GPL-2.0-only
/*
 * splice(2) between a pipe, which is the host's, and a file or socket of the library
 * kernel's. What the other side does not take must stay where it was: so the data is
 * looked at first, and consumed when it is known how much of it has gone.
 */
#include "poll.h"

#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include <asm/stat.h>

#include "dispatch.h"
#include "files.h"

#define CHUNK (64ul << 10) /* what a pipe has room for, usually */
#define F_NONBLOCK 2 /* SPLICE_F_NONBLOCK */
#define MSG_PEEK 2
#define MSG_DONTWAIT 0x40
#define SOL_SOCKET 1
#define SO_TYPE 3
#define SOCK_STREAM 1

struct splice {
	int in, out;
	uint64_t offset_at; /* of the kernel's side, in the program's memory; or 0 */
	int64_t at; /* where the kernel's file is read or written; -1: it is a socket */
	size_t size;
	unsigned int flags;
	char *chunk;
};

static bool is_pipe(int fd)
{
	struct stat status;

	return !host(__NR_fstat, fd, &status) && S_ISFIFO(status.st_mode);
}

/* ---- into the kernel ---- */

/* A copy of what is in the pipe: how much, or a negative errno. */
static long peek(const struct splice *s)
{
	int copy[2];
	long got = host(__NR_pipe2, copy, O_CLOEXEC);

	if (got)
		return got;
	got = call_host(__NR_tee, s->in, copy[1], s->size, s->flags & F_NONBLOCK, 0, 0);
	if (got > 0)
		got = host(__NR_read, copy[0], s->chunk, got);
	host(__NR_close, copy[0]);
	host(__NR_close, copy[1]);
	return got;
}

static long to_kernel(struct thread *t, const struct splice *s)
{
	unsigned long args[6] = { s->out, (unsigned long)s->chunk, 0, s->at };
	long got = peek(s);

	if (got <= 0)
		return got;
	args[2] = got;
	got = kernel_call_with(t, s->at < 0 ? __NR_write : __NR_pwrite64, args);
	if (got > 0)
		host(__NR_read, s->in, s->chunk, got);
	return got;
}

/* ---- out of it ---- */

static long receive(struct thread *t, const struct splice *s, size_t size, unsigned long flags)
{
	const unsigned long args[6] = { s->in, (unsigned long)s->chunk, size, flags };

	return kernel_call_with(t, s->at < 0 ? __NR_recvfrom : __NR_pread64, args);
}

static long from_kernel(struct thread *t, const struct splice *s)
{
	unsigned long wait = s->flags & F_NONBLOCK ? MSG_DONTWAIT : 0;
	struct iovec data = { .iov_base = s->chunk };
	long nonblock = host(__NR_fcntl, s->out, F_GETFL) & O_NONBLOCK ? F_NONBLOCK : 0;
	long got =
		s->at < 0 ? receive(t, s, s->size, MSG_PEEK | wait) : receive(t, s, s->size, s->at);

	if (got <= 0)
		return got;
	data.iov_len = got;
	/* The pipe gets the pages themselves, which nobody else has once the chunk is unmapped. */
	got = call_host(__NR_vmsplice, s->out, (long)&data, 1, (s->flags & F_NONBLOCK) | nonblock,
			0, 0);
	/* The same bytes once more, in the same place. */
	if (got > 0 && s->at < 0)
		receive(t, s, got, MSG_DONTWAIT);
	return got;
}

/* ---- */

/* Where the kernel's file is: 0 or a negative errno. */
static long find_offset(struct thread *t, struct splice *s, int fd)
{
	int type, size = sizeof(type);

	if (!kernel(__NR_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size)) {
		s->at = -1;
		return type == SOCK_STREAM && !s->offset_at ? 0 : -EINVAL;
	}
	if (s->offset_at && copy_in(&s->at, s->offset_at, sizeof(s->at)))
		return -EFAULT;
	if (!s->offset_at)
		s->at = seek(t, fd, 0, SEEK_CUR);
	return s->at < 0 ? -EINVAL : 0;
}

static long move_on(struct thread *t, const struct splice *s, int fd, long done)
{
	int64_t at = s->at + done;

	if (s->at < 0 || done <= 0)
		return done;
	if (!s->offset_at)
		seek(t, fd, at, SEEK_SET);
	else if (copy_out(s->offset_at, &at, sizeof(at)))
		return -EFAULT;
	return done;
}

long call_splice(struct thread *t)
{
	struct splice s = {
		.in = (int)t->regs.rdi,
		.out = (int)t->regs.rdx,
		.size = t->regs.r8 < CHUNK ? t->regs.r8 : CHUNK,
		.flags = (unsigned int)t->regs.r9,
	};
	bool from = files_owned(t->files, s.in), to = files_owned(t->files, s.out);
	int ours = from ? s.in : s.out, pipe = from ? s.out : s.in;
	long result;

	if (is_reserved(t->files, s.in) || is_reserved(t->files, s.out))
		return -EBADF;
	if (from == to)
		return from ? kernel_call(t) : call_through(t);
	if (!is_pipe(pipe))
		return host(__NR_fcntl, pipe, F_GETFD) < 0 ? -EBADF : -EINVAL;
	if (from ? t->regs.r10 : t->regs.rsi)
		return -ESPIPE;
	s.offset_at = from ? t->regs.rsi : t->regs.r10;
	result = find_offset(t, &s, ours);
	if (result || !s.size)
		return result;
	s.chunk = map_pages(CHUNK);
	if (!s.chunk)
		return -ENOMEM;
	result = move_on(t, &s, ours, from ? from_kernel(t, &s) : to_kernel(t, &s));
	host(__NR_munmap, s.chunk, CHUNK);
	return result;
}
