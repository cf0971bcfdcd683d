// SPDX-License-Identifier: GPL-2.0-only
/* fork, vfork, posix_spawn and clone, many at a time and with signals on the way. */
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

extern char **environ;
static volatile sig_atomic_t ticks;
static volatile int shared;

static void tick(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	ticks++;
}

static int status_of(pid_t pid)
{
	int status = -1;

	CHECK(pid > 0);
	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static pid_t spawn(char *const argv[])
{
	pid_t pid = -1;
	int error = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);

	CHECK(!error);
	return pid;
}

static void *storm(void *argument)
{
	char *const truth[] = { "/bin/true", NULL }, *const lie[] = { "/bin/false", NULL };

	for (int i = 0; i < 15; i++) {
		CHECK(status_of(spawn(truth)) == 0);
		CHECK(status_of(spawn(lie)) == 1);
	}
	return argument;
}

static void vforks(void)
{
	for (int i = 0; i < 30; i++) {
		pid_t pid = vfork();

		if (!pid) {
			shared = i + 1;
			/* Handlers are the child's own. */
			signal(SIGUSR1, SIG_DFL);
			if (i % 2)
				_exit(i);
			execl("/bin/sh", "sh", "-c", "exit $0", "7", NULL);
			_exit(99);
		}
		CHECK(shared == i + 1);
		CHECK(status_of(pid) == (i % 2 ? i : 7));
	}
	raise(SIGUSR1); /* would end us if a child had changed ours */
}

static int child(void *argument)
{
	shared = 4711;
	return *(int *)argument;
}

static void clones(void)
{
	size_t size = 64 << 10;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int value = 23;

	shared = 0;
	CHECK(status_of(clone(child, stack + size, SIGCHLD, &value)) == 23);
	CHECK(shared == 0);
	CHECK(status_of(clone(child, stack + size, CLONE_VM | SIGCHLD, &value)) == 23);
	CHECK(shared == 4711);
	CHECK(clone(child, stack + size, CLONE_THREAD, &value) == -1 && errno == EINVAL);
}

static void forks(void)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (!pid) {
			ticks = 0;
			raise(SIGUSR1);
			_exit(ticks == 1 && getppid() > 1 ? i : 99);
		}
		CHECK(status_of(pid) == i);
	}
}

int main(void)
{
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t threads[4];

	setvbuf(stdout, NULL, _IONBF, 0);
	handle(SIGUSR1, tick, SA_RESTART);
	handle(SIGALRM, tick, SA_RESTART);
	CHECK(!setitimer(ITIMER_REAL, &often, NULL));
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, storm, NULL));
	forks();
	vforks();
	clones();
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK(ticks > 0);
	return done();
}
