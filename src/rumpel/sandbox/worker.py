# SPDX-License-Identifier: GPL-2.0-only
"""The child's end: a kernel that nobody trusts, and what is asked of it.

``python -I -S`` executes :mod:`rumpel.sandbox.early` with nothing of the parent's memory and
environment. It boots, and :func:`serve` opens the disks, gives up all that it can do to the host,
and only then lets the kernel see a disk. When the parent hangs up, or dies, the kernel is halted:
its file systems are clean.
"""

from __future__ import annotations

import _socket
import gc
import os
import select
import time
from _thread import allocate_lock

from rumpel import _native
from rumpel.booting import adopt
from rumpel.devices.device import ERRORS
from rumpel.errors import KernelClosed, KernelPanic
from rumpel.kernel import Kernel
from rumpel.sandbox import confine
from rumpel.sandbox.area import Area
from rumpel.sandbox.channel import Channel, encode
from rumpel.sandbox.disks import DiskSpec
from rumpel.threads import Flag, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from typing import Any
else:
    import _signal as signal  # signal makes enums of it, whose import takes longer

__all__ = ["Worker", "serve"]

CONNECTION, AREA = 3, 5
"""Descriptors that the parent leaves here, beside :data:`rumpel.sandbox.early.LOG`; those behind
them are disks'."""

_GRACE, _HALT, _LAST = 3, 60, 600
"""Seconds, when the parent has hung up, for the call in progress; for a halt while it lasts;
for a halt after it, as there may be much to write."""
_DUE = 0.1
"""Seconds for which a part of an answer may wait for more."""
_ROOM = 512 << 20
"""Memory besides the kernel's: Python, copies of what is read, overlays' tables."""


class Worker:
    """Serves the parent; functions that it runs here get it as their first argument.

    Args:
        channel: to the parent.
        memory: the kernel's, in bytes.
        leave_files: what :func:`rumpel.sandbox.leaving.prepare` returned; None keeps all rights.

    Attributes:
        kernel: the kernel.
        disks: its disks, as they were plugged in.
        room: where the bytes of the next message may be made; see :meth:`Channel.room`.
    """

    kernel: Kernel

    def __init__(
        self, channel: Channel, memory: int, leave_files: Callable[[], None] | None
    ) -> None:
        self._channel = channel
        self._memory = memory
        self._leave_files = leave_files
        self.room = channel.room
        self._calls: list[Any] = []
        self.disks: list[Any] = []
        self._ending = Flag()
        self._halts = allocate_lock()

    def send(self, message: Any, data: Any = b"") -> None:
        """Send a part of the answer; ``data`` must not change afterwards."""
        self._channel.send(("ok", message), data)

    def begin(self, booted: _native.Kernel | BaseException, modules: tuple[str, ...]) -> None:
        """Tell which kernel has booted, or why none has."""
        try:
            if isinstance(booted, BaseException):
                raise booted
            self.kernel = adopt(booted)
            for name in modules:
                __import__(name)
            # Parts that are made when they are first used would be imported then.
            assert self.kernel.os.path
            # All is imported, and stays: it need not be looked at again and again.
            gc.freeze()
            gc.enable()
            self.send(self.kernel.release)
        except BaseException as error:
            self._channel.send(_described(error))
        self._channel.flush()

    # Requests

    def start(self, directory: str, disks: list[Any]) -> None:
        """Open the disks, lock the door, and plug them in."""
        # Where the parent is now; it may have been elsewhere when it started this process.
        os.chdir(directory)
        specs = [DiskSpec(*spec) for spec in disks]
        opened = [spec.open() for spec in specs]
        if self._leave_files:
            confine.confine(_limits(specs, self._memory), self._leave_files)
        Thread(self.watch)
        _native.end_after_hangup(CONNECTION, 3 * _GRACE)
        for disk in opened:
            self.kernel.plug(disk)
        self.disks = opened
        self.send(None)

    def bind(self, nr: int, name: str, keywords: dict[str, int]) -> None:
        """Make a system call ready; its number is the answer."""
        self._calls.append(self.kernel._native.bind(nr, name, **keywords))
        self.send(len(self._calls) - 1)

    def now(self) -> None:
        """Tell the time."""
        self.send(self.kernel._native.now_ns)

    def log(self, position: int) -> None:
        """What the kernel has logged since."""
        data, end = self.kernel._native.log_read(position)
        self.send(end, data)

    def halt(self) -> None:
        """End; how many requests to the disks have failed."""
        self._halt(_LAST)
        self.send(sum(disk._count()[ERRORS] for disk in self.disks))

    def run(self, module: str, function: str, *args: Any) -> None:
        """Iterate over what a function of one of the modules returns."""
        channel, due = self._channel, 0.0
        for message, data in _function(module, function)(self, *args):
            sent = channel.put(encode(("ok", message)), data)
            if not sent and time.monotonic() > due:
                channel.flush()
                sent = True
            if sent:
                due = time.monotonic() + _DUE
                # It says something only if it wants no more of this.
                if channel.waiting():
                    break
        self.send(None)

    def stop(self) -> None:
        """Send no more of a series; that is over already."""

    def feed(self, module: str, function: str, *args: Any) -> None:
        """Call a function with what the parent sends next."""
        messages = self._received()
        try:
            self.send(_function(module, function)(self, messages, *args))
        except InterruptedError:
            raise
        except BaseException:
            for _ in messages:
                pass
            raise

    def _received(self) -> Iterator[tuple[Any, Any]]:
        """What the parent sends after its request.

        Raises:
            InterruptedError: if it did not get to the end.
        """
        while True:
            message, data = self._channel.receive(lend=True)
            if message is None:
                return
            if message is False:
                raise InterruptedError
            yield message, data

    def _syscall(self, number: int, args: list[Any], data: bytes | bytearray | memoryview) -> None:
        at = 0
        back = []
        for index, arg in enumerate(args):
            if type(arg) is list:
                size, kind = arg
                if kind == 2:
                    args[index] = bytearray(size)
                else:
                    piece = data[at : at + size]
                    at += size
                    args[index] = bytes(piece) if kind == 0 else bytearray(piece)
                if kind:
                    back.append((kind, args[index]))
        try:
            result = self._calls[number](*args)
        except OSError as error:
            self.send((-1, error.errno))
            return
        if type(result) is bytes:
            self.send((len(result), 0), result)
            return
        out = [bytes(b) if kind == 1 else bytes(b[: max(result, 0)]) for kind, b in back]
        self.send((result, 0), b"".join(out))

    def serve(self) -> None:
        """Answer until the parent hangs up."""
        while True:
            (request, *args), data = self._channel.receive()
            try:
                if type(request) is int:
                    self._syscall(request, args, data)
                else:
                    _REQUESTS[request](self, *args)
            except BaseException as error:
                self._channel.send(_described(error))
            self._channel.flush()

    def _halt(self, seconds: int) -> None:
        self._ending.set()
        _native.end_after_hangup(CONNECTION, seconds)
        with self._halts:
            if self.kernel.state == "running":
                self.kernel.halt()

    def watch(self) -> None:
        """When the parent is gone: halt the kernel under a call that does not return.

        :meth:`serve` finds out itself, unless it is in one, or in very many.
        """
        poll = select.poll()
        poll.register(CONNECTION, select.POLLRDHUP)
        poll.poll()
        if not self._ending.wait(_GRACE):
            self._halt(_HALT)

    def end(self) -> None:
        """Halt the kernel if it runs, and close its disks: overlays write their tables."""
        if hasattr(self, "kernel"):
            self._halt(_LAST)
            self.kernel.close()
        for disk in self.disks:
            disk.close()


