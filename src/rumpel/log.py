# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's log, where it may go, and what a panic left in it.

Each boot needs this, so it imports next to nothing: what hands records to somebody has
modules of its own (:mod:`rumpel.records`, :mod:`rumpel.forwarding`).

Source: Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

import os
from _collections_abc import Sequence  # which is there when Python has started

from rumpel.errors import BootError, KernelClosed, KernelPanic

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator
    from typing import overload

    from rumpel import _native
    from rumpel.devices.shapes import HasFileno
    from rumpel.records import LogRecord

    Message = tuple[int, float, str]
    """Level, time and text of a record."""

    LogHandler = Callable[[LogRecord], object] | logging.Logger
    """What may be given for a boot's ``log``."""

    LogTarget = LogHandler | HasFileno | int
    """The same, or where the kernel's records are written to."""

__all__ = ["Log", "boot_panic", "destination", "line", "messages", "panic"]

_TAIL = 100
"""How many records a panic keeps."""


def messages(data: bytes) -> Iterator[Message]:
    """Level, time and text of records in the format of /dev/kmsg; see :func:`records.parse`."""
    for record in data.split(b"\n"):
        if not record or record[:1] == b" ":  # a continuation: properties of devices
            continue
        head, separator, text = record.partition(b";")
        fields = head.split(b",")
        if not separator or len(fields) < 3:
            continue
        try:
            level, time = int(fields[0]) & 7, int(fields[2]) / 1_000_000
        except ValueError:
            continue
        yield level, time, _unescaped(text).decode(errors="replace")


def _unescaped(text: bytes) -> bytes:
    """A text with its bytes in the place of what stands for them, such as ``\\x0a``."""
    first, *others = text.split(b"\\x")
    for other in others:
        try:
            first += bytes.fromhex(other[:2].decode()) + other[2:]
        except ValueError:
            first += b"\\x" + other
    return first


def line(message: Message) -> str:
    """A message as dmesg shows it."""
    _, time, text = message
    return f"[{time:12.6f}] {text}"


class Log(Sequence["LogRecord"]):
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
        self._pieces: list[bytes] = []
        self._records: list[LogRecord] = []

    def _keep(self) -> None:
        """Read what there is: when the kernel is gone there is no more."""
        try:
            data, position = self._native.log_read(self._position)
        except KernelClosed:
            return
        if position > self._position:  # another thread may have been faster
            self._position = position
            self._pieces.append(data)

    def _update(self) -> list[LogRecord]:
        self._keep()
        if self._pieces:
            from rumpel.records import parse

            pieces, self._pieces = self._pieces, []
            self._records.extend(parse(b"".join(pieces)))
        return self._records

    if TYPE_CHECKING:

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
    elif callable(getattr(log, "fileno", None)):
        fd = log.fileno()  # type: ignore[union-attr]
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


_REASONS = ("Kernel panic - not syncing: ", "BUG: ", "kernel BUG at ", "Oops", "Unable to handle ")


def _reason(records: Sequence[Message]) -> str:
    """The kernel's own words: the first complaint, and the panic if that is another."""
    found = [text for _, _, text in records if text.startswith(_REASONS)]
    if not found:
        return "the kernel ended without a word"
    panics = [t.removeprefix(_REASONS[0]) for t in found if t.startswith(_REASONS[0])]
    first = found[0].removeprefix(_REASONS[0])
    if panics and panics[0] != first:
        return f"{first} ({panics[0]})"
    return first


def _backtrace(records: Sequence[Message], image: bytes, base: int) -> list[str]:
    """The frames of the call trace that follows the first complaint, innermost first."""
    frames = _frames(records)
    if not any(map(_is_bare, frames)):
        return frames
    from rumpel.symbols import of_image

    symbols = of_image(image, base)
    # A return address is behind the call: the call itself says which function.
    return [(_is_bare(frame) and symbols.name(int(frame, 16) - 1)) or frame for frame in frames]


def _is_bare(frame: str) -> bool:
    """Is it an address?"""
    return 10 <= len(frame) <= 18 and frame[:2] == "0x" and not frame[2:].strip("0123456789abcdef")


def _frames(records: Sequence[Message]) -> list[str]:
    complaints = [i for i, (_, _, text) in enumerate(records) if text.startswith(_REASONS)]
    frames: list[str] = []
    inside = False
    for _, _, text in records[complaints[0] if complaints else 0 :]:
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
    records = list(messages(data))
    tail = "\n".join(map(line, records[-_TAIL:]))
    return KernelPanic(_reason(records), tail, _backtrace(records, image, base))


def boot_panic(data: bytes, image: bytes = b"", base: int = 0) -> BootError:
    """The same for a kernel that did not come up."""
    records = list(messages(data))
    reason = _reason(records)
    if "on memory" in reason:
        reason += "; give it more: boot(memory=...)"
    error = BootError(f"the kernel panicked while it booted: {reason}")
    error.add_note("\n".join(map(line, records[-_TAIL:])))
    error.add_note("\n".join(["Call trace:", *_backtrace(records, image, base)]))
    return error
