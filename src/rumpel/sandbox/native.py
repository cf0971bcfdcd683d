# SPDX-License-Identifier: GPL-2.0-only
"""The parent's end: what :class:`rumpel.Kernel` wants of its binding, for a kernel elsewhere.

The border is the system call, as in the binding itself: so files, paths, copies and all else
that is made of system calls works on such a kernel as on any other. Arguments are integers,
paths, and buffers, which go along:

- those that are only read, those of up to 512 bytes, and those of ioctl, as they are;
- larger ones that the kernel writes to come back as far as the call's result says, which is
  how every such call of files counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from _thread import allocate_lock, get_ident

from rumpel import _native
from rumpel.errors import BootError, DeviceError, KernelClosed, KernelPanic, SandboxError
from rumpel.sandbox.channel import Channel, Silence, encode
from rumpel.sandbox.process import SOON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from typing import Any

    from rumpel.sandbox.disks import DiskSpec
    from rumpel.sandbox.process import Process

__all__ = ["RemoteCall", "RemoteKernel"]

SMALL = 512
"""Up to this size a writable buffer goes both ways."""
_MOST = 4 << 20
"""Longer reads and writes do only a part, as any may."""
_REST = 64 << 20
"""More than a process has on its way when it is told to stop."""


class RemoteKernel:
    """A kernel in another process; see :class:`rumpel._native.Kernel` for its methods.

    Attributes:
        failed: how many requests to its disks have failed, once it is halted.
    """

    clock = None
    has_housekeeper = True
    in_process = False
    # What is known of a panic here is what a call was told.
    panic_told = True

    def __init__(self, process: Process) -> None:
        self._process = process
        self._channel: Channel = process.channel
        self._lock = allocate_lock()
        self._thread = 0
        self._state = "running"
        self._death: tuple[str, str, list[str]] = ("", "", [])
        self.release: str = ""
        self.failed = 0
        self._end = weakref.finalize(self, process.end)

    @property
    def state(self) -> str:
        """As far as is known here: ``running``, ``halted``, ``panicked`` or ``closed``."""
        return self._state

    @property
    def now_ns(self) -> int:
        """The kernel's monotonic clock."""
        return int(self.ask("now")[0])

    # Requests

    def ask(self, *request: Any, data: Any = b"") -> tuple[Any, Any]:
        """Send a request and wait for its answer.

        Raises:
            OSError, KernelPanic, SandboxError, ...: as the answer says.
        """
        return self._answer(encode(request), data)

    def _answer(self, head: bytes = b"", data: Any = b"") -> tuple[Any, Any]:
        """What comes back for a request, if one is sent, or for the one before."""
        self._check_thread()
        with self._lock:
            self._check()
            try:
                self._thread = get_ident()
                if head:
                    self._channel.put(head, data)
                self._channel.flush()
                message, answer = self._channel.receive()
            except BaseException as error:
                raise self._broken(error) from None
            finally:
                self._thread = 0
        return self._meaning(message), answer

    def stream(
        self, *request: Any, patient: bool = False, lend: bool = False
    ) -> Generator[tuple[Any, Any]]:
        """Send a request whose answer is a series of messages: these, until the last.

        While it is not exhausted or closed nothing else can be asked by this thread, and
        other threads wait.

        Args:
            request: what to do, and with what.
            patient: wait for messages for as long as it takes.
            lend: bytes may change while they are looked at, and are gone when the next message
                comes: for who only passes them on.
        """
        head = encode(request)
        self._check_thread()
        with self._lock:
            self._check()
            try:
                self._thread = get_ident()
                self._channel.put(head)
                self._channel.flush()
                if patient:
                    self._channel.patience(None)
                while _is_part(received := self._channel.receive(lend)):
                    yield received[0][1], received[1]
            except GeneratorExit:
                # Nobody wants more of it, or the process was forked.
                if self._process.ours and self._state == "running":
                    self._finish(b'["stop"]', of_a_series=True)
                raise
            except BaseException as error:
                raise self._broken(error) from None
            finally:
                self._thread = 0
            if patient:
                self._channel.patience(self._process.timeout)
        self._meaning(received[0])

    def feed(self, messages: Iterable[tuple[Any, Any]], *request: Any) -> Any:
        """Send a request that is followed by a series of messages; what the answer says."""
        head = encode(request)
        self._check_thread()
        with self._lock:
            self._check()
            speaking = True
            try:
                self._thread = get_ident()
                self._channel.put(head)
                speaking = False
                for message, data in messages:
                    head = encode(message)
                    speaking = True
                    self._channel.put(head, data)
                    speaking = False
                speaking = True
                self._channel.put(b"null")
                self._channel.flush()
                message, data = self._channel.receive()
            except BaseException as error:
                if speaking or self._channel.is_torn:
                    raise self._broken(error) from None
                self._finish(b"false")
                raise
            finally:
                self._thread = 0
        return self._meaning(message)

    def room(self, size: int) -> memoryview | None:
        """Where the bytes of the next message of :meth:`feed` may be made, if anywhere.

        For who makes these messages. That the process is gone is found out when they are sent.
        """
        with contextlib.suppress(EOFError, Silence):
            return self._channel.room(size)
        return None

    def _finish(self, head: bytes, of_a_series: bool = False) -> None:
        """Say that a series ends early, and receive the answer, or the rest of the series."""
        room = _REST
        try:
            self._channel.patience(SOON)
            self._channel.put(head)
            self._channel.flush()
            while _is_part(received := self._channel.receive()) and of_a_series:
                room -= len(received[1])
                if room < 0:
                    raise SandboxError("a sandbox does not stop")
            self._channel.patience(self._process.timeout)
        except BaseException as error:
            # Who interrupts this, too, does not want to wait.
            self._give_up(SOON if isinstance(error, Exception) else 0)
            if not isinstance(error, Exception):
                raise

    def _meaning(self, message: Any) -> Any:
        """What an answer says.

        Raises:
            OSError, KernelPanic, SandboxError, ...: as it says.
        """
        if not (isinstance(message, list) and len(message) == 2):
            raise SandboxError("a sandbox sends nonsense")
        kind, value = message
        if kind == "ok":
            return value
        raise self._error(kind, value)

    def _error(self, kind: Any, value: Any) -> Exception:
        if kind == "OSError" and isinstance(value, list) and len(value) == 4:
            number, text, first, second = value
            if isinstance(number, int) and all(
                each is None or isinstance(each, str) for each in (text, first, second)
            ):
                return OSError(number, text or os.strerror(number), first, None, second)
        if kind == "KernelPanic" and isinstance(value, list) and len(value) == 3:
            self._state = "panicked"
            reason, log, trace = value
            self._death = (str(reason), str(log), [str(line) for line in trace or ()])
            return KernelPanic(*self._death)
        if kind == "KernelClosed":
            return KernelClosed(str(value))
        if kind in ("BootError", "DeviceError"):
            return (BootError if kind == "BootError" else DeviceError)(str(value))
        if kind in ("ValueError", "TypeError", "OverflowError"):
            return {"ValueError": ValueError, "TypeError": TypeError}.get(kind, OverflowError)(
                str(value)
            )
        return SandboxError(f"{kind}: {value}")

    def _check_thread(self) -> None:
        if self._thread == get_ident():
            raise RuntimeError("the kernel is busy with a series that is not exhausted")

    def _check(self) -> None:
        if self._state == "panicked":
            raise KernelPanic(*self._death)
        if self._state != "running":
            raise KernelClosed("the kernel was halted")
        if not self._process.ours:
            raise RuntimeError("the kernel belongs to the process that has booted it")

    def _broken(self, error: BaseException) -> BaseException:
        """What to raise when a message was not sent or received to its end.

        Whatever was said next would be taken for the rest of it.
        """
        if isinstance(error, EOFError | Silence):
            return self._lost(error)
        self._give_up()
        return error

    def _lost(self, cause: BaseException) -> SandboxError:
        """The process is gone, though nobody told it to end; or it does not answer."""
        self._state = "panicked"
        if isinstance(cause, Silence):
            self._process.kill()
        error = self._process.postmortem(isinstance(cause, Silence))
        self._death = (error.reason, error.log, [])
        return error

    def _give_up(self, patience: float = SOON) -> None:
        """Let the process end as it does without a parent: it halts its kernel.

        It is killed if that takes too long, or an exception ends the wait.
        """
        self._end.detach()
        try:
            self._state = "closed"
            self._process.end(patience)
        except BaseException:
            self._process.end(0)
            raise

    # What a kernel does

    def start(self, directory: str, disks: Sequence[DiskSpec]) -> None:
        """Wait until it has booted, and plug disks in."""
        self.release = str(self._answer()[0])
        self.ask("start", directory, disks)

    def bind(
        self,
        nr: int,
        name: str = "syscall",
        *,
        least: int = 0,
        most: int = 6,
        shape: int = 0,
        flags: int = 0,
        size: int = -1,
        paths: int = 0,
        wide: int = 0,
    ) -> RemoteCall:
        """Make a callable of a system call."""
        keywords = {
            "least": least,
            "most": most,
            "shape": shape,
            "flags": flags,
            "size": size,
            "paths": paths,
            "wide": wide,
        }
        return RemoteCall(self, nr, name, keywords)

    def halt(self) -> None:
        """Sync, unmount, power off; the process ends."""
        if self._state != "running":
            return
        failed, _ = self.ask("halt")
        if type(failed) is not int:
            raise SandboxError("a sandbox sends nonsense")
        self.failed = failed
        self._state = "halted"
        self._end()

    def kill(self) -> None:
        """End the process at once, of whose disks none was to be written to."""
        if self._state == "running" and self._process.ours:
            self._process.kill()
            self._state = "halted"
            self._end()

    def close(self) -> None:
        """End the process, if it still runs: it halts the kernel first."""
        if self._state == "running":
            self._state = "closed"
        self._end()

    def log_read(self, position: int, /) -> tuple[bytes, int]:
        """Records of the log from a position on; also when the process is gone."""
        # A kernel's process copies its log when it waits: what is newer has to be asked for.
        if self._state == "running" and self._process.ours and not self._lock.locked():
            with contextlib.suppress(KernelPanic, KernelClosed, SandboxError):
                end, data = self.ask("log", position)
                if isinstance(end, int) and end == position + len(data):
                    return bytes(data), end
        return self._process.log_read(position)


