# SPDX-License-Identifier: GPL-2.0-only
"""The process that a kernel in a sandbox lives in, as its parent sees it."""

from __future__ import annotations

import _socket
import contextlib
import os

from rumpel.errors import SandboxError
from rumpel.sandbox import spawn
from rumpel.sandbox.area import Area
from rumpel.sandbox.channel import Channel
from rumpel.sandbox.spawn import Setup, Spawned

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
else:
    import _signal as signal  # signal makes enums of it, whose import takes longer

__all__ = ["Process", "outwait", "take"]

_LOG_SIZE = 4 << 20
_TAIL = 12
SOON = 20.0
"""How long a process may take to end that was interrupted: more than it gives itself."""


class Process:
    """A child that has been started, as its parent works with it.

    Args:
        name: of what it works on, for messages.
        started: the child.
    """

    def __init__(self, name: str, started: Spawned) -> None:
        self.name = name
        self.timeout: float | None = None
        self.status: int | None = None
        self._parent = started.parent
        self._pid = started.pid
        self._log, self._errors = started.log, started.errors
        self._connection = started.connection
        try:
            self.channel = Channel(self._connection, Area(started.area, True))
        finally:
            os.close(started.area)

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
        from signal import Signals

        from rumpel.records import parse

        # It may have hung up, and live.
        self.end(SOON)
        status = self.status or 0
        if silent:
            how = f"gave no answer for {self.timeout:g} s, and was killed"
        elif os.WIFSIGNALED(status):
            how = f"was killed by {Signals(os.WTERMSIG(status)).name}"
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


def take(name: str, setup: Setup, fds: Sequence[int] = ()) -> Process:
    """A process for a kernel: the one that was started before, if it is such, or a new one."""
    started = spawn.take()
    if started:
        process = Process(name, started)
        if not fds and started.setup.values == setup.values and process.ours:
            return process
        process.kill()
        process.end()
    return Process(name, Spawned(setup, fds))


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
