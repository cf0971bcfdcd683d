// SPDX-License-Identifier: GPL-2.0-only
/*
 * Descriptors of the kernel in messages over sockets of the host's (SCM_RIGHTS, unix(7)). The
 * kernel's pid 1 keeps the file meanwhile. What travels is a token: a memory file that says
 * under which number.
 */
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/memfd.h>

#include "dispatch.h"
#include "files.h"

#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_CMSG_CLOEXEC 0x40000000
#define MSG_PEEK 2
#define CONTROL 2048 /* bytes: SCM_RIGHTS has 253 descriptors at most */
#define TOKENS 253
#define TOKEN_MAGIC 0x6e656b6f742d7072ull

struct message_header {
	uint64_t name;
	uint32_t name_size, unused;
	uint64_t iov, iov_count, control, control_size;
	uint32_t flags, unused2;
};

struct control_header {
	uint64_t size;
	int32_t level, type;
};

struct token {
	uint64_t magic;
	int64_t number;
};

/* Descriptors in a control message: the next one after `at`, or NULL. */
struct rights {
	char *at, *end; /* of all messages */
	int32_t *fd, *fds_end; /* of the present one */
};

static int32_t *next_fd(struct rights *r)
{
	while (r->fd == r->fds_end) {
		struct control_header *header = (struct control_header *)r->at;

		if (r->at + sizeof(*header) > r->end || header->size < sizeof(*header) ||
		    header->size > (size_t)(r->end - r->at))
			return NULL;
		r->at += (header->size + 7) & ~7ull;
		if (header->level != SOL_SOCKET || header->type != SCM_RIGHTS)
			continue;
		r->fd = (int32_t *)(header + 1);
		r->fds_end = r->fd + (header->size - sizeof(*header)) / sizeof(*r->fd);
	}
	return r->fd++;
}

static struct rights rights_in(char *control, size_t size)
{
	return (struct rights){ .at = control, .end = control + size };
}

/* ---- sending ---- */

static int token_new(int fd)
{
	struct token token = { TOKEN_MAGIC, kernel_give(fd) };
	int file;

	if (token.number < 0)
		return (int)token.number;
	file = host(__NR_memfd_create, "rumpel-token", MFD_CLOEXEC);
	if (file >= 0)
		host(__NR_pwrite64, file, &token, sizeof(token), 0);
	else
		kernel(__NR_close, kernel_take(token.number));
	return file;
}

static bool token_read(int file, struct token *token)
{
	struct stat st;

	return !host(__NR_fstat, file, &st) && st.st_size == sizeof(*token) && !st.st_nlink &&
	       host(__NR_pread64, file, token, sizeof(*token), 0) == sizeof(*token) &&
	       token->magic == TOKEN_MAGIC;
}

/* It was not sent. */
static void token_undo(int file)
{
	struct token token;

	if (token_read(file, &token))
		kernel(__NR_close, kernel_take(token.number));
}

static long send_tokens(struct thread *t, struct message_header *header, char *control)
{
	struct rights rights = rights_in(control, header->control_size);
	int tokens[TOKENS], count = 0, token;
	long result = 0;
	int32_t *fd;

	while ((fd = next_fd(&rights)) && !result) {
		if (!files_owned(t->files, *fd) || count == TOKENS)
			continue;
		token = token_new(*fd);
		if (token < 0)
			result = token;
		else
			*fd = tokens[count++] = token;
	}
	header->control = (uint64_t)control;
	if (!result)
		result = call_with(t, 1, (long)header);
	while (count) {
		token = tokens[--count];
		if (result < 0)
			token_undo(token);
		host(__NR_close, token);
	}
	return result;
}

long call_sendmsg(struct thread *t)
{
	char control[CONTROL] __attribute__((aligned(8)));
	struct message_header header;
	struct rights rights;
	int32_t *fd;

	if (files_owned(t->files, (int)t->regs.rdi))
		return kernel_call(t);
	if (files_none(t->files) || copy_in(&header, t->regs.rsi, sizeof(header)) ||
	    !header.control_size || header.control_size > sizeof(control) ||
	    copy_in(control, header.control, header.control_size))
		return call_through(t);
	rights = rights_in(control, header.control_size);
	while ((fd = next_fd(&rights)))
		if (is_reserved(t->files, *fd))
			return -EBADF;
		else if (files_owned(t->files, *fd))
			return send_tokens(t, &header, control);
	return call_through(t);
}

/* ---- receiving ---- */

/* What has come as a token becomes what it stands for, under the same number. */
static void redeem(struct thread *t, int fd, bool cloexec)
{
	struct token token;
	long file;

	if (!token_read(fd, &token) || fd >= (int)FDS)
		return;
	file = kernel_take(token.number);
	if (file < 0)
		return;
	if (file != fd) {
		kernel(__NR_dup3, file, fd, cloexec ? O_CLOEXEC : 0);
		kernel(__NR_close, file);
	}
	host(__NR_dup3, t->files->agent_fd + FD_AGENT, fd, cloexec ? O_CLOEXEC : 0);
	files_own(t->files, fd, false);
}

long call_recvmsg(struct thread *t)
{
	char control[CONTROL] __attribute__((aligned(8)));
	struct message_header header;
	struct rights rights;
	int flags = (int)t->regs.rdx;
	int32_t *fd;
	long result;

	if (files_owned(t->files, (int)t->regs.rdi))
		return kernel_call(t);
	result = call_through(t);
	if (result < 0 || !kernel_present || (flags & MSG_PEEK) ||
	    copy_in(&header, t->regs.rsi, sizeof(header)) || !header.control_size ||
	    header.control_size > sizeof(control) ||
	    copy_in(control, header.control, header.control_size))
		return result;
	rights = rights_in(control, header.control_size);
	while ((fd = next_fd(&rights)))
		redeem(t, *fd, flags & MSG_CMSG_CLOEXEC);
	return result;
}
