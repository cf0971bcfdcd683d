// SPDX-License-Identifier: GPL-2.0-only
/* Programs as files, judged as execve(2) does. */
#include "program.h"

#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include <asm/statfs.h>

#include "say.h"

#define X_OK 1
#define ST_NOSUID 2

/* Would the program run as somebody else? That the agent cannot do. */
static bool changes_identity(int fd, const struct stat *st)
{
	struct statfs fs;
	bool user = (st->st_mode & S_ISUID) && st->st_uid != (unsigned)host(__NR_geteuid);
	bool group = (st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
		     st->st_gid != (unsigned)host(__NR_getegid);

	if (!user && !group)
		return false;
	if (host(__NR_prctl, PR_GET_NO_NEW_PRIVS) == 1)
		return false;
	return host(__NR_fstatfs, fd, &fs) || !(fs.f_flags & ST_NOSUID);
}

/* A descriptor of the file that fd is one of, to be read; a path only is none yet (O_PATH). */
static int open_again(int fd)
{
	struct line line = { .used = 0 };
	long flags = host(__NR_fcntl, fd, F_GETFL);

	if (flags < 0 || !(flags & O_PATH))
		return host(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 0);
	say_text(&line, "/proc/thread-self/fd/");
	say_number(&line, fd);
	line.text[line.used] = 0;
	return host(__NR_openat, AT_FDCWD, line.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

int program_open(int dir, const char *path, int flags)
{
	int follow = flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0;
	struct stat st;
	int error = 0, fd;

	if (!*path && !(flags & AT_EMPTY_PATH))
		return -ENOENT;
	if (*path)
		fd = host(__NR_openat, dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | follow);
	else
		fd = open_again(dir);
	if (fd < 0)
		return fd;
	if (host(__NR_fstat, fd, &st))
		error = -EACCES;
	else if ((st.st_mode & S_IFMT) != S_IFREG)
		error = -EACCES;
	else if (*path)
		error = host(__NR_faccessat2, dir, path, X_OK, AT_EACCESS);
	else
		error = host(__NR_faccessat2, fd, "", X_OK, AT_EACCESS | AT_EMPTY_PATH);
	/* Before Linux 5.8, or in a container that knows no such call. */
	if (error == -ENOSYS || error == -EPERM)
		error = st.st_mode & 0111 ? 0 : -EACCES;
	if (!error && changes_identity(fd, &st))
		error = -EPERM;
	if (error) {
		host(__NR_close, fd);
		return error;
	}
	return fd;
}

const char *program_refusal(int error)
{
	return error == -EPERM ? "a setuid or setgid program cannot be intercepted" : NULL;
}

int program_head(int fd, char head[HEAD_SIZE])
{
	long n = host(__NR_pread64, fd, head, HEAD_SIZE, 0);

	if (n < 0)
		return n;
	memset(head + n, 0, HEAD_SIZE - n);
	return 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The kernel's load_script: one line, at most one argument, blanks around both go. */
int program_script(char head[HEAD_SIZE], char **interpreter, char **argument)
{
	char *end = head + HEAD_SIZE, *p = head + 2, *line = p;

	if (head[0] != '#' || head[1] != '!')
		return 0;
	while (line < end && *line && *line != '\n')
		line++;
	if (line == end)
		line--; /* the argument may be cut, the interpreter may not: see below */
	while (line > p && is_blank(line[-1]))
		line--;
	while (p < line && is_blank(*p))
		p++;
	if (p == line)
		return -ENOEXEC;
	*interpreter = p;
	*argument = NULL;
	while (p < line && !is_blank(*p))
		p++;
	if (p == end - 1)
		return -ENOEXEC;
	if (p < line) {
		*p++ = 0;
		while (p < line && is_blank(*p))
			p++;
		*argument = p;
	}
	*line = 0;
	return 1;
}

/* Not in check()'s frame, of which there are some. */
static __attribute__((noinline)) int check_elf(int fd)
{
	struct elf elf;
	int error = elf_read(fd, &elf);

	if (error || !elf.interpreter[0])
		return error;
	fd = program_open(AT_FDCWD, elf.interpreter, 0);
	if (fd < 0)
		return fd;
	error = elf_read(fd, &elf) ? -ELIBBAD : 0;
	host(__NR_close, fd);
	return error;
}

static int check(int fd, int depth)
{
	char head[HEAD_SIZE], *interpreter, *argument;
	int error = program_head(fd, head);

	if (error)
		return error;
	error = program_script(head, &interpreter, &argument);
	if (error == 1) {
		if (depth == SCRIPT_DEPTH)
			return -ELOOP;
		fd = program_open(AT_FDCWD, interpreter, 0);
		if (fd < 0)
			return fd;
		error = check(fd, depth + 1);
		host(__NR_close, fd);
		return error;
	}
	return error ? error : check_elf(fd);
}

int program_check(int fd)
{
	return check(fd, 0);
}
