# SPDX-License-Identifier: GPL-2.0-only
"""Signals that ask a process of a chain to end: it does, and cleans up before."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

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


@contextlib.contextmanager
def ended_by_signals(grace: int = GRACE) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise :class:`Ended`, once.

    Those that are ignored (nohup(1)), or that somebody else deals with, are left alone.

    Args:
        grace: seconds to clean up in.
    """
    global _reader
    # Python allows no other thread to have handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = armed = False
    owner = os.getpid()

    def end(number: int, _: object) -> None:
        # A chain and its stages may get it from each other, too: once is enough.
        # And a forked process has the handlers of its parent before and behind its own.
        nonlocal asked, armed
        if not asked and os.getpid() == owner:
            asked = armed = True
            # Whatever the cleaning up may wait for: by default SIGALRM ends the process.
            signal.alarm(grace)
            raise Ended(number)

    ours = {n: handler for n in SIGNALS if _is_ours(handler := signal.getsignal(n))}
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = _reader, signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _reader = reader
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        asked = True
        if armed:  # else it is the caller's, if there is one
            signal.alarm(0)
        for number, handler in ours.items():
            signal.signal(number, handler)
        _reader = before[0]
        signal.set_wakeup_fd(before[1])
        os.close(reader)
        os.close(writer)


def _is_ours(handler: object) -> bool:
    """Is it a default, or what a forked process has of its parent's chain?"""
    default = handler in (signal.SIG_DFL, signal.default_int_handler)
    return default or getattr(handler, "__module__", "") == __name__


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Nothing is raised within; what comes meanwhile is raised at the end."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


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
            with contextlib.suppress(BlockingIOError):
                os.read(self._reader, 4096)
        return happened


def wake_by_signals(loop: asyncio.AbstractEventLoop) -> None:
    """The same for an event loop."""
    if _reader >= 0 and threading.current_thread() is threading.main_thread():
        reader = _reader
        loop.add_reader(reader, lambda: loop.remove_reader(reader))
        loop.set_exception_handler(_say)


def _say(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What asyncio says of tasks that nobody waits for. An end is no error of theirs."""
    if not isinstance(context.get("exception"), Ended):
        loop.default_exception_handler(context)
