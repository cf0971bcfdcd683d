# SPDX-License-Identifier: GPL-2.0-only
"""A thread that hands on what a kernel logs."""

from __future__ import annotations

import functools
import os
import sys
import weakref
from typing import TYPE_CHECKING

from rumpel.errors import KernelClosed
from rumpel.records import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from rumpel import _native
    from rumpel.log import LogHandler
    from rumpel.records import LogRecord

__all__ = ["Forwarder"]


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


def _emitter(handler: LogHandler) -> Callable[[LogRecord], object]:
    if callable(handler):
        return handler
    # The kernel's eight levels on the five of logging.
    levels = (50, 50, 50, 40, 30, 20, 20, 10)
    return lambda record: handler.log(levels[record.level], "%s", record.text)
