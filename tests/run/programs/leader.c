// SPDX-License-Identifier: GPL-2.0-only
/* The first thread ends before the others: the process goes on as if it were there. */
#include "check.h"

#include <pthread.h>

static pthread_t first;

static void none(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

static void *nothing(void *argument)
{
	return argument;
}

static void *rest(void *argument)
{
	char *const argv[] = { "leader", "executed", NULL };
	pthread_t thread;
	sigset_t set;
	char state = 0;
	FILE *stat;

	(void)argument;
	/* Its join wakes us before it has no memory any more. */
	CHECK(!pthread_join(first, NULL));
	while (state != 'Z') {
		stat = fopen("/proc/self/stat", "r");
		CHECK(stat && fscanf(stat, "%*d %*s %c", &state) == 1);
		fclose(stat);
	}
	handle(SIGUSR1, none, 0);
	sigemptyset(&set);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	CHECK(!pthread_create(&thread, NULL, nothing, NULL));
	CHECK(!pthread_join(thread, NULL));
	if (!failures)
		execv("/proc/thread-self/exe", argv);
	exit(done() + 1);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc == 2 && !strcmp(argv[1], "executed"))
		return done();
	first = pthread_self();
	CHECK(!pthread_create(&thread, NULL, rest, NULL));
	pthread_exit(NULL);
}
