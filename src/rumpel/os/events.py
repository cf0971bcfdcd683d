# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: descriptors that tell of events: eventfd(2), timerfd(2), pidfd(2)."""

from __future__ import annotations

import _struct as struct
import os

from rumpel.os.base import NUMBERS, VOID, Base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rumpel import _native

_NS = 1_000_000_000
_ITIMERSPEC = struct.Struct("qqqq")
"""Interval and value, each as seconds and nanoseconds."""
_PIDFD_NONBLOCK = os.O_NONBLOCK


class Events(Base):
    """Functions of :mod:`os` that make descriptors to wait for."""

    # The host's constants, which Python has since 3.13.
    TFD_CLOEXEC = os.O_CLOEXEC
    TFD_NONBLOCK = os.O_NONBLOCK
    TFD_TIMER_ABSTIME = 1
    TFD_TIMER_CANCEL_ON_SET = 2
    PIDFD_NONBLOCK = _PIDFD_NONBLOCK

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        self._eventfd = self._bind("eventfd2", flags=NUMBERS)
        self._eventfd_read = self._bind("read")
        self._eventfd_write = self._bind("write")

    def eventfd(self, initval: int, flags: int = os.EFD_CLOEXEC) -> int:
        """Make a counter to wait for."""
        return self._eventfd(initval, flags)  # type: ignore[no-any-return]

    def eventfd_read(self, fd: int) -> int:
        """Take the value of a counter."""
        value = bytearray(8)
        self._eventfd_read(fd, value, 8)
        return int.from_bytes(value, "little")

    def eventfd_write(self, fd: int, value: int) -> None:
        """Add to a counter."""
        self._eventfd_write(fd, struct.pack("Q", value), 8)

    def timerfd_create(self, clockid: int, /, *, flags: int = TFD_CLOEXEC) -> int:
        """Make a timer to wait for, on a clock such as ``time.CLOCK_MONOTONIC``."""
        return self._call("timerfd_create")(clockid, flags)  # type: ignore[no-any-return]

    def timerfd_settime(
        self, fd: int, /, *, flags: int = 0, initial: float = 0.0, interval: float = 0.0
    ) -> tuple[float, float]:
        """Set a timer, in seconds; returns what was left of it before, and its interval."""
        return _seconds(self._set(fd, flags, _ns(initial), _ns(interval)))

    def timerfd_settime_ns(
        self, fd: int, /, *, flags: int = 0, initial: int = 0, interval: int = 0
    ) -> tuple[int, int]:
        """Set a timer, in nanoseconds."""
        return self._set(fd, flags, initial, interval)

    def timerfd_gettime(self, fd: int, /) -> tuple[float, float]:
        """What is left of a timer, and its interval, in seconds."""
        return _seconds(self.timerfd_gettime_ns(fd))

    def timerfd_gettime_ns(self, fd: int, /) -> tuple[int, int]:
        """What is left of a timer, and its interval, in nanoseconds."""
        now = bytearray(_ITIMERSPEC.size)
        self._call("timerfd_gettime", VOID)(fd, now)
        return _unpack(now)

    def _set(self, fd: int, flags: int, initial: int, interval: int) -> tuple[int, int]:
        old = bytearray(_ITIMERSPEC.size)
        new = _ITIMERSPEC.pack(*divmod(interval, _NS), *divmod(initial, _NS))
        self._call("timerfd_settime", VOID)(fd, flags, new, old)
        return _unpack(old)

    def pidfd_open(self, pid: int, flags: int = 0) -> int:
        """Make a descriptor of a process."""
        return self._call("pidfd_open")(pid, flags)  # type: ignore[no-any-return]


def _unpack(timer: Any) -> tuple[int, int]:
    interval, interval_ns, value, value_ns = _ITIMERSPEC.unpack(timer)
    return value * _NS + value_ns, interval * _NS + interval_ns


def _ns(seconds: float) -> int:
    return round(seconds * _NS)


def _seconds(pair: tuple[int, int]) -> tuple[float, float]:
    return pair[0] / _NS, pair[1] / _NS
