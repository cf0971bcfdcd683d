# SPDX-License-Identifier: GPL-2.0-only
"""Signals that ask a process of a chain to end: it does, and cleans up before."""

from __future__ import annotations

import os
import select
from _thread import get_native_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import signal
    from typing import Any
else:
    import _signal as signal  # whose functions they are: it makes no enumerations of numbers

__all__ = [
    "GRACE",
    "SIGNALS",
    "Ended",
    "Poll",
    "ended_by_signals",
    "signals_held_back",
    "wake_by_signals",
]

GRACE = 2
"""Seconds to clean up in; then the process ends without."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_reader = -1
"""Becomes readable when a signal comes."""


class Ended(KeyboardInterrupt):
    """A signal that asks to end.

    Attributes:
        code: the exit code for it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.code = 128 + number


def _is_main_thread() -> bool:
    """As threading knows it, which nobody else needs here."""
    return get_native_id() == os.getpid()


class ended_by_signals:  # noqa: N801 - it is called as a function
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`Ended`, once, within a ``with``.

    Those that are ignored (nohup(1)), or that somebody else deals with, are left alone.

    Args:
        grace: seconds to clean up in.
    """

    def __init__(self, grace: int = GRACE) -> None:
        self._grace = grace
        self._asked = self._armed = False
        self._owner = os.getpid()
        self._ours: dict[int, Any] = {}
        # Python allows no other thread to have handlers.
        self._here = _is_main_thread()

    def __enter__(self) -> None:
        global _reader
        if not self._here:
            return
        self._ours = {n: handler for n in SIGNALS if _is_ours(handler := signal.getsignal(n))}
        reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = _reader, signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._reader = _reader = reader
        for number in self._ours:
            signal.signal(number, self._end)

    def _end(self, number: int, _: object) -> None:
        # A chain and its stages may get it from each other, too: once is enough.
        # And a forked process has the handlers of its parent before and behind its own.
        if not self._asked and os.getpid() == self._owner:
            self._asked = self._armed = True
            # Whatever the cleaning up may wait for: by default SIGALRM ends the process.
            signal.alarm(self._grace)
            raise Ended(number)

    def __exit__(self, *error: object) -> None:
        global _reader
        if not self._here:
            return
        self._asked = True
        if self._armed:  # else it is the caller's, if there is one
            signal.alarm(0)
        for number, handler in self._ours.items():
            signal.signal(number, handler)
        _reader, wakeup = self._before
        signal.set_wakeup_fd(wakeup)
        os.close(self._reader)
        os.close(self._writer)


def _is_ours(handler: object) -> bool:
    """Is it a default, or what a forked process has of its parent's chain?"""
    default = handler in (signal.SIG_DFL, signal.default_int_handler)
    return default or getattr(handler, "__module__", "") == __name__


class signals_held_back:  # noqa: N801 - likewise
    """Nothing is raised within a ``with``; what comes meanwhile is raised at the end."""

    def __enter__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def __exit__(self, *error: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


class Poll:
    """A poll(2) that a signal ends, even one that came just before.

    The exception is raised when Python has looked for signals the last time, and does not
    look again before something happens.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._reader = _reader
        self.register = self._poll.register
        self.unregister = self._poll.unregister
        if self._reader >= 0:
            self.register(self._reader, select.POLLIN)

    def poll(self, timeout: float | None = None) -> list[int]:
        """Wait for so many milliseconds; the descriptors where something happened."""
        happened = [fd for fd, _ in self._poll.poll(timeout)]
        if self._reader in happened:
            happened.remove(self._reader)
            # It has ended this poll, and shall not end all that follow.
            try:  # noqa: SIM105 - contextlib takes as long to import as the rest of this
                os.read(self._reader, 4096)
            except BlockingIOError:
                pass
        return happened


def wake_by_signals(loop: asyncio.AbstractEventLoop) -> None:
    """The same for an event loop."""
    if _reader >= 0 and _is_main_thread():
        reader = _reader
        loop.add_reader(reader, lambda: loop.remove_reader(reader))
        loop.set_exception_handler(_say)


def _say(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio says of tasks that nobody waits for. An end is no error of theirs."""
    if not isinstance(context.get("exception"), Ended):
        loop.default_exception_handler(context)
