# SPDX-License-Identifier: GPL-2.0-only
"""Timeouts: the descriptor of a socket that has one does not block, and is polled."""

from __future__ import annotations

import os
import struct
from typing import Any, ClassVar

from rumpel.clock import to_ns

__all__ = ["Waiting"]

_POLLFD = struct.Struct("=ihh")
_F_GETFL, _F_SETFL = 3, 4
_NS = 1_000_000_000


class Waiting:
    """The base of sockets that makes calls with a timeout, on the kernel's clock."""

    __slots__ = ("_family", "_fd", "_proto", "_timeout")

    READABLE, WRITABLE = 1, 4
    _fd: int
    _family: int
    _proto: int
    _timeout: float | None
    _now: ClassVar[Any]
    _c_poll: ClassVar[Any]
    _c_fcntl: ClassVar[Any]

    def gettimeout(self) -> float | None:
        """How many seconds calls wait at most; None is for ever."""
        return self._timeout

    @property
    def timeout(self) -> float | None:
        """The same."""
        return self._timeout

    def settimeout(self, value: float | None, /) -> None:
        """Set how many seconds calls wait at most; None is for ever."""
        if value is not None:
            if to_ns(value) < 0:
                raise ValueError("Timeout value out of range")
            value = float(value)
        self._set_nonblocking(value is not None)
        self._timeout = value

    def setblocking(self, flag: bool, /) -> None:
        """Let calls wait for ever, or not at all."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Do calls wait?"""
        return self._timeout != 0

    def _set_nonblocking(self, flag: bool) -> None:
        flags = self._c_fcntl(self._fd, _F_GETFL, 0) & ~os.O_NONBLOCK
        self._c_fcntl(self._fd, _F_SETFL, flags | (os.O_NONBLOCK if flag else 0))

    def _deadline(self) -> int | None:
        """The end of the timeout that begins now, in ns; None if there is no end."""
        if not self._timeout:
            return None
        return int(self._now()) + to_ns(self._timeout)

    def _when(self, events: int, call: Any, *args: Any) -> Any:
        """Make a call; with a timeout, again when it can do something."""
        try:
            return call(*args)
        except BlockingIOError:
            if not self._timeout:
                raise
        return self._until(self._deadline(), events, call, *args)

    def _until(self, deadline: int | None, events: int, call: Any, *args: Any) -> Any:
        """Make a call as often as it takes until the deadline."""
        while True:
            try:
                return call(*args)
            except BlockingIOError:
                if not self._timeout:
                    raise
            self._wait(events, deadline)

    def _wait(self, events: int, deadline: int | None) -> None:
        """Wait until the socket is ready.

        Raises:
            TimeoutError: if it is not by then.
        """
        limit = None
        if deadline is not None:
            left = deadline - self._now()
            if left <= 0:
                raise TimeoutError("timed out")
            limit = struct.pack("=qq", *divmod(left, _NS))
        if not self._c_poll(bytearray(_POLLFD.pack(self._fd, events, 0)), 1, limit, None, 0):
            raise TimeoutError("timed out")
