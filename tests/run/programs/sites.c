// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thousand system call instructions, each at another place of a cache line, that
 * threads come to at the same time: they may be rewritten at any moment.
 */
#include "check.h"

#include <pthread.h>
#include <stdint.h>

#define SITES 1000
#define THREADS 4

/* sites[n](): makes the call getppid, and puts what it says and n into rax and rdx. */
extern char sites_begin[];
asm(".text\n.p2align 6\nsites_begin:\n"
    ".set n, 0\n"
    ".rept 1000\n"
    "  .pushsection site_offsets, \"a\"\n  .long 1f - sites_begin\n  .popsection\n"
    "1: mov $n, %edx\n"
    "  .if n % 3 == 0\n"
    "    mov $110, %eax\n    syscall\n" /* its mov may become a jump */
    "  .elseif n % 3 == 1\n"
    "    mov $110, %eax\n    test %esi, %esi\n    jz 2f\n    nop\n2:  syscall\n"
    "  .else\n"
    "    mov $110, %eax\n    cmp $1, %esi\n    jne 3f\n    mov $110, %eax\n3:  syscall\n"
    "  .endif\n"
    "  ret\n"
    "  .if n % 2\n    .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n  .endif\n"
    "  .set n, n + 1\n"
    "  .skip (n * 7) % 16 + 1, 0x90\n"
    ".endr\n"
    ".text\n");

/* The section of the offsets: its name is one of C, so the linker says where it begins. */
extern const uint32_t __start_site_offsets[];

static pthread_barrier_t barrier;
static long parent;

static void *work(void *argument)
{
	long self = (long)argument;

	for (int round = 0; round < 5; round++) {
		pthread_barrier_wait(&barrier);
		for (int i = 0; i < SITES; i++) {
			/* Half of the threads the other way round. */
			int n = self % 2 && round % 2 ? SITES - 1 - i : i;
			char *site = sites_begin + __start_site_offsets[n];
			long result, number;

			asm volatile("call *%3"
				     : "=a"(result), "=d"(number)
				     : "S"((long)(round & 1)), "r"(site)
				     : "rcx", "r11", "memory");
			CHECK(result == parent && (int)number == n);
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	setvbuf(stdout, NULL, _IONBF, 0);
	parent = getppid();
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&threads[i], NULL, work, (void *)i));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(threads[i], NULL));
	return done();
}
