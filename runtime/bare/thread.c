// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locks between threads of all processes, and threads of the keeper's. A lock's word
 * is as the token's: the owner's number and a bit for "others wait". If its owner dies,
 * whoever gets it next hears of it (EOWNERDEAD), as of a robust lock of POSIX.
 */
#include "../shared/instance.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "bare.h"

/* How long a lock is waited for until its owner is looked at. */
#define PATIENCE (NS_PER_SEC / 20)
/* In place of the owner's number. */
#define OWNER_DIED (TOKEN_WANTED - 1)
#define STACK (256ull << 10)
#define SIGNAL_STACK (32ull << 10)

_Static_assert(sizeof(pthread_mutex_t) >= 4 && sizeof(pthread_cond_t) >= 4, "room for a word");

static uint32_t *word_of(void *object)
{
	return object;
}

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	(void)attributes;
	memset(mutex, 0, sizeof(*mutex));
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	(void)mutex;
	return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	uint32_t free = 0;

	return __atomic_compare_exchange_n(word_of(mutex), &free, rumpel_tid, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
		       ? 0
		       : EBUSY;
}

static void disown(uint32_t *lock, uint32_t tid)
{
	uint32_t word = atomic_get(lock);

	while ((word & ~TOKEN_WAITED) == tid)
		if (__atomic_compare_exchange_n(lock, &word, OWNER_DIED | TOKEN_WAITED, false,
						__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			rumpel_futex_wake(lock, 1);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	uint32_t *lock = word_of(mutex), word, mine = rumpel_tid;

	for (;;) {
		word = 0;
		if (__atomic_compare_exchange_n(lock, &word, mine, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			return 0;
		if ((word & ~TOKEN_WAITED) == OWNER_DIED) {
			if (__atomic_compare_exchange_n(lock, &word, mine | (word & TOKEN_WAITED),
							false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
				return EOWNERDEAD;
			continue;
		}
		if (!(word & TOKEN_WAITED) &&
		    !__atomic_compare_exchange_n(lock, &word, word | TOKEN_WAITED, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		mine = rumpel_tid | TOKEN_WAITED;
		if (rumpel_futex_wait(lock, word | TOKEN_WAITED, rumpel_host_now() + PATIENCE) !=
		    -ETIMEDOUT)
			continue;
		/* The keeper says so, unless it is gone itself. */
		if (shared_has_died(word & ~TOKEN_WAITED))
			disown(lock, word & ~TOKEN_WAITED);
	}
}

void bare_owner_died(uint32_t tid)
{
	struct rumpel_kernel *kernel = instance->kernel;

	disown(word_of(&instance->heap_lock), tid);
	disown(word_of(&kernel->jobs.lock), tid);
	disown(word_of(&kernel->agent_lock), tid);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	if (__atomic_exchange_n(word_of(mutex), 0, __ATOMIC_SEQ_CST) & TOKEN_WAITED)
		rumpel_futex_wake(word_of(mutex), 1);
	return 0;
}

int pthread_condattr_init(pthread_condattr_t *attributes)
{
	(void)attributes;
	return 0;
}

int pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t clock)
{
	(void)attributes;
	return clock == CLOCK_MONOTONIC ? 0 : EINVAL;
}

int pthread_condattr_destroy(pthread_condattr_t *attributes)
{
	(void)attributes;
	return 0;
}

int pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attributes)
{
	(void)attributes;
	memset(cond, 0, sizeof(*cond));
	return 0;
}

int pthread_cond_destroy(pthread_cond_t *cond)
{
	(void)cond;
	return 0;
}

static int cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t limit)
{
	uint32_t *changes = word_of(cond), seen = atomic_get(changes);
	int error;

	pthread_mutex_unlock(mutex);
	error = rumpel_futex_wait(changes, seen, limit);
	if (pthread_mutex_lock(mutex) == EOWNERDEAD)
		return EOWNERDEAD;
	return error == -ETIMEDOUT ? ETIMEDOUT : 0;
}

int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	return cond_wait(cond, mutex, NEVER);
}

/* On the monotonic clock, whatever the attributes said. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
			   const struct timespec *until)
{
	return cond_wait(cond, mutex, until->tv_sec * NS_PER_SEC + until->tv_nsec);
}

int pthread_cond_broadcast(pthread_cond_t *cond)
{
	__atomic_fetch_add(word_of(cond), 1, __ATOMIC_SEQ_CST);
	rumpel_futex_wake(word_of(cond), INT32_MAX);
	return 0;
}

int pthread_cond_signal(pthread_cond_t *cond)
{
	return pthread_cond_broadcast(cond);
}

/* ---- threads of the keeper ---- */

/* At the upper end of its stack. */
struct thread {
	struct rumpel_local local;
	uint32_t lives; /* a futex, which the host clears */
	void *(*run)(void *argument);
	void *argument;
};

pthread_t pthread_self(void)
{
	return rumpel_tid;
}

int pthread_equal(pthread_t a, pthread_t b)
{
	return a == b;
}

int pthread_attr_init(pthread_attr_t *attributes)
{
	(void)attributes;
	return 0;
}

int pthread_attr_setdetachstate(pthread_attr_t *attributes, int state)
{
	(void)attributes;
	(void)state;
	return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes)
{
	(void)attributes;
	return 0;
}

__attribute__((used)) static void thread_main(struct thread *thread)
{
	const stack_t signals = {
		.ss_sp = (char *)(thread + 1) - STACK + PAGE,
		.ss_size = SIGNAL_STACK - PAGE,
	};

	bare_syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, &thread->local);
	bare_syscall(SYS_sigaltstack, &signals, 0);
	thread->run(thread->argument);
	rumpel_token_take(instance->kernel);
	shared_tid_free(rumpel_tid);
	rumpel_token_give(instance->kernel);
	bare_syscall(SYS_exit, 0);
	__builtin_unreachable();
}

/* What a new thread calls first, on its own stack. */
static long spawn(struct thread *thread)
{
	const long flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			   CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
	register uint32_t *lives asm("r10") = &thread->lives;
	register long zero asm("r8") = 0;
	long result;

	asm volatile("syscall\n\t"
		     "testq %%rax, %%rax\n\t"
		     "jnz 1f\n\t"
		     "xorl %%ebp, %%ebp\n\t"
		     "movq %%rsp, %%rdi\n\t"
		     "andq $-16, %%rsp\n\t"
		     "callq *%4\n"
		     "1:"
		     : "=a"(result)
		     : "a"((long)SYS_clone), "D"(flags), "S"(thread), "b"(thread_main), "d"(0L),
		       "r"(lives), "r"(zero)
		     : "rcx", "r11", "memory");
	return result;
}

/* Only the keeper has threads of the runtime's. */
int pthread_create(pthread_t *result, const pthread_attr_t *attributes, void *(*run)(void *),
		   void *argument)
{
	struct rumpel_process *keeper = instance->processes;
	struct thread *thread;
	char *stack;

	(void)attributes;
	if (rumpel_self->process != keeper)
		return EAGAIN;
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return EAGAIN;
	thread = (struct thread *)(stack + STACK) - 1;
	thread->local.self = &thread->local;
	thread->local.process = keeper;
	thread->local.clock_gettime = rumpel_self->clock_gettime;
	thread->local.tid = shared_tid_new(keeper);
	thread->lives = 1;
	thread->run = run;
	thread->argument = argument;
	if (!thread->local.tid || spawn(thread) < 0) {
		munmap(stack, STACK);
		return EAGAIN;
	}
	*result = (pthread_t)thread;
	return 0;
}

int pthread_join(pthread_t joined, void **result)
{
	struct thread *thread = (struct thread *)joined;
	uint32_t lives;

	(void)result;
	while ((lives = atomic_get(&thread->lives)))
		rumpel_futex_wait(&thread->lives, lives, NEVER);
	munmap((char *)(thread + 1) - STACK, STACK);
	return 0;
}
