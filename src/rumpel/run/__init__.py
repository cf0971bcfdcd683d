# SPDX-License-Identifier: GPL-2.0-only
"""Unmodified programs, with every system call of theirs in our hands.

A program runs under an *agent*, a small one in C that lives in its address space
(``runtime/intercept/agent``). All calls are caught: through the C library, by
instructions of the program's own, in static programs, in all threads and in all
programs that it starts. A table of rules says which are a library kernel's
(:mod:`rumpel.run.policy`); the program's processes share that (docs/shared.md).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.run.agent import AgentError, execute, find_program
    from rumpel.run.explain import Explain, Trap
    from rumpel.run.images import Image
    from rumpel.run.instance import Instance, instances
    from rumpel.run.launch import Options, launch, launch_in
    from rumpel.run.nets import Net
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

_WHERE = {
    "agent": ("AgentError", "execute", "find_program"),
    "explain": ("Explain", "Trap"),
    "images": ("Image",),
    "instance": ("Instance", "instances"),
    "launch": ("Options", "launch", "launch_in"),
    "nets": ("Net",),
    "popen": ("Popen",),
    "shared": ("SharedKernel", "boot", "join"),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import what is used: ``rumpel run`` needs little."""
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"rumpel.run.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})
