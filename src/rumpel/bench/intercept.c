// SPDX-License-Identifier: GPL-2.0-only
/* A no-op system call of a program: from a site that is rewritten, and from one that is not. */
#include "side.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * Time in ns for n calls, or a negative errno. nr: a call that the agent answers
 * by itself, or that the host does. known: by the C library, whose text is rewritten;
 * otherwise by instructions that the program wrote itself, which the agent leaves alone.
 */
RUMPEL_API int64_t bench_intercept(bool known, long nr, long n);

int64_t bench_intercept(bool known, long nr, long n)
{
	/* mov %edi, %eax; syscall; ret */
	static const unsigned char code[] = { 0x89, 0xf8, 0x0f, 0x05, 0xc3 };
	long (*own)(long nr);
	int64_t start;

	own = mmap(NULL, sizeof(code), PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (own == MAP_FAILED)
		return -errno;
	memcpy(own, code, sizeof(code));
	start = now();
	if (known)
		for (long i = 0; i < n; i++)
			syscall(nr);
	else
		for (long i = 0; i < n; i++)
			own(nr);
	start = now() - start;
	munmap(own, sizeof(code));
	return start;
}
