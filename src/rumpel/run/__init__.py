# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified programs, with every system call of theirs in our hands.

A program runs under an *agent*, a small one in C that lives in its address space
(``runtime/intercept/agent``). All calls are caught: through the C library, by
instructions of the program's own, in static programs, in all threads and in all
programs that it starts. A table of rules says which are a library kernel's
(:mod:`rumpel.run.policy`); the program's processes share that (docs/shared.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rumpel.run.agent import AgentError, Explain, Trap, execute, find_program
from rumpel.run.images import Image
from rumpel.run.instance import Instance, instances
from rumpel.run.launch import Options, launch, launch_in
from rumpel.run.nets import Net

if TYPE_CHECKING:
    from rumpel.run.popen import Popen
    from rumpel.run.shared import SharedKernel, boot, join

__all__ = [
    "AgentError",
    "Explain",
    "Image",
    "Instance",
    "Net",
    "Options",
    "Popen",
    "SharedKernel",
    "Trap",
    "boot",
    "execute",
    "find_program",
    "instances",
    "join",
    "launch",
    "launch_in",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what ``rumpel run`` does not need when it is used."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = "popen" if name == "Popen" else "shared"
        value = globals()[name] = getattr(import_module(f"rumpel.run.{module}"), name)
        return value
