// SPDX-License-Identifier: GPL-2.0-only
/*
 * The token: a lock whose word names its holder (a thread's number, with a bit
 * for "others wait"), so that a holder that is gone can be told.
 */
#include "core.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * The holder is done within some microseconds; to be woken on another CPU takes
 * 20. So look for about as long before sleeping.
 */
#define TOKEN_SPINS 1000

__thread uint32_t rumpel_tid;

static void forget_tid(void)
{
	rumpel_tid = 0;
}

static void thread_once(void)
{
	/* The child of a fork is another thread. */
	pthread_atfork(NULL, NULL, forget_tid);
}

void rumpel_thread_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, thread_once);
	rumpel_fault_thread_init();
	rumpel_tid = syscall(SYS_gettid);
}

int rumpel_futex_wait(uint32_t *word, uint32_t value, uint64_t limit)
{
	struct timespec until = { limit / NS_PER_SEC, limit % NS_PER_SEC };

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
		    limit == NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return -errno;
}

void rumpel_futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

void rumpel_token_take_slowly(struct rumpel_kernel *kernel)
{
	uint32_t word, mine = rumpel_tid;

	for (int i = 0; i < TOKEN_SPINS; i++) {
		if (!__atomic_load_n(&kernel->token, __ATOMIC_RELAXED) && rumpel_token_try(kernel))
			return;
		__builtin_ia32_pause();
	}
	for (;;) {
		word = atomic_get(&kernel->token);
		/* Whoever has slept cannot know whether others still do. */
		if (!word) {
			if (__atomic_compare_exchange_n(&kernel->token, &word, mine, false,
							__ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
				rumpel_token_moved(kernel);
				return;
			}
			continue;
		}
		if (!(word & TOKEN_WAITED) &&
		    !__atomic_compare_exchange_n(&kernel->token, &word, word | TOKEN_WAITED, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		rumpel_futex_wait(&kernel->token, word | TOKEN_WAITED, NEVER);
		mine = rumpel_tid | TOKEN_WAITED;
	}
}

void rumpel_token_moved(struct rumpel_kernel *kernel)
{
	kernel->runner = rumpel_tid;
	/* The counter may be read ahead of the token: ask the host's clock, which does not. */
	kernel->vcpu->cycle_limit = 0;
}

void rumpel_token_wake(struct rumpel_kernel *kernel)
{
	rumpel_futex_wake(&kernel->token, 1);
}
