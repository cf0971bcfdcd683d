// SPDX-License-Identifier: GPL-2.0-only
/* snprintf with %s, %d and %u. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct output {
	char *at;
	size_t room, len;
};

static void put(struct output *output, const char *text, size_t len)
{
	for (; len; len--, text++, output->len++)
		if (output->len + 1 < output->room)
			output->at[output->len] = *text;
}

static void put_number(struct output *output, unsigned int value)
{
	char digits[10];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	put(output, digits + at, sizeof(digits) - at);
}

int vsnprintf(char *restrict to, size_t size, const char *restrict format, va_list arguments)
{
	struct output output = { .at = to, .room = size };

	for (; *format; format++) {
		const char *text;
		int number;

		if (*format != '%') {
			put(&output, format, 1);
			continue;
		}
		switch (*++format) {
		case 's':
			text = va_arg(arguments, const char *);
			put(&output, text, strlen(text));
			break;
		case 'd':
			number = va_arg(arguments, int);
			if (number < 0)
				put(&output, "-", 1);
			put_number(&output,
				   number < 0 ? -(unsigned int)number : (unsigned int)number);
			break;
		case 'u':
			put_number(&output, va_arg(arguments, unsigned int));
			break;
		default:
			__builtin_trap(); /* whoever needs another one adds it */
		}
	}
	if (size)
		to[output.len < size ? output.len : size - 1] = 0;
	return (int)output.len;
}

int snprintf(char *restrict to, size_t size, const char *restrict format, ...)
{
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vsnprintf(to, size, format, arguments);
	va_end(arguments);
	return len;
}
