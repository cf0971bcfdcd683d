# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified programs, with every system call of theirs in our hands.

A program runs under an *agent*, a small one in C that lives in its address space
(``runtime/intercept/agent``). All calls are caught: through the C library, by
instructions of the program's own, in static programs, in all threads and in all
programs that it starts. For now each goes on to the host; which ones are a
library kernel's is a matter of rules.
"""

from __future__ import annotations

from rumpel.run.agent import AgentError, Explain, Trap, execute, find_program

__all__ = ["AgentError", "Explain", "Trap", "execute", "find_program"]
