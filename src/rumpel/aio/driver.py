# SPDX-License-Identifier: GPL-2.0-only
"""Asynchronous calls of one kernel in one event loop: their tasks, and their ends.

A call in progress needs a kernel task of its own. They are threads of pid 1, kept for
the next calls; those that nobody has needed for a while end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from rumpel._native import Call, Kernel, Pending, Task
from rumpel.errors import RumpelError

__all__ = ["Driver", "dispatch"]

KEPT = 16
"""So many tasks stay, whatever happens."""
PERIOD = 1.0
"""Seconds for which the others must have been of no use."""

_NAMES = """
open openat openat2 creat accept accept4 socket dup dup2 dup3 eventfd eventfd2 epoll_create
epoll_create1 signalfd signalfd4 timerfd_create inotify_init inotify_init1 memfd_create pidfd_open
pidfd_getfd open_tree fsopen fsmount fspick open_by_handle_at mq_open io_uring_setup
userfaultfd fanotify_init perf_event_open
"""
_DESCRIPTORS = frozenset(_NAMES.split())
"""Calls whose result is a new descriptor."""


class Driver:
    """What asynchronous calls need, once for each pair of a kernel and an event loop.

    Args:
        kernel: the binding's object.
        loop: the event loop.
    """

    def __init__(self, kernel: Kernel, loop: asyncio.AbstractEventLoop) -> None:
        self._kernel = kernel
        # The loop refers to its drivers.
        self._loop = weakref.ref(loop)
        self._idle: list[Task] = []
        self._pending: set[Pending] = set()
        self._least = 0
        self._shrinks = False
        self._fd = -1
        self._timer: asyncio.Handle | None = None
        self._leads = False
        attach = getattr(loop, "attach", None)
        if attach is not None:
            attach(self)
            self._leads = True
        elif kernel.clock is not None:
            raise RuntimeError(
                "only its own event loop drives a kernel on a virtual clock: rumpel.aio.run()"
            )

    @property
    def kernel(self) -> Kernel:
        """Whose calls these are."""
        return self._kernel

    async def call(
        self, call: Call, *args: Any, late: Callable[[Any], object] | None = None
    ) -> Any:
        """Make a system call, and wait for it as coroutines do.

        Args:
            call: the system call.
            args: its arguments.
            late: called with its result if it was cancelled, and has one nevertheless.

        Raises:
            RuntimeError: in a ``with`` of a process, whose descriptors its tasks have not.
        """
        if self._kernel.in_process:
            raise RuntimeError(
                "asynchronous calls are made by pid 1: not in a with statement of k.process()"
            )
        idle = self._idle
        if idle:
            task = idle.pop()
            if len(idle) < self._least:
                self._least = len(idle)
        else:
            task = self._kernel.task()
        try:
            result = task.submit(call, *args)
        except RumpelError:
            raise  # the task may be gone
        except BaseException:
            idle.append(task)
            raise
        if type(result) is not Pending:
            idle.append(task)
            return result
        return await self._wait(result, task, late)

    async def _wait(
        self, pending: Pending, task: Task, late: Callable[[Any], object] | None
    ) -> Any:
        self._begin(pending)
        loop = asyncio.get_running_loop()
        cancelled: asyncio.CancelledError | None = None
        try:
            while True:
                # In this order: another loop's thread may take the call's end meanwhile.
                pending.owner = waiter = loop.create_future()
                if pending.done():
                    break
                try:
                    await waiter
                except asyncio.CancelledError as error:
                    # It ends soon, and until then the kernel may use the caller's memory.
                    cancelled = error
                    pending.cancel()
                    self._pump()
        finally:
            self._end(pending, task)
        if cancelled is None:
            return pending.result()
        try:
            _drop(self._kernel, pending, late)
            raise cancelled
        finally:
            cancelled = None  # it refers to this frame

    def _begin(self, pending: Pending) -> None:
        if not self._pending and not self._leads:
            self._watch()
        self._pending.add(pending)
        if not self._leads:
            self._pump()

    def _end(self, pending: Pending, task: Task) -> None:
        pending.owner = None
        self._pending.discard(pending)
        if pending.done():
            self._idle.append(task)
        if not self._pending and not self._leads:
            self._unwatch()
        if len(self._idle) > KEPT and not self._shrinks:
            loop = self._loop()
            if loop is not None:
                self._shrinks = True
                self._least = len(self._idle)
                loop.call_later(PERIOD, self._shrink)

    def _shrink(self) -> None:
        """End the tasks that were idle all the time."""
        loop = self._loop()
        for _ in range(min(self._least, len(self._idle)) - KEPT):
            with contextlib.suppress(RumpelError):
                self._idle.pop().close()
        self._least = len(self._idle)
        self._shrinks = loop is not None and not loop.is_closed() and self._least > KEPT
        if self._shrinks and loop is not None:
            loop.call_later(PERIOD, self._shrink)

    # ---- on an event loop that knows nothing of kernels ----

    def _watch(self) -> None:
        loop = self._loop()
        assert loop is not None
        # A duplicate, which is there until it is closed here, whatever becomes of the kernel.
        self._fd = os.dup(self._kernel.fileno())
        loop.add_reader(self._fd, self.collect)

    def _unwatch(self) -> None:
        loop, fd = self._loop(), self._fd
        self._fd = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if loop is not None and not loop.is_closed():
            loop.remove_reader(fd)
        os.close(fd)

    def _pump(self) -> None:
        """Let the kernel run soon: what woke others of its tasks comes from this thread."""
        loop = self._loop()
        if loop is not None and not self._leads and self._timer is None:
            self._timer = loop.call_soon(self._pumped)

    def _pumped(self) -> None:
        self._timer = None
        self.collect()

    def collect(self) -> None:
        """Take the calls that have ended, and go on with those who wait for them."""
        loop = self._loop()
        assert loop is not None
        try:
            dispatch(self._kernel.run(0), loop)
            if self._kernel.has_housekeeper or self._leads or not self._pending:
                return
            deadline = self._kernel.deadline_ns
        except (RumpelError, OSError) as error:
            self.fail(error)
            return
        if deadline is not None and self._timer is None:
            wait = max(0.0, (deadline - self._kernel.now_ns) / 1e9)
            self._timer = loop.call_later(wait, self._pumped)

    def close(self) -> None:
        """The loop has ended: so do the tasks."""
        while self._idle:
            with contextlib.suppress(RumpelError):
                self._idle.pop().close()

    def fail(self, error: BaseException) -> None:
        """The kernel is gone: so are its calls."""
        for pending in list(self._pending):
            waiter = pending.owner
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)


def dispatch(ended: Iterable[Pending], here: asyncio.AbstractEventLoop | None) -> None:
    """Tell whoever waits for calls that they have ended.

    Args:
        ended: those calls.
        here: the loop of this thread, if it has one. A kernel reports a call to whoever
            asks first, so it may have been made in another loop.
    """
    for pending in ended:
        waiter = pending.owner
        if waiter is None:
            continue
        loop = waiter.get_loop()
        if loop is here:
            _set(waiter)
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _drop(kernel: Kernel, pending: Pending, late: Callable[[Any], object] | None) -> None:
    """Nobody waits for the result any more; a descriptor would stay open for ever."""
    try:
        result = pending.result()
    except (OSError, RumpelError):
        return
    if late is not None:
        late(result)
    elif pending.call.__name__ in _DESCRIPTORS and isinstance(result, int):
        from rumpel.syscalls import bind

        with contextlib.suppress(OSError, RumpelError):
            bind(kernel, "close")(result)
