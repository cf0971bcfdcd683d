// SPDX-License-Identifier: GPL-2.0-only
/* Counts and traces of calls: a line is one write, so processes do not mix theirs. */
#include "explain.h"

#include <linux/prctl.h>

#include "files.h"
#include "patch.h"
#include "policy.h"
#include "say.h"

bool explaining;

static uint32_t counts[CALLS][2]; /* the host's, the kernel's */

void explain_begin(void)
{
	explaining = message.flags & (FLAG_COUNTS | FLAG_TRACE);
}

static void begin_line(struct line *line)
{
	char comm[16] = "";

	host(__NR_prctl, PR_GET_NAME, comm);
	say_text(line, comm);
	say_text(line, "[");
	say_number(line, host_pid());
	say_text(line, "] ");
}

void explain_call(struct thread *t, const struct call *call, bool kernel)
{
	uint32_t nr = (uint32_t)t->regs.nr;
	struct line line = { .used = 0 };

	if (nr < CALLS)
		__atomic_fetch_add(&counts[nr][kernel], 1, __ATOMIC_RELAXED);
	if (!(message.flags & FLAG_TRACE))
		return;
	begin_line(&line);
	if (call->name)
		say_text(&line, call->name);
	else
		say_number(&line, nr);
	say_text(&line, kernel ? ": kernel: " : ": host: ");
	say_text(&line, policy_reason(t, call));
	say_to(&line, t->files->agent_fd + FD_EXPLAIN);
}

void explain_end(struct thread *t)
{
	if (!(message.flags & FLAG_COUNTS))
		return;
	for (int kernel = 0; kernel < 2; kernel++) {
		struct line line = { .used = 0 };
		bool some = false;

		begin_line(&line);
		say_text(&line, kernel ? "kernel:" : "host:");
		for (int nr = 0; nr < CALLS; nr++) {
			uint32_t n = __atomic_exchange_n(&counts[nr][kernel], 0, __ATOMIC_RELAXED);

			if (!n)
				continue;
			some = true;
			say_text(&line, " ");
			if (calls[nr].name)
				say_text(&line, calls[nr].name);
			else
				say_number(&line, nr);
			say_text(&line, "=");
			say_number(&line, n);
		}
		if (some && !kernel) {
			say_text(&line, "; trapped ");
			say_number(&line, patch_traps);
			say_text(&line, ", rewritten ");
			say_number(&line, patch_sites);
		}
		if (some)
			say_to(&line, t->files->agent_fd + FD_EXPLAIN);
	}
}

void explain_forked(void)
{
	memset(counts, 0, sizeof(counts));
	patch_traps = patch_sites = 0;
}
