# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`select` on a library kernel: ``kernel.select``.

``kernel.selectors`` is a copy of the standard library's module on top of it.
Timeouts are measured on the kernel's clock.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os as host_os
import select as host
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rumpel.errors import RumpelError

if TYPE_CHECKING:
    from rumpel.os import Os
    from rumpel.os.base import Descriptor

__all__ = ["Epoll", "Poll", "SelectModule"]

_POLLFD = struct.Struct("=iHH")
_EVENT = struct.Struct("=Iii")
_NS = 1_000_000_000
_INT_MAX = (1 << 31) - 1
_DEFAULT = host.POLLIN | host.POLLPRI | host.POLLOUT
_CTL_ADD, _CTL_DEL, _CTL_MOD = 1, 2, 3


def _number(fd: Descriptor) -> int:
    """The number of a descriptor, or of something that has one.

    Raises:
        TypeError: if it has none.
        ValueError: if it is closed.
    """
    method = None if isinstance(fd, int) else getattr(fd, "fileno", None)
    value = fd if method is None else method()
    if not isinstance(value, int):
        raise TypeError("argument must be an int, or have a fileno() method.")
    if value < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({value})")
    return value


def _timespec(seconds: float | None) -> bytes | None:
    """A struct timespec; None, and what is negative, is for ever."""
    if seconds is None or seconds < 0:
        return None
    return struct.pack("=qq", *divmod(math.ceil(seconds * _NS), _NS))


def _mask(events: int) -> int:
    if events < 0:
        raise ValueError("value must be positive")
    if events > 0xFFFF:
        raise OverflowError("Python int too large for C unsigned short")
    return events


class Poll:
    """What ``select.poll()`` returns."""

    def __init__(self, os: Os) -> None:
        self._ppoll = os._call("ppoll")
        self._wanted: dict[int, int] = {}
        self._table: bytearray | None = None  # of the wanted; None: to be made
        self._busy = False

    def register(self, fd: Descriptor, eventmask: int = _DEFAULT, /) -> None:
        """Watch a descriptor."""
        self._wanted[_number(fd)] = _mask(eventmask)
        self._table = None

    def modify(self, fd: Descriptor, eventmask: int, /) -> None:
        """Watch a descriptor for other events."""
        fileno = _number(fd)
        mask = _mask(eventmask)
        if fileno not in self._wanted:
            raise FileNotFoundError(errno.ENOENT, host_os.strerror(errno.ENOENT))
        self._wanted[fileno] = mask
        self._table = None

    def unregister(self, fd: Descriptor, /) -> None:
        """Watch it no more."""
        del self._wanted[_number(fd)]
        self._table = None

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait until something happens, or at most so many milliseconds."""
        if timeout is not None and timeout > _INT_MAX:
            raise OverflowError("timeout is too large")
        limit = _timespec(None if timeout is None else timeout / 1000)
        if self._busy:
            raise RuntimeError("concurrent poll() invocation")
        table = self._table
        if table is None:
            packed = b"".join(_POLLFD.pack(fd, m, 0) for fd, m in self._wanted.items())
            table = self._table = bytearray(packed)
        self._busy = True
        try:
            count = self._ppoll(table, len(table) // _POLLFD.size, limit, None, 0)
        finally:
            self._busy = False
        if not count:
            return []
        return [(fd, got) for fd, _, got in _POLLFD.iter_unpack(table) if got]


class Epoll:
    """An object of the kernel that watches descriptors; ``select.epoll``.

    Args:
        sizehint: ignored, but for bad values.
        flags: EPOLL_CLOEXEC, which is set anyway.
    """

    _os: ClassVar[Os]
    _fd = -1

    def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
        if not isinstance(sizehint, int):
            raise TypeError(f"an integer is required, not {type(sizehint).__name__}")
        if sizehint < -1 or sizehint == 0:
            raise ValueError("negative sizehint")
        self._adopt(self._os._call("epoll_create1")(flags | host.EPOLL_CLOEXEC))

    @classmethod
    def fromfd(cls, fd: int, /) -> Self:
        """Make one of a descriptor, which it then owns."""
        self = cls.__new__(cls)
        self._adopt(fd)
        return self

    def _adopt(self, fd: int) -> None:
        self._fd = fd
        self._ctl = self._os._call("epoll_ctl")
        self._wait = self._os._call("epoll_pwait2")

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
        fileno = _number(fd)
        self._ctl(self._fd, operation, fileno, _EVENT.pack(events, fileno, 0))

    def register(self, fd: Descriptor, eventmask: int = _DEFAULT) -> None:
        """Watch a descriptor."""
        self._control(_CTL_ADD, fd, eventmask)

    def unregister(self, fd: Descriptor) -> None:
        """Watch it no more."""
        self._control(_CTL_DEL, fd, 0)

    def modify(self, fd: Descriptor, eventmask: int) -> None:
        """Watch it for other events."""
        self._control(_CTL_MOD, fd, eventmask)

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

    def __enter__(self) -> Self:
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
    epoll: type[Epoll]

    def __init__(self, os: Os) -> None:
        self._os = os
        own = {"__module__": "rumpel.select", "__doc__": Epoll.__doc__, "_os": os}
        self.epoll = type("epoll", (Epoll,), own)

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
            (_numbers(rlist), host.POLLIN, host.POLLIN | host.POLLHUP | host.POLLERR),
            (_numbers(wlist), host.POLLOUT, host.POLLOUT | host.POLLERR),
            (_numbers(xlist), host.POLLPRI, host.POLLPRI),
        )
        wanted: dict[int, int] = {}
        for objects, mask, _ in kinds:
            for fileno, _ in objects:
                wanted[fileno] = wanted.get(fileno, 0) | mask
        table = bytearray(b"".join(_POLLFD.pack(fd, mask, 0) for fd, mask in wanted.items()))
        if not self._os._call("ppoll")(table, len(wanted), _timespec(timeout), None, 0):
            return [], [], []
        got = {fd: events for fd, _, events in _POLLFD.iter_unpack(table)}
        if host.POLLNVAL in got.values():
            raise OSError(errno.EBADF, host_os.strerror(errno.EBADF))
        r, w, x = ([o for fd, o in objects if got[fd] & mask] for objects, _, mask in kinds)
        return r, w, x


def _numbers(objects: Iterable[Any]) -> list[tuple[int, Any]]:
    """Each object with its descriptor; the list may become shorter meanwhile."""
    return [(_number(each), each) for each in objects]
