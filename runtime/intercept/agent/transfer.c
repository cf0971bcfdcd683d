// SPDX-License-Identifier: GPL-2.0-only
/* Data from a file of one kernel to one of the other: sendfile(2). */
#include "poll.h"

#include <linux/fs.h>

#include "dispatch.h"
#include "files.h"

#define CHUNK (128ul << 10)
#define MOST 0x7ffff000ul /* what Linux transfers in one call (MAX_RW_COUNT) */

static long read_at(struct thread *t, int fd, char *chunk, size_t size, int64_t at)
{
	const unsigned long args[6] = { fd, (unsigned long)chunk, size, at };

	return files_owned(t->files, fd) ? kernel_call_with(t, __NR_pread64, args)
					 : call_host(__NR_pread64, fd, (long)chunk, size, at, 0, 0);
}

static long write_to(struct thread *t, int fd, const char *chunk, size_t size)
{
	const unsigned long args[6] = { fd, (unsigned long)chunk, size };

	return files_owned(t->files, fd) ? kernel_call_with(t, __NR_write, args)
					 : call_host(__NR_write, fd, (long)chunk, size, 0, 0, 0);
}

long seek(struct thread *t, int fd, int64_t at, int whence)
{
	return files_owned(t->files, fd) ? kernel(__NR_lseek, fd, at, whence)
					 : host(__NR_lseek, fd, at, whence);
}

/* What was read at `at` goes to `out`: how much of it, or a negative errno. */
static long send_chunk(struct thread *t, int out, int in, char *chunk, size_t size, int64_t at)
{
	long got = read_at(t, in, chunk, size, at);

	return got <= 0 ? got : write_to(t, out, chunk, got);
}

static long send_file(struct thread *t, int out, int in, int64_t *at, size_t count)
{
	size_t done = 0;
	long result = 0;

	/* The thread keeps it: to map and touch it anew takes longer than most files. */
	if (!t->chunk)
		t->chunk = map_pages(CHUNK);
	if (!t->chunk)
		return -ENOMEM;
	if (count > MOST)
		count = MOST;
	while (done < count) {
		size_t size = count - done < CHUNK ? count - done : CHUNK;

		result = send_chunk(t, out, in, t->chunk, size, *at);
		if (result <= 0)
			break;
		done += result;
		*at += result;
		/* As the kernel's: it says so when the other side takes no more for now. */
		if ((size_t)result < size)
			break;
	}
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
	if (!files_owned(t->files, out) && !files_owned(t->files, in))
		return call_through(t);
	if (at_at && copy_in(&at, at_at, sizeof(at)))
		return -EFAULT;
	if (!at_at)
		at = seek(t, in, 0, SEEK_CUR);
	if (at < 0)
		return at == -EBADF ? -EBADF : -EINVAL;
	result = send_file(t, out, in, &at, t->regs.r10);
	if (result < 0)
		return result;
	if (!at_at)
		seek(t, in, at, SEEK_SET);
	else if (copy_out(at_at, &at, sizeof(at)))
		return -EFAULT;
	return result;
}
