// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whose call is it? The rules, in the order in which they are asked; the first
 * that holds makes it the library kernel's, otherwise it is the host's.
 *
 *	descriptor	an argument is a descriptor that the kernel gave
 *	family N	a socket of this address family
 *	path P		a path that is P or below it
 *	call NAME	this call, whatever its arguments are
 *	instead P Q	the host's, but of Q in place of the file P (names.c)
 *
 * The first is always there, the others come with the message, a line for each.
 */
#include "policy.h"

#include <linux/fcntl.h>

#include "files.h"
#include "kernel.h"
#include "message.h"
#include "names.h"
#include "say.h"

#define RULES 64

struct rule {
	enum { OF_FAMILY, OF_PATH, OF_CALL } kind;
	long number; /* of a family or a call */
	const char *path;
	size_t length; /* without slashes at its end: nothing is left of the root */
	const char *text;
};

static struct rule rules[RULES];
static int count;
static bool by_call[CALLS]; /* a rule names it */
static bool any_path;
bool policy_active, policy_has_data;

static bool starts(const char **text, const char *word)
{
	size_t n = strlen(word);

	if (memcmp(*text, word, n))
		return false;
	*text += n;
	return true;
}

static long parse_number(const char *text)
{
	long n = 0;

	if (!*text)
		return -1;
	for (; *text >= '0' && *text <= '9' && n < 1000; text++)
		n = n * 10 + (*text - '0');
	return *text ? -1 : n;
}

static long call_number(const char *name)
{
	size_t n = strlen(name) + 1;

	for (int nr = 0; nr < CALLS; nr++)
		if (calls[nr].name && strlen(calls[nr].name) + 1 == n &&
		    !memcmp(calls[nr].name, name, n))
			return nr;
	return -1;
}

/* Files there are what a kernel says, and none for data. */
static bool is_about_kernel(const char *path)
{
	return starts(&path, "/proc/") || starts(&path, "/sys/") || starts(&path, "/dev/");
}

static int add(const char *text)
{
	struct rule *rule = &rules[count];
	const char *rest = text;

	if (count == RULES)
		return -EINVAL;
	*rule = (struct rule){ .text = text };
	if (starts(&rest, "family ")) {
		rule->kind = OF_FAMILY;
		rule->number = parse_number(rest);
	} else if (starts(&rest, "call ")) {
		rule->kind = OF_CALL;
		rule->number = call_number(rest);
		if (rule->number >= 0)
			by_call[rule->number] = true;
	} else if (starts(&rest, "instead /")) {
		return names_instead(rest - 1);
	} else if (starts(&rest, "path /")) {
		rule->kind = OF_PATH;
		rule->path = rest - 1;
		rule->length = strlen(rule->path);
		while (rule->length && rule->path[rule->length - 1] == '/')
			rule->length--;
		any_path = true;
		policy_has_data = policy_has_data || !is_about_kernel(rule->path);
	} else {
		return -EINVAL;
	}
	if (rule->number < 0)
		return -EINVAL;
	count++;
	return 0;
}

int policy_begin(void)
{
	static char text[RULES_MAX];
	char *line = text;

	memcpy(text, message.rules, sizeof(text));
	while (*line) {
		char *end = line;

		while (*end && *end != '\n')
			end++;
		/* The lines stay where they are, as strings. */
		if (*end)
			*end++ = 0;
		if (add(line)) {
			complain(line, 0, "no such rule");
			return -EINVAL;
		}
		line = end;
	}
	if (count && !kernel_present) {
		complain(rules[0].text, 0, "there is no library kernel for it here");
		return -EINVAL;
	}
	policy_active = count || files_any();
	return 0;
}

static bool is_below(const char *path, const struct rule *rule)
{
	return !memcmp(path, rule->path, rule->length) &&
	       (path[rule->length] == '/' || (rule->length && !path[rule->length]));
}

/* What a relative path begins at: the kernel's or the host's. */
static const char *relative(struct thread *t, const struct call *call)
{
	int dir = call->dir == NO_DIR ? AT_FDCWD : (int)argument(t, call->dir);

	if (dir == AT_FDCWD)
		return t->files->inside ? "current directory" : NULL;
	return files_owned(t->files, dir) ? "descriptor" : NULL;
}

/* The rule that makes a call the kernel's, or NULL. */
static const char *find(struct thread *t, const struct call *call)
{
	long value = argument(t, call->at);
	char path[PATH_MAX];
	bool have_path = false;

	if (call->decider == BY_FD && files_owned(t->files, value))
		return "descriptor";
	if ((call->decider == BY_FD || call->decider == BY_NOTHING) && !by_call[call - calls])
		return NULL;
	if (call->decider == BY_PATH && any_path)
		have_path = copy_string(path, value, sizeof(path)) > 0;
	if (call->decider == BY_PATH && (!have_path || path[0] != '/')) {
		const char *begins = relative(t, call);

		if (begins)
			return begins;
	}
	for (const struct rule *rule = rules; rule < rules + count; rule++) {
		if (rule->kind == OF_CALL && call == &calls[rule->number])
			return rule->text;
		if (rule->kind == OF_FAMILY && call->decider == BY_FAMILY &&
		    rule->number == (int)value)
			return rule->text;
		if (rule->kind == OF_PATH && have_path && is_below(path, rule))
			return rule->text;
	}
	return NULL;
}

bool policy_decide(struct thread *t, const struct call *call)
{
	return call->name && find(t, call);
}

const char *policy_reason(struct thread *t, const struct call *call)
{
	const char *rule = policy_active ? find(t, call) : NULL;

	return rule ? rule : "no rule";
}
