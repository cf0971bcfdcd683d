# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`select` on a library kernel: ``kernel.select``.

``kernel.selectors`` is a copy of the standard library's module on top of it.
Timeouts are measured on the kernel's clock.
"""

from __future__ import annotations

import contextlib
import math
import os as host_os
import select as host
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rumpel.errors import RumpelError

if TYPE_CHECKING:
    from rumpel.os import Os

__all__ = ["Epoll", "Poll", "SelectModule"]

_POLLFD = struct.Struct("=iHH")
_EVENT = struct.Struct("=Iii")
_NS = 1_000_000_000
_DEFAULT = host.POLLIN | host.POLLPRI | host.POLLOUT


class HasFileno(Protocol):
    """Anything with a descriptor of the kernel."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


Descriptor = int | HasFileno


def _number(fd: Descriptor) -> int:
    method = None if isinstance(fd, int) else getattr(fd, "fileno", None)
    number = fd if method is None else method()
    if not isinstance(number, int):
        raise TypeError("argument must be an int, or have a fileno() method.")
    if number < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({number})")
    return number


def _timespec(seconds: float | None) -> bytes | None:
    """A struct timespec; None, and what is negative, is for ever."""
    if seconds is None or seconds < 0:
        return None
    return struct.pack("=qq", *divmod(math.ceil(seconds * _NS), _NS))


class Poll:
    """What ``select.poll()`` returns."""

    def __init__(self, os: Os) -> None:
        self._ppoll = os._call("ppoll")
        self._wanted: dict[int, int] = {}

    def register(self, fd: Descriptor, eventmask: int = _DEFAULT, /) -> None:
        """Watch a descriptor."""
        self._wanted[_number(fd)] = eventmask

    def modify(self, fd: Descriptor, eventmask: int, /) -> None:
        """Watch a descriptor for other events."""
        number = _number(fd)
        if number not in self._wanted:
            raise FileNotFoundError(2, host_os.strerror(2))
        self._wanted[number] = eventmask

    def unregister(self, fd: Descriptor, /) -> None:
        """Watch it no more."""
        del self._wanted[_number(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait until something happens, or at most so many milliseconds."""
        table = bytearray(b"".join(_POLLFD.pack(fd, m, 0) for fd, m in self._wanted.items()))
        limit = _timespec(None if timeout is None else timeout / 1000)
        if not self._ppoll(table, len(self._wanted), limit, None, 0):
            return []
        return [(fd, got) for fd, _, got in _POLLFD.iter_unpack(table) if got]


class Epoll:
    """What ``select.epoll()`` returns."""

    _fd = -1

    def __init__(self, os: Os, fd: int) -> None:
        self._os = os
        self._fd = fd
        self._ctl = os._call("epoll_ctl")
        self._wait = os._call("epoll_pwait2")

    @property
    def closed(self) -> bool:
        """Was it closed?"""
        return self._fd < 0

    def fileno(self) -> int:
        """Its own descriptor in the kernel."""
        self._check()
        return self._fd

    def _check(self) -> None:
        if self._fd < 0:
            raise ValueError("I/O operation on closed epoll object")

    def _control(self, operation: int, fd: Descriptor, events: int) -> None:
        self._check()
        number = _number(fd)
        self._ctl(self._fd, operation, number, _EVENT.pack(events, number, 0))

    def register(self, fd: Descriptor, eventmask: int = _DEFAULT) -> None:
        """Watch a descriptor."""
        self._control(1, fd, eventmask)

    def unregister(self, fd: Descriptor) -> None:
        """Watch it no more."""
        self._control(2, fd, 0)

    def modify(self, fd: Descriptor, eventmask: int) -> None:
        """Watch it for other events."""
        self._control(3, fd, eventmask)

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """Wait until something happens, or at most so many seconds."""
        self._check()
        if maxevents == -1:
            maxevents = 1023
        elif maxevents <= 0:
            raise ValueError(f"maxevents must be greater than 0, got {maxevents}")
        table = bytearray(maxevents * _EVENT.size)
        count = self._wait(self._fd, table, maxevents, _timespec(timeout), None, 0)
        rows = _EVENT.iter_unpack(table[: count * _EVENT.size])
        return [(fd, events) for events, fd, _ in rows]

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._os.close(fd)

    def __enter__(self) -> Epoll:
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # With the kernel gone the descriptor is, too.
        with contextlib.suppress(OSError, RumpelError):
            self.close()


class SelectModule:
    """The module :mod:`select` for descriptors of a kernel. Constants are the host's.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     poll = k.select.poll()
        ...     poll.register(k.socket.create_server(("", 80)), k.select.POLLIN)
        ...     poll.poll(1000)
        []
    """

    error = OSError
    PIPE_BUF = host.PIPE_BUF

    def __init__(self, os: Os) -> None:
        self._os = os

    def __getattr__(self, name: str) -> int:
        """Constants are the host's."""
        value = getattr(host, name, None)
        if not name.isupper() or not isinstance(value, int):
            raise AttributeError(f"kernel.select has no {name!r}")
        self.__dict__[name] = value
        return value

    def poll(self) -> Poll:
        """Make an object that watches descriptors."""
        return Poll(self._os)

    def epoll(self, sizehint: int = -1, flags: int = 0) -> Epoll:
        """Make an object of the kernel that watches descriptors."""
        if sizehint < -1 or sizehint == 0:
            raise ValueError("negative sizehint")
        return Epoll(self._os, self._os._call("epoll_create1")(flags | host.EPOLL_CLOEXEC))

    def select(
        self,
        rlist: Iterable[Any],
        wlist: Iterable[Any],
        xlist: Iterable[Any],
        timeout: float | None = None,
        /,
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Wait until some of the objects are ready: to read, to write, with exceptions."""
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be non-negative")
        kinds = (
            (list(rlist), host.POLLIN, host.POLLIN | host.POLLHUP | host.POLLERR),
            (list(wlist), host.POLLOUT, host.POLLOUT | host.POLLERR),
            (list(xlist), host.POLLPRI, host.POLLPRI),
        )
        poll = Poll(self._os)
        for objects, wanted, _ in kinds:
            for each in objects:
                number = _number(each)
                poll.register(number, poll._wanted.get(number, 0) | wanted)
        got = dict(poll.poll(None if timeout is None else timeout * 1000))
        if host.POLLNVAL in got.values():
            raise OSError(9, host_os.strerror(9))
        found = [[o for o in objects if got.get(_number(o), 0) & m] for objects, _, m in kinds]
        return found[0], found[1], found[2]
