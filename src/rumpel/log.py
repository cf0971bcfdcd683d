# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's log: records, forwarding, and what a panic left in it.

Source: Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, Union, overload, runtime_checkable

from rumpel.errors import BootError, KernelClosed, KernelPanic

if TYPE_CHECKING:
    import logging

    from rumpel import _native
    from rumpel.devices.device import HasFileno

__all__ = ["Log", "LogHandler", "LogRecord", "LogTarget", "destination", "parse"]

LogHandler = Union[Callable[["LogRecord"], object], "logging.Logger"]
"""What may be given for a boot's ``log``."""

LogTarget = Union[LogHandler, "HasFileno", int]
"""The same, or where the kernel's records are written to."""

_ESCAPE = rb"\\x([0-9a-f]{2})"
_BARE = "0x[0-9a-f]{8,16}"
_TAIL = 100
"""How many records a panic keeps."""


class LogRecord(NamedTuple):
    """One message of the kernel.

    Attributes:
        level: 0 (emergency) to 7 (debug).
        time: on the kernel's clock, in seconds.
        text: without the newline.
    """

    level: int
    time: float
    text: str

    def __str__(self) -> str:
        return f"[{self.time:12.6f}] {self.text}"


def parse(data: bytes) -> Iterator[LogRecord]:
    r"""Parse records in the format of /dev/kmsg; what is malformed is left out.

    Args:
        data: whole lines.

    Example:
        >>> list(parse(b"6,1,1200,-;hello\n SUBSYSTEM=net\n"))
        [LogRecord(level=6, time=0.0012, text='hello')]
    """
    for line in data.split(b"\n"):
        if not line or line[:1] == b" ":  # a continuation: properties of devices
            continue
        head, separator, text = line.partition(b";")
        fields = head.split(b",")
        if not separator or len(fields) < 3:
            continue
        try:
            level, time = int(fields[0]) & 7, int(fields[2]) / 1_000_000
        except ValueError:
            continue
        if b"\\x" in text:
            text = re.sub(_ESCAPE, lambda m: bytes.fromhex(m[1].decode()), text)
        yield LogRecord(level, time, text.decode(errors="replace"))


class Log(Sequence[LogRecord]):
    """The log of a kernel so far, as a sequence; ``str(log)`` looks like dmesg.

    It can still be read when the kernel is gone.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     print(k.log[0].text)
        Linux version 6.12...
    """

    def __init__(self, native: _native.Kernel) -> None:
        self._native = native
        self._position = 0
        self._records: list[LogRecord] = []

    def _update(self) -> list[LogRecord]:
        try:
            data, position = self._native.log_read(self._position)
        except KernelClosed:
            return self._records
        if position > self._position:  # another thread may have been faster
            self._position = position
            self._records.extend(parse(data))
        return self._records

    @overload
    def __getitem__(self, index: int) -> LogRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[LogRecord]: ...
    def __getitem__(self, index: int | slice) -> LogRecord | list[LogRecord]:
        return self._update()[index]

    def __len__(self) -> int:
        return len(self._update())

    def __str__(self) -> str:
        return "\n".join(map(str, self._update()))

    def __repr__(self) -> str:
        return f"<Log of {len(self)} records>"


class Forwarder:
    """A thread that hands records to a callable or a logger as they appear."""

    def __init__(self, native: _native.Kernel, handler: LogHandler) -> None:
        self._native = native
        self._emit = _emitter(handler)
        self._position = 0
        self._stop = False
        self._start()
        _watch_forks()
        _forwarders.add(self)

    def _start(self) -> None:
        import threading

        self._thread = threading.Thread(target=self._run, name="rumpel-log", daemon=True)
        self._thread.start()

    def start_again(self) -> None:
        """In the child of a fork: go on with what appears there."""
        if self._stop:
            return
        try:
            _, self._position = self._native.log_read(self._position)
        except KernelClosed:
            return
        self._start()

    def _run(self) -> None:
        try:
            while not self._stop:
                if self._native.log_wait(self._position, -1):
                    self._drain()
        except KernelClosed:
            pass

    def _drain(self) -> None:
        data, self._position = self._native.log_read(self._position)
        for record in parse(data):
            try:
                self._emit(record)
            except Exception as error:  # a handler's mistake must not stop the log
                sys.excepthook(type(error), error, error.__traceback__)

    def close(self) -> None:
        """Hand over what is left and end the thread."""
        self._stop = True
        import threading

        if self._thread is threading.current_thread():
            return
        while self._thread.is_alive():
            # It may not wait yet: again, then.
            self._native.log_wake()
            self._thread.join(0.01)
        self._drain()


