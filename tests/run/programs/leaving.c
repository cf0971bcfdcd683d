// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thread that ends while a signal for it comes, and nobody else would get it. That it
 * comes between is arranged by a trace (standard error) that the thread itself has filled
 * up: it waits before its exit until somebody reads.
 */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>

static volatile sig_atomic_t got;

static void count(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	got++;
}

static void *leave(void *argument)
{
	static char much[4096];
	sigset_t *set = argument;

	pthread_sigmask(SIG_UNBLOCK, set, NULL);
	fcntl(2, F_SETFL, O_NONBLOCK);
	while (write(2, much, sizeof(much)) > 0)
		;
	while (write(2, much, 1) > 0)
		;
	fcntl(2, F_SETFL, 0);
	raw(SYS_exit, 0, 0, 0, 0);
	return NULL;
}

int main(void)
{
	pthread_t thread;
	sigset_t set;

	handle(SIGUSR1, count, SA_RESTART);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	CHECK(!pthread_create(&thread, NULL, leave, &set));
	CHECK(!pthread_join(thread, NULL));
	CHECK(got == 1);
	return done();
}
