// SPDX-License-Identifier: GPL-2.0-only
/* Threads that make calls and signal one another: nothing gets lost, and all end. */
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#define THREADS 50
#define SIGNALS 100

static pthread_t threads[THREADS];
static atomic_int handled, ready;
static atomic_bool stop;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)info, (void)context;
	if (sig == SIGRTMIN)
		handled++;
	CHECK(syscall(SYS_getppid) == getppid());
}

static void *work(void *argument)
{
	long self = (long)argument, sent = 0;
	int fds[2];

	CHECK(!pipe(fds));
	ready++;
	while (ready < THREADS + 1)
		sched_yield();
	while (!stop) {
		char byte = self, back = 0;

		CHECK(write(fds[1], &byte, 1) == 1);
		CHECK(read(fds[0], &back, 1) == 1 && back == byte);
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
		if (sent < SIGNALS) {
			int error = pthread_kill(threads[(self + sent) % THREADS], SIGRTMIN);

			CHECK(!error || error == EAGAIN);
			sent += !error;
		}
		if (sent == SIGNALS && handled == THREADS * SIGNALS)
			stop = true;
	}
	close(fds[0]);
	close(fds[1]);
	return argument;
}

static void *cancelled(void *argument)
{
	sem_t never;

	(void)argument;
	sem_init(&never, 0, 0);
	while (!sem_wait(&never))
		;
	return argument;
}

static void *leaf(void *argument)
{
	pid_t self = gettid();

	for (int i = 0; i < 3; i++)
		CHECK(syscall(SYS_gettid) == self);
	return argument;
}

/* Makes threads while others do: each is one of its own. */
static void *make(void *argument)
{
	for (long i = 0; i < 1000; i++) {
		void *result = NULL;
		pthread_t thread;

		CHECK(!pthread_create(&thread, NULL, leaf, (void *)i));
		CHECK(!pthread_join(thread, &result) && result == (void *)i);
	}
	return argument;
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	handle(SIGRTMIN, on_signal, SA_RESTART);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, work, (void *)i));
	ready++; /* only now is the last one's name there, for sure */
	for (long i = 0; i < THREADS; i++) {
		void *result = NULL;

		CHECK(!pthread_join(threads[i], &result) && result == (void *)i);
	}
	CHECK(handled == THREADS * SIGNALS && counter > 0);
	for (int i = 0; i < 20; i++) {
		void *result = NULL;
		pthread_t thread;

		CHECK(!pthread_create(&thread, NULL, cancelled, NULL));
		usleep(1000);
		CHECK(!pthread_cancel(thread));
		CHECK(!pthread_join(thread, &result) && result == PTHREAD_CANCELED);
	}
	for (long i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, make, NULL));
	for (long i = 0; i < 4; i++)
		CHECK(!pthread_join(threads[i], NULL));
	return done();
}