_forwarders: weakref.WeakSet[Forwarder] = weakref.WeakSet()


def _start_again() -> None:
    for forwarder in _forwarders:
        forwarder.start_again()


@functools.cache
def _watch_forks() -> None:
    """Once threading is there, which in a child has to put itself right first."""
    os.register_at_fork(after_in_child=_start_again)


@runtime_checkable
class _HasFileno(Protocol):
    # An open file, or what has one's descriptor.
    def fileno(self) -> int: ...


def destination(log: LogTarget | None) -> tuple[int, LogHandler | None]:
    """A descriptor, or 0, and a handler, or None, for what was given as a boot's ``log``.

    Raises:
        TypeError: if it is nothing that takes records.
        ValueError: if it is standard input, or a closed file.
        OSError: if it is a descriptor that is not open.
    """
    if log is None:
        return 0, None
    if isinstance(log, int) and not isinstance(log, bool):
        fd = log
    elif callable(log) or (callable(getattr(log, "log", None)) and not isinstance(log, type)):
        return 0, log  # type: ignore[return-value]
    elif isinstance(log, _HasFileno):
        fd = log.fileno()
    else:
        raise TypeError(
            f"log must be a function, a logging.Logger, an open file or its descriptor, not {log!r}"
        )
    if not fd:
        raise ValueError("log cannot be standard input")
    try:
        os.fstat(fd)
    except OSError as error:
        raise OSError(error.errno, f"log: {error.strerror}: {fd}") from None
    return fd, None


def _emitter(handler: LogHandler) -> Callable[[LogRecord], object]:
    if callable(handler):
        return handler
    # The kernel's eight levels on the five of logging.
    levels = (50, 50, 50, 40, 30, 20, 20, 10)
    return lambda record: handler.log(levels[record.level], "%s", record.text)


_REASONS = ("Kernel panic - not syncing: ", "BUG: ", "kernel BUG at ", "Oops", "Unable to handle ")


def _reason(records: Sequence[LogRecord]) -> str:
    """The kernel's own words: the first complaint, and the panic if that is another."""
    found = [r.text for r in records if r.text.startswith(_REASONS)]
    if not found:
        return "the kernel ended without a word"
    panics = [t.removeprefix(_REASONS[0]) for t in found if t.startswith(_REASONS[0])]
    first = found[0].removeprefix(_REASONS[0])
    if panics and panics[0] != first:
        return f"{first} ({panics[0]})"
    return first


def _backtrace(records: Sequence[LogRecord], image: bytes, base: int) -> list[str]:
    """The frames of the call trace that follows the first complaint, innermost first."""
    frames = _frames(records)
    if not any(re.fullmatch(_BARE, frame) for frame in frames):
        return frames
    from rumpel.symbols import of_image

    symbols = of_image(image, base)
    # A return address is behind the call: the call itself says which function.
    return [
        (re.fullmatch(_BARE, frame) and symbols.name(int(frame, 16) - 1)) or frame
        for frame in frames
    ]


def _frames(records: Sequence[LogRecord]) -> list[str]:
    complaints = [i for i, r in enumerate(records) if r.text.startswith(_REASONS)]
    frames: list[str] = []
    inside = False
    for record in records[complaints[0] if complaints else 0 :]:
        text = record.text
        if text.startswith("Call Trace:"):
            inside = True
        elif inside and not text.startswith(" "):
            break
        elif inside and text.strip() not in ("<TASK>", "</TASK>"):
            frames.append(text.strip())
    return frames


def panic(data: bytes, image: bytes = b"", base: int = 0) -> KernelPanic:
    """Make the exception for a kernel that ended so.

    Args:
        data: its log.
        image: the path of its image, for the names of functions.
        base: where it was loaded.
    """
    records = list(parse(data))
    tail = "\n".join(map(str, records[-_TAIL:]))
    return KernelPanic(_reason(records), tail, _backtrace(records, image, base))


def boot_panic(data: bytes, image: bytes = b"", base: int = 0) -> BootError:
    """The same for a kernel that did not come up."""
    records = list(parse(data))
    reason = _reason(records)
    if "on memory" in reason:
        reason += "; give it more: boot(memory=...)"
    error = BootError(f"the kernel panicked while it booted: {reason}")
    error.add_note("\n".join(map(str, records[-_TAIL:])))
    error.add_note("\n".join(["Call trace:", *_backtrace(records, image, base)]))
    return error
