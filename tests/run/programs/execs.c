// SPDX-License-Identifier: GPL-2.0-only
/* execve: what a program gets, and what is said of those that cannot be run. */
#include "check.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

extern char **environ;

static int run(const char *path, char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execve(path, argv, environ);
		_exit(errno);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void make(const char *path, const char *text, size_t size, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(write(fd, text, size) == (ssize_t)size);
	CHECK(!fchmod(fd, mode));
	close(fd);
}

#define MAKE(path, text, mode) make(path, text, sizeof(text) - 1, mode)

static void errors(void)
{
	char *const argv[] = { "x", NULL };
	unsigned char other[64] = "\177ELF\2\1\1";

	other[16] = 2;
	other[18] = 183; /* aarch64 */
	make("arm", (char *)other, sizeof(other), 0755);
	MAKE("text", "just text\n", 0755);
	MAKE("plain", "#!/bin/sh\n", 0644);
	MAKE("lost", "#!/no/such/interpreter\n", 0755);
	MAKE("empty", "", 0755);
	CHECK(!symlink("round", "round"));
	CHECK(run("nosuch", argv) == ENOENT);
	CHECK(run("", argv) == ENOENT);
	CHECK(run("plain/x", argv) == ENOTDIR);
	CHECK(run("/", argv) == EACCES);
	CHECK(run("plain", argv) == EACCES);
	CHECK(run("text", argv) == ENOEXEC);
	CHECK(run("arm", argv) == ENOEXEC);
	CHECK(run("empty", argv) == ENOEXEC);
	CHECK(run("lost", argv) == ENOENT);
	CHECK(run("round", argv) == ELOOP);
	CHECK(run((char *)8, argv) == EFAULT);
	CHECK(raw(SYS_execve, (long)"/bin/true", 8, 0, 0) == -EFAULT);
	/* And nothing is left of those that failed. */
	CHECK(open("/dev/null", O_RDONLY) == 3);
	close(3);
}

static void ways(void)
{
	char *const argv[] = { "a name", "-c", "test \"$0\" = 'an argument' && exit 5",
			       "an argument", NULL };
	char *const script_argv[] = { "ignored", "one", "two words", NULL };
	char *const sh[] = { "sh", "-c", "exit 6", NULL };
	struct rlimit files = { 20, 20 };
	int fd;

	CHECK(run("/bin/sh", argv) == 5);
	MAKE("script",
	     "#! /bin/sh -e \ntest $# = 2 && test \"$2\" = 'two words' || exit 1\n"
	     "test \"$0\" = ./script || exit 2\nfalse\nexit 9\n",
	     0755);
	CHECK(run("./script", script_argv) == 1);
	MAKE("outer", "#!./script three\n", 0755);
	CHECK(run("./outer", script_argv) == 1);

	fd = open("/bin/sh", O_RDONLY | O_CLOEXEC);
	if (!fork()) {
		fexecve(fd, sh, environ);
		_exit(1);
	}
	int status = 0;
	CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 6);
	close(fd);

	if (!fork()) {
		CHECK(!setrlimit(RLIMIT_NOFILE, &files));
		execve("/bin/sh", sh, environ);
		_exit(errno);
	}
	CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 6);

	if (!fork()) {
		syscall(SYS_close_range, 3, ~0u, 0);
		for (int i = 3; i < 2000; i++)
			close(i);
		execve("/proc/self/exe", (char *[]){ "execs", "exit", NULL }, environ);
		_exit(errno);
	}
	CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 77);
}

int main(int argc, char **argv)
{
	char directory[] = "/tmp/execs-XXXXXX", line[4096] = "", exe[4096] = "", command[4200];
	int fd;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 77;
	fd = open("/proc/self/cmdline", O_RDONLY);
	CHECK(read(fd, line, sizeof(line)) == (ssize_t)strlen(argv[0]) + 1);
	CHECK(!strcmp(line, argv[0]));
	close(fd);
	CHECK(readlink("/proc/self/exe", exe, sizeof(exe)) > 0);
	CHECK(strstr(exe, "/execs"));
	CHECK(mkdtemp(directory) && !chdir(directory));
	errors();
	ways();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	CHECK(!system(command));
	return done();
}
