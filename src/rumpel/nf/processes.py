# SPDX-License-Identifier: GPL-2.0-only
"""The processes of a chain, and their ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

from rumpel.nf.ending import GRACE, Ended, Poll, signals_held_back
from rumpel.nf.ends import BROKEN_PIPE
from rumpel.nf.stage import is_stage

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["Processes"]

NO_MATCH = 1
"""What grep, cmp and others say when there was nothing: no failure."""


class Processes:
    """The members' processes, and their ends."""

    def __init__(self) -> None:
        self._poll = Poll()
        # By descriptors that say when they end.
        self._names: dict[int, str] = {}
        self._pids: dict[int, int] = {}
        self._places: dict[int, int] = {}
        self._programs: list[Popen[bytes]] = []
        self._code = 0
        self._output = -1
        self._reads = False
        self._patience: float | None = None
        """Until when they may clean up."""

    def add(
        self,
        process: int | Popen[bytes],
        name: str,
        place: int,
        *,
        reads: bool = False,
        output: bool = False,
    ) -> None:
        """Have an eye on one: a stage's number, or a program.

        Args:
            process: which one.
            name: of the member.
            place: a number that is greater than those of members to the left.
            reads: it reads standard input.
            output: it writes standard output. If nobody reads that, so it is for the chain.
        """
        if not isinstance(process, int):
            # Kept: one that is forgotten is waited for by whoever finds it.
            self._programs.append(process)
            process = process.pid
        fd = os.pidfd_open(process)
        self._names[fd], self._pids[fd], self._places[fd] = name, process, place
        self._reads |= reads
        if output:
            self._output = fd
        self._poll.register(fd, select.POLLIN)

    def interrupt(self, error: Ended) -> None:
        """Pass a signal on to all."""
        self._code = self._code or error.code
        self._patience = time.monotonic() + GRACE + 1
        self._kill(error.number)

    def _kill(self, number: int) -> None:
        for fd in self._pids:
            self._send(fd, number)

    @staticmethod
    def _send(fd: int, number: int) -> None:
        with contextlib.suppress(OSError):  # it is gone, or of somebody else by now
            signal.pidfd_send_signal(fd, number)

    def wait(self) -> int:
        """Wait for all; the exit code is that of the first that failed, which is named."""
        while self._pids:
            try:
                self._look()
            except Ended as error:
                self.interrupt(error)
        for program in self._programs:
            program.returncode = 0  # it is gone: seen here
        return self._code

    def _look(self) -> None:
        """Wait until some have ended, or have had time enough for it."""
        timeout = None
        if self._patience is not None:
            timeout = max(0.0, self._patience - time.monotonic()) * 1e3
        happened = self._poll.poll(timeout)
        if self._patience is not None and time.monotonic() >= self._patience:
            self._patience = None
            self._kill(signal.SIGKILL)  # also one that is stopped
        with signals_held_back():
            ended = [self._ended(fd) for fd in happened]
            # Others have ended because one was killed.
            for name, code, place in sorted(ended, key=lambda each: each[1] >= 0):
                self._tell(name, code, place)

    def _ended(self, fd: int) -> tuple[str, int, int]:
        """Forget one: its name, exit code (negative: the signal that killed it), and place."""
        name, pid = self._names.pop(fd), self._pids.pop(fd)
        self._poll.unregister(fd)
        os.close(fd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if fd == self._output and code == BROKEN_PIPE:
            self._code = self._code or code
        return name, code, self._places.pop(fd)

    def _tell(self, name: str, code: int, place: int) -> None:
        if code < 0:
            code = 128 - code
        if self._code or code in (0, BROKEN_PIPE):
            return
        if code == NO_MATCH and not is_stage(name):
            return
        self._code = code
        print(f"rumpel nf chain: {name} ended with {code}", file=sys.stderr)
        if self._reads:
            # Who waits for input would notice only when there is some, and all in between.
            for fd in [fd for fd, other in self._places.items() if other < place]:
                self._send(fd, signal.SIGTERM)
