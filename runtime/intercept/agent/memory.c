// SPDX-License-Identifier: GPL-2.0-only
/* Memory: what the compiler wants, copies from and to the program, pages, locks. */
#include "agent.h"

#include <linux/mman.h>
#include <linux/futex.h>

#include "kernel.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *result = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return result;
}

void *memmove(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	if (t <= f || t >= f + n)
		return memcpy(to, from, n);
	while (n--)
		t[n] = f[n];
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *result = to;

	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

struct iovec {
	void *base;
	size_t size;
};

/*
 * With a kernel the host always calls on_signal() for a fault, which makes it EFAULT; unless the
 * program has blocked it: then the host would kill.
 */
static bool faults_come(void)
{
	return kernel_present && !(this_thread()->held & FAULT_SIGNALS);
}

/*
 * process_vm_readv and _writev say EFAULT where a load or a store would raise a
 * signal, which the program may have blocked. They are asked about this very
 * process, so no permission is needed. Where a container does not allow them at
 * all, a bad pointer is a SIGSEGV. By the thread's number: the process's is that of its
 * first thread, which has no memory any more when it has ended.
 */
static long copy(long nr, void *local, uint64_t remote, size_t n)
{
	struct iovec here = { local, n }, there = { (void *)remote, n };
	long done = host(nr, host_tid(), &here, 1, &there, 1, 0);

	if (done == -ENOSYS || done == -EPERM) {
		if (nr == __NR_process_vm_readv)
			memcpy(local, (void *)remote, n);
		else
			memcpy((void *)remote, local, n);
		return n;
	}
	return done;
}

int copy_in(void *to, uint64_t from, size_t n)
{
	if (faults_come())
		return copy_bytes(to, (const void *)from, n);
	return copy(__NR_process_vm_readv, to, from, n) == (long)n ? 0 : -EFAULT;
}

int copy_out(uint64_t to, const void *from, size_t n)
{
	if (faults_come())
		return copy_bytes((void *)to, from, n);
	return copy(__NR_process_vm_writev, (void *)from, to, n) == (long)n ? 0 : -EFAULT;
}

long copy_string(char *to, uint64_t from, size_t size)
{
	size_t have = 0;

	while (have < size) {
		/* Not beyond a page: the next one need not be there. */
		size_t part = PAGE - (from + have) % PAGE;

		if (part > 64)
			part = 64;
		if (part > size - have)
			part = size - have;
		if (copy_in(to + have, from + have, part))
			return -EFAULT;
		for (size_t i = 0; i < part; i++)
			if (!to[have + i])
				return have + i;
		have += part;
	}
	return -ENAMETOOLONG;
}

void *map_pages(size_t size)
{
	long at = host(__NR_mmap, 0, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return is_error(at) ? NULL : (void *)at;
}

/* 0: free, 1: held, 2: held and waited for. */
void lock(uint32_t *word)
{
	uint32_t was = 0;

	if (__atomic_compare_exchange_n(word, &was, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE))
		host(__NR_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 2, 0);
}

void unlock(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2)
		host(__NR_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}
