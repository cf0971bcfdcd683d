# SPDX-License-Identifier: GPL-2.0-only
"""A stage without a kernel as a process: packets from pipes to pipes, through Python code."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import sys
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from rumpel import _native
from rumpel.nf.ending import Poll
from rumpel.nf.ends import BROKEN_PIPE, Ends, let_go
from rumpel.nf.stage import LEFT, RIGHT, Side
from rumpel.packets import FORMATS, PacketFormat

if TYPE_CHECKING:
    from rumpel.nf.packet_stage import PacketStage

__all__ = ["through"]

_CHUNK = 1 << 18
_WAYS: tuple[tuple[Side, Side], ...] = ((LEFT, RIGHT), (RIGHT, LEFT))
_LEAST = 4096
"""So much a pipe takes whenever it takes anything: of those that we may block in."""


class _Stream:
    """A descriptor that is never waited for.

    Whether one blocks is a property that it shares with other processes: a pipe is opened
    once more, a socket is asked each time, and of others only as much as there is.
    """

    def __init__(self, fd: int, mode: int) -> None:
        self.socket: socket.socket | None = None
        self.most = _CHUNK
        kind = os.fstat(fd).st_mode
        if stat.S_ISSOCK(kind):
            self.socket = socket.socket(fileno=os.dup(fd))
            self.fd = self.socket.fileno()
            return
        if stat.S_ISFIFO(kind):
            with contextlib.suppress(OSError):
                self.fd = os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_CLOEXEC)
                return
        self.fd = os.dup(fd)
        if not stat.S_ISREG(kind):
            self.most = _LEAST

    def read(self) -> bytes | None:
        """What there is; nothing at the end; None: nothing now."""
        try:
            if self.socket is not None:
                return self.socket.recv(_CHUNK, socket.MSG_DONTWAIT)
            return os.read(self.fd, _CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            # A terminal that has gone, a peer that was killed: no more than an end.
            if error.errno in (errno.EIO, errno.ECONNRESET):
                return b""
            raise

    def write(self, data: memoryview) -> int:
        """How many bytes it took."""
        try:
            if self.socket is not None:
                return self.socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return os.write(self.fd, data[: self.most])
        except BlockingIOError:
            return 0

    def close(self, *, writing: bool = False) -> None:
        """The other direction of a socket has a descriptor of its own."""
        if self.socket is not None:
            if writing:
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_WR)
            self.socket.close()
        else:
            os.close(self.fd)


class _Way:
    """One direction: what comes from a side, and where it goes."""

    def __init__(self, side: Side, come: int, go: int | None, write: PacketFormat) -> None:
        self.side: Side = side
        self.input: _Stream | None = _Stream(come, os.O_RDONLY)
        self.output = None if go is None else _Stream(go, os.O_WRONLY)
        if go is not None and stat.S_ISSOCK(os.fstat(go).st_mode):
            write = "pcap"
        self.format = FORMATS[write]
        self.reader = _native.PacketReader(">" if side == LEFT else "<")
        # A reader wants to see it at once.
        self.waiting = memoryview(_native.packets_begin(self.format) if self.output else b"")

    def go_on(self, happened: Container[int], stage: PacketStage, name: str) -> bool:
        """Do what can be done without waiting. False: nobody reads the output any more."""
        if self.waiting and self.output:
            return self.output.fd not in happened or self.send()
        if self.input and self.input.fd in happened:
            self.receive(stage, name)
            # Others may block, if they have not been asked.
            if self.output is None or self.output.most == _CHUNK or not self.waiting:
                return self.send()
        return True

    def receive(self, stage: PacketStage, name: str) -> None:
        """Read what there is, and let the stage see it."""
        data = self.input.read() if self.input else None
        if data is None:
            return
        items, problems = self.reader.feed(data, not data)
        for problem in problems:
            print(f"{name}: {problem}", file=sys.stderr, flush=True)
        out = stage.packets(items, self.side) if items else []
        if not data or self.reader.damaged:
            out = [*out, *stage.drain(self.side)]
            if self.input:
                self.input.close()
            self.input = None
        if out and self.output:
            self.waiting = memoryview(_native.packets_encode(self.format, out))

    def send(self) -> bool:
        """Write what it takes. False: nobody is there any more."""
        try:
            while self.waiting and self.output:
                done = self.output.write(self.waiting)
                if not done:
                    return True
                self.waiting = self.waiting[done:]
                if self.output.most == _LEAST and self.waiting:
                    return True
        except (BrokenPipeError, ConnectionResetError):
            self.waiting = memoryview(b"")
            self.close()
            return False
        if self.input is None and not self.waiting:
            self.close()
        return True

    def close(self) -> None:
        """End the output."""
        if self.output:
            self.output.close(writing=True)
        self.output = None

    @property
    def is_over(self) -> bool:
        """Has all of it passed?"""
        return self.input is None and self.output is None


def through(
    stage: PacketStage,
    ends: Ends,
    name: str,
    *,
    write: PacketFormat = "text",
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Run a stage without a kernel, as :func:`rumpel.nf.runner.run` does one with.

    Returns:
        The exit code.
    """
    ways = [
        _Way(side, come, ends.of(other)[1], write)
        for side, other in _WAYS
        if (come := ends.of(side)[0]) is not None
    ]
    let_go(ends)
    stage.begin()
    ready()
    try:
        return _live(stage, ways, name)
    finally:
        stage.finish()


def _live(stage: PacketStage, ways: Sequence[_Way], name: str) -> int:
    due = time.monotonic() + (stage.interval or 0)
    while not all(way.is_over for way in ways):
        poll = Poll()
        for way in ways:
            if way.waiting and way.output:
                poll.register(way.output.fd, select.POLLOUT)
            elif way.input:
                poll.register(way.input.fd, select.POLLIN)
        timeout = None
        if stage.interval is not None:
            timeout = max(0.0, due - time.monotonic()) * 1e3
        happened = poll.poll(timeout)
        for way in ways:
            if not way.go_on(happened, stage, name) and way.side == LEFT:
                return BROKEN_PIPE
        if stage.interval is not None and time.monotonic() >= due:
            stage.tick()
            due = time.monotonic() + stage.interval
    return int(any(way.reader.damaged for way in ways))
