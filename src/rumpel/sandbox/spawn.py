# SPDX-License-Identifier: GPL-2.0-only
"""Start the process that a kernel in a sandbox lives in.

It boots at once, so this imports next to nothing: what its parent needs is imported meanwhile.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import sys

from rumpel.build.roots import cache_root
from rumpel.sandbox.area import memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["FIRST", "KEEP", "Setup", "Spawned", "prestart", "take"]

KEEP = ("LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS")
"""All of the environment that a child needs."""
_ROOM = 1 << 20
"""What may be on its way, as far as the host allows: each waits less for the other."""
FIRST = 6
"""The descriptor that the child finds the first of its own as."""


class Setup:
    """What a kernel is booted with, before it is known what for; see :func:`rumpel.sandbox.boot`.

    Args:
        image: the path of the kernel's image.
        memory: in bytes.
        modules: what else the child imports.
        cmdline: more parameters.
        housekeeper: is there a thread for an idle kernel?
        confined: shall it lose its privileges?

    Attributes:
        values: all of them, in this order.
    """

    def __init__(
        self,
        image: str,
        memory: int,
        modules: tuple[str, ...],
        cmdline: str = "",
        housekeeper: bool = False,
        confined: bool = True,
    ) -> None:
        self.values = image, memory, modules, cmdline, housekeeper, confined


class Spawned:
    """A child that has been started, and boots; nobody has received its answer to that.

    Args:
        setup: what it boots.
        fds: descriptors that it finds as :data:`FIRST` and so on.

    Attributes:
        pid: the child's.
        parent: who started it: of a forked process it is no child.
        connection: to it.
        log, errors, area: descriptors of what the kernel logs, of what the child says on stderr,
            and of memory that both have. Whoever takes this closes them.
    """

    def __init__(self, setup: Setup, fds: Sequence[int] = ()) -> None:
        self.setup = setup
        self.parent = os.getpid()
        self.log = _memory_file("rumpel-log")
        self.errors = _memory_file("rumpel-errors")
        self.area = memory()
        self.connection, theirs = _socket.socketpair()
        for end in (self.connection, theirs):
            end.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _ROOM)
        try:
            self.pid = self._spawn(theirs.fileno(), fds)
        except BaseException:
            self.connection.close()
            for fd in (self.log, self.errors, self.area):
                os.close(fd)
            raise
        finally:
            theirs.close()

    def _spawn(self, connection: int, fds: Sequence[int]) -> int:
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
        # ASCII, as the child's locale is another one.
        code = (
            f"import gc, sys, os; gc.disable(); sys.path.insert(0, {package!a});"
            f" os.closerange({FIRST + len(fds)}, 1 << 20);"
            f" from rumpel.sandbox.early import main; main{(cache_root(), *self.setup.values)!a}"
        )
        wanted = [connection, self.log, self.area, *fds]
        # None may be overwritten before it is duplicated.
        spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (self.errors, *wanted)]
        try:
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                *((os.POSIX_SPAWN_DUP2, fd, 2 + at) for at, fd in enumerate(spare)),
            ]
            env = {name: os.environ[name] for name in KEEP if name in os.environ}
            args = [sys.executable, "-I", "-S", "-c", code]
            # A terminal's Ctrl-C is the parent's to deal with.
            return os.posix_spawn(sys.executable, args, env, file_actions=actions, setpgroup=0)
        finally:
            for fd in spare:
                os.close(fd)


_spare: list[Spawned] = []


def prestart(setup: Setup) -> None:
    """Start a process that the next :func:`take` will give: it boots its kernel meanwhile."""
    if not _spare:
        _spare.append(Spawned(setup))


def take() -> Spawned | None:
    """The process that was started before, if there is one."""
    return _spare.pop() if _spare else None


def _memory_file(name: str) -> int:
    """A file in memory; the child can append to it, and not without end."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd
