// SPDX-License-Identifier: GPL-2.0-only
/* What a program sees of two kernels, where one is kernel_fake.c: one space of numbers. */
#include "check.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

extern char **environ;

static int is_fake(int fd)
{
	char text[5] = "";

	return read(fd, text, 5) == 5 && !strcmp(text, "fake");
}

static int status_of(pid_t pid)
{
	int status = -1;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WEXITSTATUS(status);
}

/* Executes this program to ask what it has inherited. */
static int inherits(int fd, int spawn)
{
	char number[12], *argv[] = { "plug", number, NULL };
	pid_t pid;

	snprintf(number, sizeof(number), "%d", fd);
	if (spawn) {
		CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ));
		return status_of(pid);
	}
	pid = fork();
	if (!pid) {
		execv("/proc/self/exe", argv);
		_exit(99);
	}
	return status_of(pid);
}

int main(int argc, char **argv)
{
	struct utsname name;
	int a, b, c, host;

	if (argc == 2)
		return is_fake(atoi(argv[1]));
	CHECK(syscall(SYS_getpid) == 4711);
	CHECK(!uname(&name) && !strcmp(name.sysname, "Fake"));

	/* Numbers are the lowest free ones, whoever gives them. */
	a = socket(AF_INET, SOCK_STREAM, 0);
	host = open("/dev/null", O_RDONLY);
	b = open("/kernel/file", O_RDONLY | O_CLOEXEC);
	CHECK(a == 3 && host == 4 && b == 5);
	CHECK(is_fake(a) && !is_fake(host) && is_fake(b));
	CHECK(open("/kernelly", O_RDONLY) == -1 && errno == ENOENT);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == 6 && !is_fake(6) && !close(6));

	CHECK(dup(a) == 6 && is_fake(6));
	CHECK(dup2(a, host) == host && is_fake(host));
	CHECK(dup2(0, 6) == 6 && !is_fake(6));
	CHECK(dup2(a, a) == a && is_fake(a));
	c = fcntl(a, F_DUPFD_CLOEXEC, 20);
	CHECK(c == 20 && is_fake(c) && fcntl(c, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(a, F_GETFL) == 0x4711);
	CHECK(!close(6) && !close(host) && close(host) == -1);

	CHECK(inherits(a, 0) == 1 && inherits(a, 1) == 1);
	CHECK(inherits(b, 0) == 0 && inherits(c, 1) == 0);
	CHECK(!fcntl(b, F_SETFD, 0) && inherits(b, 0) == 1);

	/* A process has its own: what a child closes stays open here. */
	if (!fork()) {
		close(a);
		_exit(is_fake(a));
	}
	wait(NULL);
	CHECK(is_fake(a));
	if (!vfork()) {
		close(a);
		_exit(0);
	}
	wait(NULL);
	CHECK(is_fake(a));
	CHECK(!syscall(SYS_close_range, 3, ~0u, 0));
	CHECK(!is_fake(a) && !is_fake(b) && !is_fake(c));
	CHECK(open("/dev/null", O_RDONLY) == 3);
	return done();
}
