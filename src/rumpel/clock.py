# SPDX-License-Identifier: GPL-2.0-only
"""Clocks: the host's, and virtual ones."""

from __future__ import annotations

from rumpel import _native

__all__ = ["HostClock", "VirtualClock"]

NS = 1_000_000_000
_MOST = ((1 << 63) - 1) // NS


def to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds; errors are those of :mod:`time`.

    Rounded to the nearest, but no time that is left to none: who waits until there is none
    left would wait for ever, on a clock that only moves when somebody waits.
    """
    if not hasattr(type(seconds), "__float__"):
        raise TypeError(f"must be real number, not {type(seconds).__name__}")
    if seconds != seconds:
        raise ValueError("Invalid value NaN (not a number)")
    if not -_MOST <= seconds <= _MOST:
        raise OverflowError(f"so many seconds do not fit in 64 bits of nanoseconds: {seconds}")
    return round(seconds * NS) or int(seconds > 0)


class VirtualClock:
    """Time that passes only when nothing can run.

    Kernels that are booted with the same clock live in the same time. When a call
    waits, the kernels of the clock run, in the order in which they were booted, until
    none of them has anything to do; then the clock jumps to the next moment for which
    a timer is set. So sleeping takes no time, and the same program sees the same
    times on every run. Use the kernels of one clock from one thread at a time.

    A call that nothing can ever end raises :class:`rumpel.Deadlock` if no kernel of the
    clock has set a timer. Most have some of their own; then the clock jumps from one to
    the next until the call is interrupted (Ctrl-C).

    Args:
        start: what monotonic clocks read at first, in seconds.
        epoch: realtime at that moment, seconds since 1970; by default the year 2000.

    Example:
        >>> clock = VirtualClock()
        >>> with rumpel.boot(clock=clock) as k:  # doctest: +SKIP
        ...     before = clock.now
        ...     k.sleep(1000)
        ...     clock.now - before >= 1000
        True
    """

    def __init__(self, start: float = 0.0, epoch: float = 946684800.0) -> None:
        begin, realtime = to_ns(start), to_ns(epoch)
        if begin < 0 or realtime < 0:
            raise ValueError("a clock cannot start below zero")
        self._native = _native.Clock(begin, realtime)

    @property
    def now(self) -> float:
        """What monotonic clocks read, in seconds."""
        return self._native.now_ns / NS

    @property
    def now_ns(self) -> int:
        """What monotonic clocks read, in nanoseconds."""
        return self._native.now_ns

    def advance(self, seconds: float) -> None:
        """Let time pass: everything that is due meanwhile is done at its moment.

        Args:
            seconds: not negative.

        Raises:
            ValueError: if negative.
        """
        if seconds < 0:
            raise ValueError("a clock does not go backwards")
        self._native.advance_to_ns(self._native.now_ns + to_ns(seconds))

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.now:.9f} s>"


class HostClock:
    """The host's monotonic clock, as a kernel sees it."""

    def __init__(self, native: _native.Kernel) -> None:
        self._native = native

    @property
    def now(self) -> float:
        """What monotonic clocks read, in seconds."""
        return self._native.now_ns / NS

    @property
    def now_ns(self) -> int:
        """What monotonic clocks read, in nanoseconds."""
        return self._native.now_ns

    def __repr__(self) -> str:
        return f"<HostClock at {self.now:.9f} s>"
