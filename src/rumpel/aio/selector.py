# SPDX-License-Identifier: GPL-2.0-only
"""A selector for descriptors of the host and of kernels at once.

The host's are in an epoll instance of the host's, those of a kernel in one of the
kernel's, which one asynchronous ``epoll_wait`` waits for. The thread that selects lends
itself to one of the kernels, the leader, and waits there for the host's instance too:
what the leader does is done by this thread. Other kernels run in their housekeepers, or,
on one virtual clock, together with the leader.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import selectors
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from rumpel._native import Kernel
from rumpel.aio.driver import Driver, dispatch
from rumpel.aio.poll import Poll, Ready, to_mask
from rumpel.clock import NS
from rumpel.descriptor import Descriptor
from rumpel.errors import RumpelError

__all__ = ["Selector"]


class Selector(selectors.BaseSelector):
    """Waits for the host's descriptors and for those of kernels.

    Args:
        leader: the kernel that gets the thread.

    Attributes:
        loop: whose selector it is.
        held: work that other threads do for the loop: a virtual clock stands still.
        patience: real seconds for which the host may say something before a virtual clock
            jumps.
    """

    loop: asyncio.AbstractEventLoop
    held = 0
    patience = 0.0

    def __init__(self, leader: Kernel) -> None:
        self._leader: Kernel | None = leader
        self._host = select.epoll()
        self._fd = self._host.fileno()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._polls: dict[Kernel, Poll] = {}
        self._drivers: weakref.WeakSet[Driver] = weakref.WeakSet()
        # Kernels that do not lead, by their duplicated descriptors.
        self._others: dict[int, Kernel] = {}
        self._clock = leader.clock

    # ---- kernels ----

    def attach(self, driver: Driver) -> None:
        """See to it that the calls of a driver end."""
        self._serve(driver.kernel)
        self._drivers.add(driver)

    def _serve(self, kernel: Kernel) -> None:
        if kernel is self._leader or kernel in self._others.values():
            return
        if kernel.clock is not None and kernel.clock is not self._clock:
            raise RuntimeError("the kernel is on a virtual clock, which is not the event loop's")
        fd = os.dup(kernel.fileno())
        self._others[fd] = kernel
        self._host.register(fd, select.EPOLLIN)

    def _forget(self, kernel: Kernel, error: BaseException) -> None:
        """A kernel is gone: whoever waits for something of it hears of that."""
        for fd, other in list(self._others.items()):
            if other is kernel:
                del self._others[fd]
                self._host.unregister(fd)
                os.close(fd)
        if kernel is self._leader:
            self._leader = None
        poll = self._polls.get(kernel)
        if poll is not None:
            poll.dead = True
        for driver in list(self._drivers):
            if driver.kernel is kernel:
                driver.fail(error)

    def _run(self, kernel: Kernel, timeout_ns: int, fd: int = -1) -> None:
        try:
            dispatch(kernel.run(timeout_ns, fd), self.loop)
        except RumpelError as error:
            self._forget(kernel, error)

    # ---- descriptors ----

    def _number(self, fileobj: Any) -> int:
        if isinstance(fileobj, int):
            fd = fileobj
        else:
            try:
                fd = fileobj.fileno()
            except (AttributeError, TypeError, ValueError):
                raise ValueError(f"Invalid file object: {fileobj!r}") from None
        if fd < 0:
            # Closed meanwhile: it is known by the object only.
            for key in self._all():
                if key.fileobj is fileobj:
                    return key.fd
            raise ValueError(f"Invalid file descriptor: {fd}")
        return fd

    def _all(self) -> Iterator[selectors.SelectorKey]:
        yield from self._keys.values()
        for poll in self._polls.values():
            yield from poll.keys.values()

    def _table(self, fd: int) -> dict[int, selectors.SelectorKey]:
        if not isinstance(fd, Descriptor):
            return self._keys
        poll = self._polls.get(fd.kernel)
        return {} if poll is None else poll.keys

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file object."""
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        fd = self._number(fileobj)
        if fd in self._table(fd):
            raise KeyError(f"{fileobj!r} (FD {fd}) is already registered")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        if isinstance(fd, Descriptor):
            poll = self._polls.get(fd.kernel)
            if poll is None:
                self._serve(fd.kernel)
                poll = self._polls[fd.kernel] = Poll(fd.kernel, self.loop)
            poll.register(key)
        else:
            self._host.register(fd, to_mask(events))
            self._keys[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Watch it no more."""
        fd = self._number(fileobj)
        table = self._table(fd)
        if fd not in table:
            raise KeyError(f"{fileobj!r} is not registered")
        if isinstance(fd, Descriptor):
            return self._polls[fd.kernel].unregister(fd)
        with contextlib.suppress(OSError):  # closed meanwhile
            self._host.unregister(fd)
        return table.pop(fd)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch it for other events, or for the sake of somebody else."""
        fd = self._number(fileobj)
        table = self._table(fd)
        key = table.get(fd)
        if key is None:
            raise KeyError(f"{fileobj!r} is not registered")
        changed = key.events != events
        key = key._replace(events=events, data=data)
        if isinstance(fd, Descriptor):
            self._polls[fd.kernel].modify(key, changed)
        else:
            if changed:
                self._host.modify(fd, to_mask(events))
            table[fd] = key
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """What is known of a file object; KeyError if it is not watched."""
        fd = self._number(fileobj)
        try:
            return self._table(fd)[fd]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """All that is watched, by file object or descriptor."""
        return _Map(self)

    # ---- waiting ----

    def select(self, timeout: float | None = None) -> Ready:
        """Wait until something is ready, at most so many seconds of the loop's clock."""
        found: Ready = []
        for poll in self._polls.values():
            poll.collect(found, wait=timeout != 0 and not found)
        self._wait(0.0 if found else timeout)
        for poll in self._polls.values():
            if poll.ended:
                poll.collect(found, wait=False)
        for fd, mask in self._host.poll(0):
            key = self._keys.get(fd)
            if key is not None:
                # Errors and ends are found by whoever reads or writes.
                events = (selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0) | (
                    selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0
                )
                if events & key.events:
                    found.append((key, events & key.events))
            elif fd in self._others:
                kernel = self._others[fd]
                self._run(kernel, 0)
                poll_of = self._polls.get(kernel)
                if poll_of is not None and poll_of.ended:
                    poll_of.collect(found, wait=False)
        return found

    def _wait(self, timeout: float | None) -> None:
        timeout_ns = -1 if timeout is None else max(0, -int(-timeout * NS // 1))
        leader = self._leader
        if leader is None:
            self._wait_alone(timeout)
            return
        if self._clock is not None:
            self._wait_virtually(leader, timeout_ns)
            return
        for kernel in list(self._others.values()):  # one that is gone is forgotten
            if not kernel.has_housekeeper:
                timeout_ns = self._until_deadline(kernel, timeout_ns)
        self._run(leader, timeout_ns, self._fd)
        for kernel in list(self._others.values()):
            if not kernel.has_housekeeper:
                self._run(kernel, 0)

    def _until_deadline(self, kernel: Kernel, timeout_ns: int) -> int:
        """A kernel that nobody keeps runs when its time has come."""
        try:
            deadline = kernel.deadline_ns
            if deadline is None:
                return timeout_ns
            left = max(0, deadline - kernel.now_ns)
        except RumpelError as error:
            self._forget(kernel, error)
            return 0
        return left if timeout_ns < 0 else min(left, timeout_ns)

    def _wait_virtually(self, leader: Kernel, timeout_ns: int) -> None:
        """The clock jumps only when nothing can run, be it in kernels or on the host."""
        if timeout_ns and (self.held or self.patience):
            self._run(leader, 0)
            if any(poll.ended for poll in self._polls.values()) or self._host.poll(
                None if self.held else self.patience, 1
            ):
                timeout_ns = 0
        if timeout_ns:
            self._run(leader, timeout_ns, self._fd)
        else:
            self._run(leader, 0)
        for kernel in list(self._others.values()):
            if kernel.clock is not None:
                self._run(kernel, 0)

    def _wait_alone(self, timeout: float | None) -> None:
        """The leader is gone: its clock goes on, and another of the clock's leads."""
        for kernel in self._others.values():
            if self._clock is not None and kernel.clock is self._clock:
                self._leader = kernel
                self._wait(timeout)
                return
        if self._clock is None or self.held or timeout is None:
            self._host.poll(timeout, 1)
        elif timeout > 0 and not self._host.poll(self.patience, 1):
            self._clock.advance_to_ns(self._clock.now_ns - int(-timeout * NS // 1))

    def close(self) -> None:
        """Forget everything."""
        for poll in self._polls.values():
            poll.close()
        for driver in list(self._drivers):
            driver.close()
        self._polls.clear()
        self._keys.clear()
        for fd in self._others:
            os.close(fd)
        self._others.clear()
        self._host.close()
        self._leader = None


class _Map(Mapping[Any, selectors.SelectorKey]):
    """What a selector watches: the same number may be the host's and a kernel's."""

    def __init__(self, selector: Selector) -> None:
        self._selector = selector

    def __len__(self) -> int:
        return sum(1 for _ in self._selector._all())

    def __getitem__(self, fileobj: Any) -> selectors.SelectorKey:
        return self._selector.get_key(fileobj)

    def __iter__(self) -> Iterator[int]:
        return (key.fd for key in self._selector._all())