_REQUESTS: dict[str, Callable[..., None]] = {
    "start": Worker.start,
    "bind": Worker.bind,
    "now": Worker.now,
    "log": Worker.log,
    "halt": Worker.halt,
    "run": Worker.run,
    "feed": Worker.feed,
    "stop": Worker.stop,
}


def _function(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(__import__(module, fromlist=[name]), name)
    return function


def _described(error: BaseException) -> tuple[str, Any]:
    if isinstance(error, KernelPanic):
        return "KernelPanic", (error.reason, error.log, error.backtrace)
    if isinstance(error, KernelClosed):
        return "KernelClosed", str(error)
    if isinstance(error, OSError) and error.errno is not None:
        names = [
            None
            if each is None
            else os.fsdecode(each)
            if isinstance(each, str | bytes)
            else str(each)
            for each in (error.filename, error.filename2)
        ]
        return "OSError", (error.errno, error.strerror, *names)
    return type(error).__name__, str(error)


def _limits(specs: list[DiskSpec], memory: int) -> dict[str, int]:
    sizes = [spec.largest_file() for spec in specs]
    known = [size for size in sizes if size is not None]
    return {
        "DATA": memory + _ROOM,
        **({"FSIZE": max(known)} if known and len(known) == len(sizes) else {}),
    }


def serve(
    booted: _native.Kernel | BaseException,
    memory: int,
    modules: tuple[str, ...],
    leave_files: Callable[[], None] | None,
) -> None:
    """Serve the parent.

    Args:
        booted: the kernel, or why there is none.
        memory: the kernel's, in bytes.
        modules: what has been imported; or could not be.
        leave_files: see :class:`Worker`.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    area = Area(AREA, False)
    os.close(AREA)
    channel = Channel(_socket.socket(fileno=CONNECTION), area)
    worker = Worker(channel, memory, leave_files)
    try:
        worker.begin(booted, modules)
        worker.serve()
    except EOFError:
        pass
    finally:
        worker.end()
        # Nothing of Python's end matters any more, and it takes milliseconds.
        os._exit(0)
