# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified programs, with every system call of theirs in our hands.

A program runs under an *agent*, a small one in C that lives in its address space
(``runtime/intercept/agent``). All calls are caught: through the C library, by
instructions of the program's own, in static programs, in all threads and in all
programs that it starts. A table of rules says which are a library kernel's
(:mod:`rumpel.run.policy`); the program's processes share that (docs/shared.md).
"""

from __future__ import annotations

from rumpel.run.agent import AgentError, Explain, Trap, execute, find_program
from rumpel.run.instance import Instance, instances
from rumpel.run.launch import Options, launch, launch_in
from rumpel.run.nets import Net

__all__ = [
    "AgentError",
    "Explain",
    "Instance",
    "Net",
    "Options",
    "Trap",
    "execute",
    "find_program",
    "instances",
    "launch",
    "launch_in",
]
