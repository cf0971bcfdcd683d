# SPDX-License-Identifier: GPL-2.0-only
"""The process that a kernel in a sandbox lives in, as its parent sees it."""

from __future__ import annotations

import _socket
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from rumpel.errors import SandboxError
from rumpel.sandbox.area import Area, memory
from rumpel.sandbox.channel import Channel

__all__ = ["FIRST", "KEEP", "Process", "Setup", "outwait", "prestart", "take"]

_LOG_SIZE = 4 << 20
KEEP = ("LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS")
"""All of the environment that a child needs."""
_ROOM = 1 << 20
"""What may be on its way, as far as the host allows: each waits less for the other."""
_TAIL = 12
FIRST = 6
"""The descriptor that the child finds the first of its own as."""
SOON = 20.0
"""How long a process may take to end that was interrupted: more than it gives itself."""


class Setup(NamedTuple):
    """What a kernel is booted with, before it is known what for; see :func:`rumpel.sandbox.boot`.

    Attributes:
        image: the path of the kernel's image.
        memory: in bytes.
        modules: what else the child imports.
        cmdline: more parameters.
        housekeeper: is there a thread for an idle kernel?
        confined: shall it lose its privileges?
    """

    image: str
    memory: int
    modules: tuple[str, ...]
    cmdline: str = ""
    housekeeper: bool = False
    confined: bool = True


class Process:
    """A child that has been started, and reads requests.

    Args:
        name: of what it works on, for messages.
        fds: descriptors that it finds as :data:`FIRST` and so on.

    Attributes:
        setup: what it was told to boot; nobody has received its answer to that.
    """

    def __init__(self, name: str, fds: Sequence[int] = ()) -> None:
        self.name = name
        self.setup: Setup | None = None
        self.timeout: float | None = None
        self._parent = os.getpid()
        self._log = _memory_file("rumpel-log")
        self._errors = _memory_file("rumpel-errors")
        area = memory()
        self.status: int | None = None
        ours, theirs = _socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _ROOM)
        try:
            self._pid = self._spawn(theirs.fileno(), (area, *fds))
            self.channel = Channel(ours, Area(area, True))
        finally:
            theirs.close()
            os.close(area)
        self._connection = ours

    def _spawn(self, connection: int, fds: Sequence[int]) -> int:
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
        code = (
            f"import gc, sys, os; gc.disable(); sys.path.insert(0, {package!r});"
            f" os.closerange({FIRST - 1 + len(fds)}, 1 << 20);"
            " from rumpel.sandbox.worker import main; main()"
        )
        wanted = [connection, self._log, *fds]
        # None may be overwritten before it is duplicated.
        spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (self._errors, *wanted)]
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

    def boot(self, setup: Setup) -> None:
        """Tell it to boot a kernel."""
        self.setup = setup
        self.channel.send(("boot", setup._asdict()))
        with contextlib.suppress(EOFError):  # who asks for the answer will learn why
            self.channel.flush()

    def set_timeout(self, seconds: float | None) -> None:
        """How long it may be silent when it should answer, and how long its end may take."""
        self.timeout = seconds
        self._connection.settimeout(seconds)

    def kill(self) -> None:
        """End it at once: its disks are as if their plug had been pulled."""
        if self.status is None and self.ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def log_read(self, position: int) -> tuple[bytes, int]:
        """What the kernel has logged since."""
        data = os.pread(self._log, _LOG_SIZE, position)
        return data, position + len(data)

    @property
    def ours(self) -> bool:
        """Is it this process's child? It is no forked process's."""
        return self._parent == os.getpid()

    def end(self, patience: float | None = None) -> None:
        """Hang up, and wait until the kernel has written all and the process is gone.

        Args:
            patience: how long to wait, in seconds, before it is killed; None is the timeout.
                An exception, as of Ctrl-C, makes it short; the next one kills.
        """
        if self.ours:
            with contextlib.suppress(OSError):
                self._connection.shutdown(_socket.SHUT_RDWR)
        self.channel.close()
        if self.ours:
            self._wait(self.timeout if patience is None else patience)

    def _wait(self, patience: float | None) -> None:
        if self.status is not None:
            return
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            pidfd = os.pidfd_open(self._pid)
            try:
                outwait(pidfd, patience)
            finally:
                os.close(pidfd)
                _, self.status = os.waitpid(self._pid, 0)
        if self.status is None:  # somebody else has waited for it
            self.status = 0

    def postmortem(self, silent: bool) -> SandboxError:
        """Why is it gone, though nobody hung up?

        Args:
            silent: it was killed because it gave no answer.
        """
        from rumpel.log import parse

        # It may have hung up, and live.
        self.end(SOON)
        status = self.status or 0
        if silent:
            how = f"gave no answer for {self.timeout:g} s, and was killed"
        elif os.WIFSIGNALED(status):
            how = f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        else:
            how = f"has exited with {os.waitstatus_to_exitcode(status)}"
        said = os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip()
        log = "\n".join(str(record) for record in list(parse(self.log_read(0)[0]))[-_TAIL:])
        reason = f"{self.name}: the kernel's process {how}"
        last = said.splitlines()[-1:]
        return SandboxError(": ".join([reason, *last]), log)

    def __del__(self) -> None:
        for fd in (self._log, self._errors):
            with contextlib.suppress(OSError):
                os.close(fd)


_spare: list[Process] = []


def prestart(setup: Setup) -> None:
    """Start a process that the next :func:`take` will give: it boots its kernel meanwhile."""
    if not _spare:
        process = Process("sandbox")
        process.boot(setup)
        _spare.append(process)


def take(name: str, setup: Setup, fds: Sequence[int] = ()) -> Process:
    """A process for a kernel: the one that was started before, if it is such, or a new one."""
    process = _spare.pop() if _spare else None
    if process and not fds and process.setup == setup and process.ours:
        process.name = name
        return process
    if process:
        process.kill()
        process.end()
    return Process(name, fds)


def _memory_file(name: str) -> int:
    """A file in memory; the child can append to it, and not without end."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    return fd


def outwait(pidfd: int, patience: float | None) -> None:
    """Wait until a process ends, and kill it if it does not.

    Args:
        pidfd: of the process.
        patience: how long to wait, in seconds; None is for ever. An exception, as of Ctrl-C,
            makes it short; the next one kills.
    """
    try:
        _wait_readable(pidfd, patience)
    except TimeoutError:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except BaseException:
        if patience is None or patience > SOON:
            outwait(pidfd, SOON)
        else:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        raise


def _wait_readable(fd: int, seconds: float | None) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(None if seconds is None else seconds * 1000):
        raise TimeoutError
