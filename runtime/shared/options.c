// SPDX-License-Identifier: GPL-2.0-only
/* A keeper's arguments: see options.h. */
#include "options.h"

#define FDS 900

uint64_t options_number(const char *text)
{
	uint64_t value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

unsigned int options_bytes(const char *text, uint8_t *bytes, unsigned int most)
{
	unsigned int count = 0;

	for (; count < most && digit(text[0]) >= 0 && digit(text[1]) >= 0; text += 2)
		bytes[count++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	return count;
}

const char *options_value(const char *text, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(text, name, len) && text[len] == '=' ? text + len + 1 : NULL;
}

static bool has_name(const char *text, const char *const names[])
{
	for (; *names; names++)
		if (options_value(text, *names))
			return true;
	return false;
}

/* 1: taken; 0: there are too many; -1: it is none of these. */
static int take_list(struct options *options, const char *text)
{
	static const char *const devices[] = { "tap", "frames", "packet", "disk", "nbd", NULL };
	static const char *const steps[] = { "write", "mtu", "up", "address", "gateway", NULL };

	if (has_name(text, devices)) {
		if (options->device_count == MOST_DEVICES)
			return 0;
		options->devices[options->device_count++] = text;
		return 1;
	}
	if (has_name(text, steps)) {
		if (options->step_count == MOST_STEPS)
			return 0;
		options->steps[options->step_count++] = text;
		return 1;
	}
	return -1;
}

const char *options_parse(struct options *options, char **arguments)
{
	const char *value;

	*options = (struct options){ .control = -1, .fds = FDS, .listen = -1 };
	for (; *arguments; arguments++) {
		switch (take_list(options, *arguments)) {
		case 0:
			return "there are too many networks and images, or settings of them";
		case 1:
			continue;
		}
		if ((value = options_value(*arguments, "control")))
			options->control = (int)options_number(value);
		else if ((value = options_value(*arguments, "image")))
			options->image = value;
		else if ((value = options_value(*arguments, "memory")))
			options->memory = options_number(value);
		else if ((value = options_value(*arguments, "fds")))
			options->fds = (int)options_number(value);
		else if ((value = options_value(*arguments, "cmdline")))
			options->cmdline = value;
		else if ((value = options_value(*arguments, "snapshot")))
			options->snapshot = value;
		else if ((value = options_value(*arguments, "listen")))
			options->listen = (int)options_number(value);
		else if ((value = options_value(*arguments, "log")))
			options->log = (int)options_number(value);
		else if ((value = options_value(*arguments, "remove")) &&
			 options->file_count < MOST_FILES)
			options->files[options->file_count++] = value;
		else if (options_value(*arguments, "detach"))
			options->detach = true;
		else
			return "an argument is not known";
	}
	if (!options->image || options->control < 0)
		return "control and image must be named";
	return NULL;
}