def _is_part(received: tuple[Any, Any]) -> bool:
    """Is it a part of a series, not its end or an error?"""
    message = received[0]
    return (
        isinstance(message, list)
        and len(message) == 2
        and message[0] == "ok"
        and message[1] is not None
    )


class RemoteCall:
    """A system call of a kernel elsewhere."""

    def __init__(self, kernel: RemoteKernel, nr: int, name: str, keywords: dict[str, int]) -> None:
        self.__name__ = name
        self.nr = nr
        self._kernel = kernel
        self._keywords = keywords
        self._shape = keywords["shape"]
        self._paths = keywords["paths"]
        self._void = keywords["flags"] & _native.VOID
        self._id = -1

    def __call__(self, *args: Any) -> Any:
        """Make the call."""
        sent: list[Any] = []
        data: list[Any] = []
        back: list[tuple[memoryview, bool]] = []
        names: list[str] = []
        shape = self._shape
        if shape == _native.READ and args[1] > _MOST:
            args = (args[0], _MOST, *args[2:])
        for index, arg in enumerate(args):
            if isinstance(arg, int) or arg is None:
                sent.append(int(arg or 0))
            elif isinstance(arg, str):
                sent.append(arg)
                names.append(arg)
            elif isinstance(arg, os.PathLike) or (self._paths >> index & 1):
                own = getattr(type(arg), "__kernel_fspath__", None)
                path = os.fsdecode(arg if own is None else own(arg, self._kernel))
                sent.append(path)
                names.append(path)
            elif isinstance(arg, _native.Vector):
                raise OSError(errno.EOPNOTSUPP, f"{self.__name__} in a sandbox")
            else:
                self._buffer(arg, shape, sent, data, back)
        kernel = self._kernel
        if self._id < 0:
            # Two threads may bind it twice, which does no harm.
            self._id = int(kernel.ask("bind", self.nr, self.__name__, self._keywords)[0])
        (result, code), answer = kernel.ask(
            self._id, *sent, data=data[0] if len(data) == 1 else b"".join(data)
        )
        if code:
            names += [None] * (2 - len(names))  # type: ignore[list-item]
            raise OSError(code, os.strerror(code), names[0], None, names[1])
        if shape == _native.READ:
            return bytes(answer)
        at = 0
        for view, whole in back:
            count = len(view) if whole else min(len(view), max(result, 0))
            view[:count] = answer[at : at + count]
            at += count
        return None if self._void else result

    def _buffer(
        self,
        arg: Any,
        shape: int,
        sent: list[Any],
        data: list[Any],
        back: list[tuple[memoryview, bool]],
    ) -> None:
        view = memoryview(arg).cast("B")
        if shape:
            view = view[:_MOST]
        size = len(view)
        if view.readonly or shape == _native.WRITE:
            sent.append([size, 0])
            data.append(view)
        else:
            whole = (size <= SMALL or self.__name__ == "ioctl") and shape != _native.READINTO
            sent.append([size, 1 if whole else 2])
            back.append((view, whole))
            if whole:
                data.append(bytes(view))

    def __repr__(self) -> str:
        return f"<system call {self.__name__} of a kernel in a sandbox>"
