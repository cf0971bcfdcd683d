// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the program sees of itself: /proc/self/exe is the agent for the host, and
 * /proc/self/fd has the agent's descriptors.
 */
#include "names.h"

#include <linux/fcntl.h>

#include "dispatch.h"
#include "files.h"
#include "kernel.h"
#include "policy.h"
#include "say.h"

#define LONGEST 64 /* of the names that mean something else than they say */
#define OTHERS 8

char exe_path[PATH_MAX];

void names_begin(int program_fd)
{
	struct line line = { .used = 0 };
	long n;

	say_text(&line, "/proc/self/fd/");
	say_number(&line, program_fd);
	line.text[line.used] = 0;
	n = host(__NR_readlinkat, AT_FDCWD, line.text, exe_path, sizeof(exe_path) - 1);
	exe_path[n < 0 ? 0 : n] = 0;
}

static bool equal(const char *a, const char *b)
{
	return !memcmp(a, b, strlen(b) + 1);
}

bool names_is_exe(const char *path)
{
	struct line line = { .used = 0 };

	if (memcmp(path, "/proc/", 6) || !exe_path[0])
		return false;
	if (equal(path, "/proc/self/exe") || equal(path, "/proc/thread-self/exe"))
		return true;
	say_text(&line, "/proc/");
	say_number(&line, host_pid());
	say_text(&line, "/exe");
	line.text[line.used] = 0;
	return equal(path, line.text);
}

static struct {
	const char *path, *other;
	size_t length; /* of path */
} others[OTHERS];
static int other_count;

int names_instead(const char *pair)
{
	size_t length = 0;

	while (pair[length] && pair[length] != ' ')
		length++;
	if (other_count == OTHERS || pair[length] != ' ' || pair[length + 1] != '/' ||
	    length >= LONGEST)
		return -EINVAL;
	others[other_count].path = pair;
	others[other_count].length = length;
	others[other_count++].other = pair + length + 1;
	return 0;
}

static const char *other_of(const char *path)
{
	for (int i = 0; i < other_count; i++)
		if (!memcmp(path, others[i].path, others[i].length) && !path[others[i].length])
			return others[i].other;
	return NULL;
}

static bool is_exe(uint64_t at)
{
	char path[LONGEST];

	/* Most are not, and end before or differ in the first bytes. */
	if (copy_in(path, at, 6) || memcmp(path, "/proc/", 6))
		return false;
	return copy_string(path, at, sizeof(path)) > 0 && names_is_exe(path);
}

/* The file that a name means, if that is not what it says; or NULL. */
static const char *meaning(uint64_t at)
{
	char path[LONGEST];

	if (!other_count)
		return is_exe(at) ? exe_path : NULL;
	if (copy_string(path, at, sizeof(path)) <= 0)
		return NULL;
	return names_is_exe(path) ? exe_path : other_of(path);
}

long call_path0(struct thread *t)
{
	const char *other;

	if (t->regs.nr == __NR_open && (t->regs.rsi & O_NOFOLLOW))
		return call_through(t);
	other = meaning(t->regs.rdi);
	return other ? call_with(t, 0, (long)other) : call_through(t);
}

/* The call is about a symbolic link itself. */
static bool is_about_link(const struct thread *t)
{
	switch (t->regs.nr) {
	case __NR_openat:
		return t->regs.rdx & O_NOFOLLOW;
	case __NR_statx:
		return t->regs.rdx & AT_SYMLINK_NOFOLLOW;
	case __NR_newfstatat:
	case __NR_faccessat2:
		return t->regs.r10 & AT_SYMLINK_NOFOLLOW;
	}
	return false;
}

long call_path1(struct thread *t)
{
	const char *other = is_about_link(t) ? NULL : meaning(t->regs.rsi);

	return other ? call_with(t, 1, (long)other) : call_through(t);
}

static long answer(uint64_t to, long size)
{
	long n = strlen(exe_path);

	if (size <= 0)
		return -EINVAL;
	if (n > size)
		n = size;
	return copy_out(to, exe_path, n) ? -EFAULT : n;
}

long call_readlink(struct thread *t)
{
	if (is_exe(t->regs.rdi))
		return answer(t->regs.rsi, (int)t->regs.rdx);
	return call_through(t);
}

long call_readlinkat(struct thread *t)
{
	if (is_exe(t->regs.rsi))
		return answer(t->regs.rdx, (int)t->regs.r10);
	return call_through(t);
}

struct entry {
	uint64_t inode, offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* The number that a name is, or -1. */
static long number(const char *name)
{
	long n = 0;

	for (; *name >= '0' && *name <= '9' && n < (1 << 24); name++)
		n = n * 10 + (*name - '0');
	return *name ? -1 : n;
}

/* Is this directory one of the descriptors of a process? */
static bool lists_descriptors(int fd)
{
	char target[LONGEST];
	struct line line = { .used = 0 };
	long n;

	say_text(&line, "/proc/self/fd/");
	say_number(&line, fd);
	line.text[line.used] = 0;
	n = host(__NR_readlinkat, AT_FDCWD, line.text, target, sizeof(target) - 1);
	if (n < 6 || memcmp(target, "/proc/", 6))
		return false;
	target[n] = 0;
	return equal(target + n - 3, "/fd") || (n > 7 && equal(target + n - 7, "/fdinfo"));
}

/* Takes out the agent's of n bytes of entries: the bytes that remain. */
static long without_reserved(const struct files *files, char *entries, long n)
{
	for (long at = 0; at < n;) {
		struct entry *entry = (struct entry *)(entries + at);
		long size = entry->size, fd = number(entry->name);

		if (fd < 0 || !is_reserved(files, fd)) {
			at += size;
			continue;
		}
		memmove(entry, entries + at + size, n - at - size);
		n -= size;
	}
	return n;
}

static bool has_reserved(const struct files *files, const char *entries, long n)
{
	for (long at = 0; at < n; at += ((struct entry *)(entries + at))->size) {
		long fd = number(((struct entry *)(entries + at))->name);

		if (fd >= 0 && is_reserved(files, fd))
			return true;
	}
	return false;
}

long call_getdents64(struct thread *t)
{
	char *entries = (char *)t->regs.rsi;
	long n, rest;

	do {
		n = call_through(t);
		if (n <= 0 || !has_reserved(t->files, entries, n) ||
		    !lists_descriptors((int)t->regs.rdi))
			return n;
		rest = without_reserved(t->files, entries, n);
	} while (!rest); /* which would be the end */
	return rest;
}

/* Also fchdir. The other kernel's stays what it was, and is not seen. */
long call_chdir(struct thread *t)
{
	bool inside = policy_active && policy_decide(t, &calls[t->regs.nr]);
	long result = inside ? kernel_call(t) : call_through(t);

	if (!result)
		t->files->inside = inside;
	return result;
}

long call_getcwd(struct thread *t)
{
	return t->files->inside ? kernel_call(t) : call_through(t);
}
