// SPDX-License-Identifier: GPL-2.0-only
/*
 * A program executes another: the agent is executed instead, and gets the program's
 * file as a descriptor and all else as a message. Arguments and environment are
 * passed as they are. Whatever is wrong with the program is said before, as by execve.
 */
#include "execute.h"

#include <linux/fcntl.h>
#include <linux/memfd.h>

#include "explain.h"
#include "files.h"
#include "kernel.h"
#include "message.h"
#include "names.h"
#include "program.h"
#include "say.h"

void execute_forked(struct thread *t)
{
	if (!t->files->executing)
		return;
	t->files->executing = 0;
	files_reserve(t->files, FD_MESSAGE);
	files_reserve(t->files, FD_PROGRAM);
}

/* The descriptor FD_MESSAGE with what the next agent has to know. */
static int send(struct thread *t, const char *path)
{
	int fd = host(__NR_memfd_create, "rumpel-agent", MFD_CLOEXEC);
	long error, n = strlen(path) + 1;

	if (fd < 0)
		return fd;
	message.flags &= ~(uint32_t)FLAG_INSIDE;
	if (t->files->inside)
		message.flags |= FLAG_INSIDE;
	error = host(__NR_pwrite64, fd, &message, sizeof(message), 0);
	if (error >= 0)
		error = host(__NR_pwrite64, fd, path, n, offsetof(struct message, path));
	if (error >= 0)
		error = files_send(t->files, fd);
	if (error >= 0)
		error = host(__NR_dup3, fd, t->files->agent_fd + FD_MESSAGE, 0);
	host(__NR_close, fd);
	return error < 0 ? error : 0;
}

/* How a program is called that execveat gets as a directory and a name, as the kernel puts it. */
static void put_name(char *to, int dir, const char *path)
{
	struct line line = { .used = 0 };

	if (dir != AT_FDCWD && path[0] != '/') {
		say_text(&line, "/dev/fd/");
		say_number(&line, dir);
		if (*path)
			say_text(&line, "/");
	}
	say_text(&line, path);
	memcpy(to, line.text, line.used);
	to[line.used] = 0;
}

/* Does not come back if it goes well. fd is the program's file. */
static long execute(struct thread *t, int fd, const char *name, uint64_t argv, uint64_t envp)
{
	long error;

	/* The two descriptors are there once for all threads. They end if it goes well. */
	lock(&t->files->executing);
	error = send(t, name);
	if (!error)
		error = host(__NR_dup3, fd, t->files->agent_fd + FD_PROGRAM, 0);
	if (error >= 0) {
		explain_end(t);
		if (kernel_present)
			kernel_exec_begin(t);
		/* What is blocked remains so, also for the host, which does not know of all. */
		host(__NR_rt_sigprocmask, SIG_BLOCK, &t->held, 0, sizeof(mask_t));
		/* A signal that comes before it must not get lost. */
		error = call_host(__NR_execveat, t->files->agent_fd, (long)"", argv, envp,
				  AT_EMPTY_PATH, 0);
		signals_reopen(t);
		if (kernel_present)
			kernel_exec_failed();
	}
	files_reserve(t->files, FD_PROGRAM);
	files_reserve(t->files, FD_MESSAGE);
	unlock(&t->files->executing);
	return error;
}

static long executable(struct thread *t, int dir, uint64_t path_at, uint64_t argv, uint64_t envp,
		       int flags)
{
	char path[PATH_MAX], name[PATH_MAX];
	long error = copy_string(path, path_at, sizeof(path));
	int fd;

	if (error < 0)
		return error;
	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	if (names_is_exe(path))
		memcpy(path, exe_path, strlen(exe_path) + 1);
	/* A file of the kernel's. */
	if (t->files->inside && dir == AT_FDCWD && path[0] != '/')
		return -ENOENT;
	put_name(name, dir, path);
	fd = program_open(dir, path, flags);
	if (fd == -EPERM)
		complain(path, fd, program_refusal(fd));
	error = fd < 0 ? fd : program_check(fd);
	/* Other processes go on with the descriptors: they shall find nothing of ours there. */
	if (!error && t->files->processes) {
		host(__NR_close, fd);
		error = files_unshare(t);
		fd = error ? error : program_open(dir, path, flags);
		error = fd < 0 ? fd : 0;
	}
	if (!error)
		error = execute(t, fd, name, argv, envp);
	if (fd >= 0)
		host(__NR_close, fd);
	return error;
}

long call_execve(struct thread *t)
{
	return executable(t, AT_FDCWD, t->regs.rdi, t->regs.rsi, t->regs.rdx, 0);
}

long call_execveat(struct thread *t)
{
	return executable(t, (int)t->regs.rdi, t->regs.rsi, t->regs.rdx, t->regs.r10,
			  (int)t->regs.r8);
}
