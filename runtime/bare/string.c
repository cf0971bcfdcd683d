// SPDX-License-Identifier: GPL-2.0-only
/* The functions of <string.h> that the runtime uses (C11, 7.24; POSIX). */
#include <stdint.h>
#include <string.h>

/* Long ones are what the CPU's string instructions are for; they are slow to begin. */
#define LONG 128

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	if (n < LONG) {
		for (; n >= 8; n -= 8, to = (char *)to + 8, from = (const char *)from + 8) {
			uint64_t word;

			__builtin_memcpy(&word, from, 8);
			__builtin_memcpy(to, &word, 8);
		}
	}
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return at;
}

void *memmove(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	if ((uintptr_t)t - (uintptr_t)f >= n)
		return memcpy(to, from, n);
	while (n--)
		t[n] = f[n];
	return to;
}

void *memset(void *at, int value, size_t n)
{
	void *to = at;

	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
	return at;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

size_t strnlen(const char *text, size_t most)
{
	size_t len = 0;

	while (len < most && text[len])
		len++;
	return len;
}

size_t strlen(const char *text)
{
	return strnlen(text, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

char *strncpy(char *restrict to, const char *restrict from, size_t n)
{
	size_t len = strnlen(from, n);

	memcpy(to, from, len);
	memset(to + len, 0, n - len);
	return to;
}

char *strcpy(char *restrict to, const char *restrict from)
{
	return memcpy(to, from, strlen(from) + 1);
}

char *strchr(const char *text, int c)
{
	for (;; text++) {
		if (*text == (char)c)
			return (char *)text;
		if (!*text)
			return NULL;
	}
}

char *strrchr(const char *text, int c)
{
	const char *found = NULL;

	do {
		if (*text == (char)c)
			found = text;
	} while (*text++);
	return (char *)found;
}

char *strstr(const char *text, const char *what)
{
	size_t len = strlen(what);

	for (; *text; text++)
		if (!strncmp(text, what, len))
			return (char *)text;
	return len ? NULL : (char *)text;
}

/* The text from *at up to one of `delimiters`, which ends it; NULL: no more. */
char *strtok_r(char *restrict text, const char *restrict delimiters, char **restrict at)
{
	char *end;

	if (!text)
		text = *at;
	while (*text && strchr(delimiters, *text))
		text++;
	for (end = text; *end && !strchr(delimiters, *end);)
		end++;
	*at = *end ? end + 1 : end;
	*end = 0;
	return end > text ? text : NULL;
}
