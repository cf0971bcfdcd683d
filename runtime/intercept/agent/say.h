/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef AGENT_SAY_H
#define AGENT_SAY_H

#include "agent.h"

/* A line that is put together; what does not fit is cut. */
struct line {
	char text[4096];
	size_t used;
};

void say_text(struct line *line, const char *text);
void say_number(struct line *line, long number);
/* What strerror says, of errors that starting a program has. */
void say_error(struct line *line, int error);
void say_to(struct line *line, int fd); /* with a newline, in one write */
/* "rumpel: what: why" on standard error; error: negative errno, 0: why is said by reason. */
void complain(const char *what, int error, const char *reason);

#endif
