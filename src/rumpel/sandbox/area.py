# SPDX-License-Identifier: GPL-2.0-only
"""Memory that both ends of a channel have: data in it need not go through the socket.

Each half is a ring that one end writes to: pieces are made at its head, and are free again in
that order. Where a piece is and how long goes with its message; what the other end may say of it
is checked there, and never read from here. The content may change at any time, if the other end
is hostile: it is for those who only pass it on, and all others get a copy.

Its size is sealed: nobody can make it shorter, which would be a SIGBUS for who reads it.

Source: memfd_create(2), fcntl(2): file sealing.
"""

from __future__ import annotations

import fcntl
import mmap
import os

__all__ = ["PIECE", "Area", "Ring", "memory"]

_HALF = 4 << 20
PIECE = 512 << 10
"""No piece is longer: so there is always room for one, once the other end has said that what it
is done with is free (:data:`_TOLD`)."""
_TOLD = _HALF // 4
_MANY = 256
_ALIGNED = 64
_SEALS = 1 | 2 | 4
"""F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW: Python has no names for them in fcntl everywhere."""
_ADD_SEALS = 1033


def memory() -> int:
    """A descriptor of memory for an area."""
    fd = os.memfd_create("rumpel-area", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, 2 * _HALF)
        fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Ring:
    """Where pieces are in a half, as its writer knows.

    Args:
        size: of it.

    Example:
        >>> ring = Ring(1024)
        >>> ring.place(1000), ring.place(1000)
        (0, 0)
        >>> ring.keep(0, 1000)
        >>> ring.place(100) is None
        True
        >>> ring.free(1), ring.place(100)
        (True, 0)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._head = 0
        self._used: list[int] = []

    def place(self, size: int) -> int | None:
        """Where a piece may be made now; None if there is no room."""
        if not self._used:
            self._head = 0  # what was used last is in a cache
            return 0 if size <= self._size else None
        tail = self._used[0]
        if self._head > tail:
            if size <= self._size - self._head:
                return self._head
            return 0 if size < tail else None
        return self._head if size <= tail - self._head else None

    def keep(self, at: int, size: int) -> None:
        """A piece is there until it is free."""
        self._used.append(at)
        self._head = at + (size + _ALIGNED - 1 & -_ALIGNED)

    def free(self, count: int) -> bool:
        """The oldest so many pieces are free; False if there are not as many."""
        if count > len(self._used):
            return False
        del self._used[:count]
        return True


class Area:
    """One end's view of it.

    Args:
        fd: what :func:`memory` returned; it may be closed then.
        is_first: which of the two ends this is.

    Attributes:
        ring: of the half that this end writes to.
    """

    def __init__(self, fd: int, is_first: bool) -> None:
        self._map = mmap.mmap(fd, 2 * _HALF)
        whole = memoryview(self._map)
        halves = whole[:_HALF], whole[_HALF:]
        self._ours, theirs = halves if is_first else halves[::-1]
        self._theirs = theirs.toreadonly()
        self.ring = Ring(_HALF)
        # What the other end has not been told yet to be free.
        self._bytes = self._pieces = 0

    def ours(self, at: int, size: int) -> memoryview:
        """Room for a piece."""
        return self._ours[at : at + size]

    def is_ours(self, data: object) -> bool:
        """Is it a part of such?"""
        return type(data) is memoryview and data.obj is self._map

    def theirs(self, at: int, size: int) -> memoryview | None:
        """A piece of the other end; None if there can be no such."""
        if at + size > _HALF:
            return None
        return self._theirs[at : at + size]

    def done(self, size: int) -> None:
        """A piece of the other end, which has this size, is not looked at any more."""
        self._bytes += size
        self._pieces += 1

    @property
    def is_due(self) -> bool:
        """Is it time to tell the other end what is free?"""
        return self._bytes >= _TOLD or self._pieces >= _MANY

    def told(self) -> int:
        """How many pieces are free of which the other end was not told: now it is."""
        count, self._bytes, self._pieces = self._pieces, 0, 0
        return count
