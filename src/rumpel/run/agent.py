# SPDX-License-Identifier: GPL-2.0-only
"""Start a program under the agent: the way of ``rumpel run``, and nothing remains of Python."""

from __future__ import annotations

import errno
import os
import resource
import stat
import struct

from rumpel.build.roots import which
from rumpel.errors import RumpelError
from rumpel.run import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

    from rumpel.run.explain import Explain, Trap

AGENT = f"{os.path.dirname(__file__)}/rumpel-agent"  # noqa: PTH120

# What follows is runtime/intercept/agent/message.h, in Python.
MAGIC, VERSION = 0x706D7572, 2
PATH_MAX, RULES_MAX = 4096, 4096
MESSAGE = struct.Struct(f"=4IiI{PATH_MAX}s{RULES_MAX}s")
FD_AGENT, FD_MESSAGE, FD_EXPLAIN = range(3)
FDS_RESERVED = 4
FLAG_SECCOMP, FLAG_COUNTS, FLAG_TRACE, FLAG_PYTHON, FLAG_MPTCP = 1, 4, 8, 16, 32

HIGHEST_FD = 1024
"""The agent's descriptors are below this: a table of descriptors is copied with each fork."""


_OF_PROGRAMS, _OF_SCRIPTS, _X86_64 = b"\x7fELF\x02\x01", b"#!", 62
"""How files begin that can be executed: elf(5), execve(2)."""


class AgentError(RumpelError):
    """A program cannot be run under the agent."""


def find_program(name: str, path: str | None = None, directory: str | os.PathLike[str] = "") -> str:
    """Find a program as ``execvp`` does, and see that it can be run.

    Args:
        name: a path, or a name that is looked for.
        path: where; ``PATH`` by default.
        directory: what a relative path is relative to.

    Raises:
        FileNotFoundError: if there is none.
        PermissionError: if it may not be executed, or not be intercepted.
        OSError: ENOEXEC if it is for another machine.

    Example:
        >>> find_program("sh")
        '...bin/sh'
    """
    found = name if "/" in name else which(name, path)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no such program", name)
    _check(os.path.join(directory, found), name)  # noqa: PTH118
    return found


def _check(path: str, name: str) -> None:
    """What execve(2) and the agent would say, before anything starts."""
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    if not stat.S_ISREG(info.st_mode) or not os.access(path, os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    if _changes_identity(path, info):
        reason = "a setuid or setgid program cannot be intercepted"
        raise PermissionError(errno.EPERM, reason, name)
    try:
        with open(path, "rb") as file:
            head = file.read(len(_OF_SCRIPTS) + 18)
    except PermissionError:
        reason = "a program that cannot be read cannot be intercepted"
        raise PermissionError(errno.EACCES, reason, name) from None
    ours = head[:6] == _OF_PROGRAMS and head[18:20] == _X86_64.to_bytes(2, "little")
    if not ours and not head.startswith(_OF_SCRIPTS):
        reason = "not a program for this CPU (x86-64)"
        if head[:4] != _OF_PROGRAMS[:4]:
            reason = "neither a program nor a script, which begins with #!"
        raise OSError(errno.ENOEXEC, reason, name)


def _changes_identity(path: str, info: os.stat_result) -> bool:
    both = stat.S_ISGID | stat.S_IXGRP
    user = info.st_mode & stat.S_ISUID and info.st_uid != os.geteuid()
    group = info.st_mode & both == both and info.st_gid != os.getegid()
    if not (user or group) or os.statvfs(path).f_flag & os.ST_NOSUID:
        return False
    with open("/proc/thread-self/status") as file:
        return "NoNewPrivs:\t1\n" not in file.read()


def execute(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    explain: Explain | None = None,
    explain_fd: int = 2,
    trap: Trap | None = None,
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
        trap: how calls are caught; by default the best way that this host has.
        rules: which calls are a library kernel's: ``family 2``, ``path /mnt``, ``call uname``.
        kernel: the first of that kernel's descriptors (:mod:`rumpel.run.keeper`); None: there is
            none.
        flags: more of them, for the agent.

    Raises:
        FileNotFoundError: if there is no such program.
        AgentError: if the agent is missing or too few descriptors are allowed.
        BootError: if too few addresses are.
        ValueError: if there are more rules than the agent takes.

    Example:
        >>> pid = os.fork()                              # doctest: +SKIP
        >>> pid or execute(["/bin/echo", "hello"])       # doctest: +SKIP

    See execve(2), whose errors a program that cannot be run gives in the end: the agent
    writes them in one line, and exits with 127 if there is no program, else with 126.
    """
    path = find_program(arguments[0])
    for asked in (trap, explain):
        flags |= asked.value if asked else 0
    flags |= FLAG_PYTHON
    fds = place(message(path, rules, kernel, flags), explain_fd if explain else None)
    variables = os.environ if environment is None else environment
    with limits.more_addresses(0 if kernel is None else limits.room_of(kernel)):
        os.execve(fds[FD_AGENT], list(arguments), variables)


def message(path: str, rules: Sequence[str], kernel: int | None, flags: int) -> bytes:
    """What the agent is told.

    Args:
        path: of the program.
        rules: which calls are a library kernel's.
        kernel: the first of that kernel's descriptors, if there is one.
        flags: FLAG_*.

    Raises:
        OSError: ENAMETOOLONG.
        ValueError: if there are more rules than the agent takes.
    """
    name, lines = os.fsencode(path), os.fsencode("\n".join(rules))
    if len(name) >= PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
    if len(lines) >= RULES_MAX:
        raise ValueError("too many rules")
    return MESSAGE.pack(MAGIC, VERSION, flags, 0, -1 if kernel is None else kernel, 0, name, lines)


def place(told: bytes, explain_fd: int | None = None) -> list[int]:
    """Open the agent's descriptors at their numbers, of which the first is executed.

    Args:
        told: a :func:`message`.
        explain_fd: where it shall write who answered which calls.

    Raises:
        AgentError: if the agent is missing, or the numbers are not free.
    """
    base = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], HIGHEST_FD) - FDS_RESERVED
    if base <= 2:
        raise AgentError("the limit of open files (ulimit -n) is too low")
    for fd in range(base, base + (2 if explain_fd is None else 3)):
        if fd != explain_fd and _is_open(fd):
            raise AgentError(f"descriptor {fd} is in use, and is needed: give it another number")
    try:
        agent = os.open(AGENT, os.O_PATH)
    except FileNotFoundError:
        raise AgentError(f"{AGENT} is missing: rumpel was not installed as a whole") from None
    _move(agent, base + FD_AGENT)
    memory = os.memfd_create("rumpel-agent")
    os.write(memory, told)
    _move(memory, base + FD_MESSAGE)
    if explain_fd is None:
        return [base + FD_AGENT, base + FD_MESSAGE]
    os.dup2(explain_fd, base + FD_EXPLAIN)
    return [base + FD_AGENT, base + FD_MESSAGE, base + FD_EXPLAIN]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _move(fd: int, to: int) -> None:
    """Give a descriptor another number, under which a program inherits it."""
    os.dup2(fd, to, inheritable=True)
    if fd != to:
        os.close(fd)
