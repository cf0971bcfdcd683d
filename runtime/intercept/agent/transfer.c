// SPDX-License-Identifier: GPL-2.0-only
/* Data from a file of one kernel to one of the other: sendfile(2), splice(2). */
#include "poll.h"

#include <linux/fs.h>

#include "dispatch.h"
#include "files.h"

#define CHUNK (128ul << 10)
#define MOST 0x7ffff000ul /* what Linux transfers in one call (MAX_RW_COUNT) */

/* What was read at `at` goes to the kernel's `out`: how much of it, or a negative errno. */
static long send_chunk(struct thread *t, int out, int in, char *chunk, size_t size, int64_t at)
{
	unsigned long args[6] = { out, (unsigned long)chunk };
	long got = call_host(__NR_pread64, in, (long)chunk, size, at, 0, 0);

	if (got <= 0)
		return got;
	args[2] = got;
	return kernel_call_with(t, __NR_write, args);
}

static long send_file(struct thread *t, int out, int in, int64_t *at, size_t count)
{
	char *chunk = map_pages(CHUNK);
	size_t done = 0;
	long result = 0;

	if (!chunk)
		return -ENOMEM;
	if (count > MOST)
		count = MOST;
	while (done < count) {
		size_t size = count - done < CHUNK ? count - done : CHUNK;

		result = send_chunk(t, out, in, chunk, size, *at);
		if (result <= 0)
			break;
		done += result;
		*at += result;
		/* As the kernel's: it says so when the other side takes no more for now. */
		if ((size_t)result < size)
			break;
	}
	host(__NR_munmap, chunk, CHUNK);
	return done ? (long)done : result;
}

long call_sendfile(struct thread *t)
{
	int out = (int)t->regs.rdi, in = (int)t->regs.rsi;
	uint64_t at_at = t->regs.rdx;
	int64_t at;
	long result;

	if (is_reserved(t->files, in))
		return -EBADF;
	if (files_owned(t->files, out) && files_owned(t->files, in))
		return kernel_call(t);
	if (files_owned(t->files, in))
		return -EINVAL; /* as from a socket */
	if (!files_owned(t->files, out))
		return call_through(t);
	if (at_at && copy_in(&at, at_at, sizeof(at)))
		return -EFAULT;
	if (!at_at)
		at = host(__NR_lseek, in, 0, SEEK_CUR);
	if (at < 0)
		return at == -EBADF ? -EBADF : -EINVAL;
	result = send_file(t, out, in, &at, t->regs.r10);
	if (result < 0)
		return result;
	if (!at_at)
		host(__NR_lseek, in, at, SEEK_SET);
	else if (copy_out(at_at, &at, sizeof(at)))
		return -EFAULT;
	return result;
}

/* A pipe is the host's: with a socket of the kernel's there is none, and programs copy. */
long call_splice(struct thread *t)
{
	bool from = files_owned(t->files, (int)t->regs.rdi);
	bool to = files_owned(t->files, (int)t->regs.rdx);

	if (is_reserved(t->files, t->regs.rdx))
		return -EBADF;
	if (from != to)
		return -EINVAL;
	return from ? kernel_call(t) : call_through(t);
}
