# SPDX-License-Identifier: GPL-2.0-only
"""Start a program under the agent: the way of ``rumpel run``, and nothing remains of Python."""

from __future__ import annotations

import enum
import errno
import os
import resource
import shutil
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from rumpel.errors import RumpelError

AGENT = Path(__file__).with_name("rumpel-agent")

# What follows is runtime/intercept/agent/message.h, in Python.
MAGIC, VERSION = 0x706D7572, 2
PATH_MAX, RULES_MAX = 4096, 4096
MESSAGE = struct.Struct(f"=4IiI{PATH_MAX}s{RULES_MAX}s")
FD_AGENT, FD_MESSAGE, FD_EXPLAIN = range(3)
FDS_RESERVED = 4
FLAG_SECCOMP, FLAG_COUNTS, FLAG_TRACE, FLAG_PYTHON, FLAG_MPTCP = 1, 4, 8, 16, 32

HIGHEST_FD = 1024
"""The agent's descriptors are below this: a table of descriptors is copied with each fork."""


class AgentError(RumpelError):
    """A program cannot be run under the agent."""


class Explain(enum.Enum):
    """How much is told about who answered the program's calls."""

    COUNTS = FLAG_COUNTS
    """When a process ends or executes another program: how often which call."""
    TRACE = FLAG_TRACE
    """Each call, and the rule that decided."""


class Trap(enum.Enum):
    """How calls are caught where the program's text was not rewritten."""

    AUTO = 0
    """Syscall user dispatch, or else seccomp."""
    SECCOMP = FLAG_SECCOMP
    """A seccomp filter, which every host has; setuid programs lose their power for it."""


def find_program(name: str) -> str:
    """Find a program as ``execvp`` does.

    Args:
        name: a path, or a name that is looked for in ``PATH``.

    Raises:
        FileNotFoundError: if there is none.
    """
    found = name if "/" in name else shutil.which(name)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such program", name)
    return found


def execute(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    explain: Explain | None = None,
    explain_fd: int = 2,
    trap: Trap = Trap.AUTO,
    rules: Sequence[str] = (),
    kernel: int | None = None,
    flags: int = 0,
) -> NoReturn:
    """Become a program under the agent; only errors return.

    Args:
        arguments: the program, by name or path, and its arguments.
        environment: of the program; this process's by default.
        explain: tell who answered its calls.
        explain_fd: where that is written to.
        trap: how calls are caught.
        rules: which calls are a library kernel's: ``family 2``, ``path /mnt``, ``call uname``.
        kernel: the first of that kernel's descriptors (:mod:`rumpel.run.keeper`); None: there is
            none.
        flags: more of them, for the agent.

    Raises:
        FileNotFoundError: if there is no such program.
        AgentError: if the agent is missing or too few descriptors are allowed.
        ValueError: if there are more rules than the agent takes.

    Example:
        >>> pid = os.fork()                              # doctest: +SKIP
        >>> pid or execute(["/bin/echo", "hello"])       # doctest: +SKIP

    See execve(2), whose errors a program that cannot be run gives in the end: the agent
    writes them in one line, and exits with 127 if there is no program, else with 126.
    """
    path = os.fsencode(find_program(arguments[0]))
    if len(path) >= PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), arguments[0])
    flags |= FLAG_PYTHON | trap.value | (explain.value if explain else 0)
    lines = os.fsencode("\n".join(rules))
    if len(lines) >= RULES_MAX:
        raise ValueError("too many rules")
    message = MESSAGE.pack(
        MAGIC, VERSION, flags, 0, -1 if kernel is None else kernel, 0, path, lines
    )
    base = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], HIGHEST_FD) - FDS_RESERVED
    if base <= 2:
        raise AgentError("the limit of open files (ulimit -n) is too low")
    try:
        agent = os.open(AGENT, os.O_PATH)
    except FileNotFoundError:
        raise AgentError(f"{AGENT} is missing: rumpel was not installed as a whole") from None
    _move(agent, base + FD_AGENT)
    memory = os.memfd_create("rumpel-agent")
    os.write(memory, message)
    _move(memory, base + FD_MESSAGE)
    if explain:
        os.dup2(explain_fd, base + FD_EXPLAIN)
    os.execve(base + FD_AGENT, list(arguments), os.environ if environment is None else environment)


def _move(fd: int, to: int) -> None:
    """Give a descriptor another number, under which a program inherits it."""
    os.dup2(fd, to, inheritable=True)
    if fd != to:
        os.close(fd)
