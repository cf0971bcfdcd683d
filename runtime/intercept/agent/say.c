// SPDX-License-Identifier: GPL-2.0-only
/* Lines for people. */
#include "say.h"

void say_text(struct line *line, const char *text)
{
	while (*text && line->used < sizeof(line->text) - 1)
		line->text[line->used++] = *text++;
}

void say_number(struct line *line, long number)
{
	char digits[24];
	int at = sizeof(digits) - 1;
	unsigned long rest = number < 0 ? -(unsigned long)number : (unsigned long)number;

	digits[at] = 0;
	do
		digits[--at] = '0' + rest % 10;
	while (rest /= 10);
	if (number < 0)
		digits[--at] = '-';
	say_text(line, digits + at);
}

static const struct {
	int error;
	const char *text;
} errors[] = {
	{ ENOENT, "No such file or directory" },
	{ EACCES, "Permission denied" },
	{ EPERM, "Operation not permitted" },
	{ ENOEXEC, "not a program for this CPU (x86-64)" },
	{ ELIBBAD, "its interpreter is damaged" },
	{ ELOOP, "too many interpreters, or symbolic links" },
	{ ENOTDIR, "Not a directory" },
	{ ENOMEM, "Cannot allocate memory" },
	{ EEXIST, "its addresses are taken" },
	{ EMFILE, "Too many open files" },
	{ EISDIR, "Is a directory" },
	{ ENAMETOOLONG, "File name too long" },
};

void say_error(struct line *line, int error)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].error == -error) {
			say_text(line, errors[i].text);
			return;
		}
	say_text(line, "error ");
	say_number(line, -error);
}

long say_to(struct line *line, int fd)
{
	long written;

	line->text[line->used++] = '\n';
	written = host(__NR_write, fd, line->text, line->used);
	line->used = 0;
	return written;
}

void complain(const char *what, int error, const char *reason)
{
	struct line line = { .used = 0 };

	say_text(&line, "rumpel: ");
	say_text(&line, what);
	say_text(&line, ": ");
	if (reason)
		say_text(&line, reason);
	else
		say_error(&line, error);
	say_to(&line, 2);
}
