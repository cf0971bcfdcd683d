# SPDX-License-Identifier: GPL-2.0-only
"""The descriptors of one kernel that an event loop waits for: an epoll instance of it."""

from __future__ import annotations

import contextlib
import select
import selectors
import struct
from typing import TYPE_CHECKING

from rumpel._native import VOID, Kernel, Pending
from rumpel.aio.driver import dispatch
from rumpel.errors import RumpelError
from rumpel.syscalls import bind

if TYPE_CHECKING:
    import asyncio

__all__ = ["Poll", "Ready", "to_mask"]

Ready = list[tuple[selectors.SelectorKey, int]]

# struct epoll_event, whose 64 bits of data are a number of ours and the descriptor.
_EVENT = struct.Struct("=III")
_MOST = 1024
_ADD, _DELETE, _MODIFY = 1, 2, 3


def to_mask(events: int) -> int:
    """Events of :mod:`selectors` as epoll has them."""
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )


class Poll:
    """One kernel's descriptors.

    Attributes:
        keys: what is watched, by descriptor.
        ended: the wait has ended: something is ready.
        dead: the kernel is gone. Then all is ready, for its users to find that out.
    """

    def __init__(self, kernel: Kernel, loop: asyncio.AbstractEventLoop) -> None:
        self._kernel = kernel
        self._loop = loop
        self.keys: dict[int, selectors.SelectorKey] = {}
        self.ended = False
        self.dead = False
        self._task = kernel.task()
        self._ctl = bind(kernel, "epoll_ctl", flags=VOID)
        self._epoll_wait = bind(kernel, "epoll_wait")
        self._close = bind(kernel, "close")
        self._fd = bind(kernel, "epoll_create1")(select.EPOLL_CLOEXEC)
        self._table = bytearray(_MOST * _EVENT.size)
        self._pending: Pending | None = None
        # A descriptor's number may be another's by the time an old event is read.
        self._serial = 0
        self._serials: dict[int, int] = {}

    def register(self, key: selectors.SelectorKey) -> None:
        """Watch a descriptor."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        self._ctl(self._fd, _ADD, key.fd, _EVENT.pack(to_mask(key.events), key.fd, self._serial))
        self.keys[key.fd] = key
        self._serials[key.fd] = self._serial

    def modify(self, key: selectors.SelectorKey, changed: bool) -> None:
        """Watch it for other events, or for somebody else."""
        if changed and not self.dead:
            packed = _EVENT.pack(to_mask(key.events), key.fd, self._serials[key.fd])
            self._ctl(self._fd, _MODIFY, key.fd, packed)
        self.keys[key.fd] = key

    def unregister(self, fd: int) -> selectors.SelectorKey:
        """Watch it no more."""
        del self._serials[fd]
        # It may be closed already, or the kernel be gone.
        with contextlib.suppress(OSError, RumpelError):
            self._ctl(self._fd, _DELETE, fd, None)
        return self.keys.pop(fd)

    def collect(self, found: Ready, *, wait: bool) -> None:
        """Add what is ready, and begin to wait if that is nothing."""
        if self.dead:
            found += [(key, key.events) for key in self.keys.values()]
            return
        if self._pending is None:
            try:
                result = self._task.submit(
                    self._epoll_wait, self._fd, self._table, _MOST, -1 if wait else 0
                )
            except RumpelError:
                self.dead = True
                self.collect(found, wait=False)
                return
            if type(result) is Pending:
                self._pending = result
                result.owner = self
                return
        elif self.ended:
            result = self._take(self._pending)
        else:
            return
        self._add(found, result)

    def _take(self, pending: Pending) -> int:
        self._pending = None
        self.ended = False
        try:
            count: int = pending.result()
        except InterruptedError:
            return 0
        except RumpelError:
            self.dead = True
            return 0
        return count

    def _add(self, found: Ready, count: int) -> None:
        keys, serials = self.keys, self._serials
        for mask, fd, serial in _EVENT.iter_unpack(memoryview(self._table)[: count * _EVENT.size]):
            if serials.get(fd) != serial:
                continue
            key = keys[fd]
            # Errors and ends are found by whoever reads or writes.
            events = (2 if mask & ~1 else 0) | (1 if mask & ~4 else 0)
            events &= key.events
            if events:
                found.append((key, events))

    # ---- what dispatch() knows of a waiter: this one never sleeps ----

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Whose thread takes the end of the wait."""
        return self._loop

    def done(self) -> bool:
        """Has it been told already?"""
        return self.ended

    def set_result(self, _: None) -> None:
        """The wait has ended."""
        self.ended = True

    def close(self) -> None:
        """Close the instance, and end its wait."""
        pending, self._pending = self._pending, None
        with contextlib.suppress(OSError, RumpelError):
            if pending is not None:
                pending.owner = None
                pending.cancel()
                while not pending.done():
                    dispatch(self._kernel.run(-1), None)
            self._close(self._fd)
            self._task.close()
