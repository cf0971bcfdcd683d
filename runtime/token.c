// SPDX-License-Identifier: GPL-2.0-only
/*
 * The token: a lock whose word names its holder (a thread's number, with bits
 * for what others wait for), so that a holder that is gone can be told.
 */
#include "core.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * The holder is done within some microseconds; to be woken on another CPU takes
 * 20, or 50. So look for about as long before sleeping.
 */
#define TOKEN_SPIN (50 * 1000)
/*
 * A thread that calls again and again takes the token as soon as it has given it.
 * After this time whoever looks for it says so, and gets it next. Not sooner: the
 * kernel's data moves along, from one CPU's caches to the other's.
 */
#define TOKEN_PATIENCE (20 * 1000)
/* How long the giver waits until it is taken: longer, and the other does not run. */
#define TOKEN_PASS 50

int rumpel_futex_wait(uint32_t *word, uint32_t value, uint64_t limit)
{
	struct timespec until = { limit / NS_PER_SEC, limit % NS_PER_SEC };

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | RUMPEL_FUTEX, value,
		    limit == NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	return -errno;
}

void rumpel_futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE | RUMPEL_FUTEX, count, NULL, NULL, 0);
}

static bool take_free(struct rumpel_kernel *kernel, uint32_t mine)
{
	uint32_t word = 0;

	if (!__atomic_compare_exchange_n(&kernel->token, &word, mine, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_RELAXED))
		return false;
	if (kernel->runner != rumpel_tid)
		rumpel_token_moved(kernel);
	return true;
}

static bool spin(struct rumpel_kernel *kernel, uint32_t mine)
{
	uint64_t start = rumpel_host_now(), waited;
	uint32_t word;

	do {
		for (int i = 0; i < 8; i++) {
			word = relaxed_get(&kernel->token);
			if (!word && take_free(kernel, mine))
				return true;
			__builtin_ia32_pause();
		}
		waited = rumpel_host_now() - start;
		if (word && waited > TOKEN_PATIENCE && !(word & TOKEN_WANTED))
			__atomic_compare_exchange_n(&kernel->token, &word, word | TOKEN_WANTED,
						    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	} while (waited < TOKEN_SPIN);
	return false;
}

bool rumpel_token_take_until(struct rumpel_kernel *kernel, uint64_t limit)
{
	uint32_t word, mine;

	if (!rumpel_tid)
		rumpel_thread_init();
	mine = rumpel_tid;
	if (rumpel_token_is_mine(kernel))
		return false;
	if (spin(kernel, mine))
		return true;
	for (;;) {
		word = atomic_get(&kernel->token);
		if (!word && take_free(kernel, mine))
			return true;
		if (!word)
			continue;
		if (limit != NEVER && rumpel_host_now() >= limit)
			return false;
		if (!(word & TOKEN_WAITED) &&
		    !__atomic_compare_exchange_n(&kernel->token, &word, word | TOKEN_WAITED, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			continue;
		if (rumpel_futex_wait(&kernel->token, word | TOKEN_WAITED,
				      rumpel_patience(limit)) == -ETIMEDOUT)
			rumpel_look_after(kernel);
		/* Whoever has slept cannot know whether others still do. */
		mine = rumpel_tid | TOKEN_WAITED;
		/* Others take it as soon as they have given it: be there when they do. */
		if (spin(kernel, mine))
			return true;
	}
}

void rumpel_token_take_slowly(struct rumpel_kernel *kernel)
{
	rumpel_token_take_until(kernel, NEVER);
}

void rumpel_token_moved(struct rumpel_kernel *kernel)
{
	kernel->runner = rumpel_tid;
	/* The counter may be read ahead of the token: ask the host's clock, which does not. */
	kernel->vcpu->cycle_limit = 0;
	rumpel_took_over(kernel);
}

void rumpel_token_pass(struct rumpel_kernel *kernel, uint32_t bits)
{
	if (bits & TOKEN_WAITED)
		rumpel_futex_wake(&kernel->token, 1);
	if (bits & TOKEN_WANTED)
		for (int i = 0; i < TOKEN_PASS && !relaxed_get(&kernel->token); i++)
			__builtin_ia32_pause();
}
