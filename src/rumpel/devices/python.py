# SPDX-License-Identifier: GPL-2.0-only
"""A network interface that is a Python object."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import inspect
import threading
import weakref
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING

from rumpel import _native
from rumpel.devices.loop import LoopThread
from rumpel.devices.nic import Nic, to_mac
from rumpel.errors import KernelClosed

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PythonNic"]

_MOST_BATCHES = 1024


class PythonNic(Nic):
    """A network interface whose cable is in your hands: override :meth:`transmit`.

    Frames are Ethernet's, without checksum, and plain: the kernel has summed and
    segmented them. They come in batches, in a thread of the interface's own, so
    ``transmit`` may take its time and call any kernel; while it does, further frames wait.
    With a virtual clock it is called at once instead, by the thread that runs the kernel,
    so that every run is the same; it must not call kernels of such a clock then.

    An ``async def transmit`` runs batch after batch: on the event loop that is given, or that
    runs in the thread that makes the interface, or else on one in a thread of the interface's
    own. With a virtual clock that last one is the loop which drives the kernel
    (``kernel.aio.run``); where none does, the coroutine is run to its end at once.

    An exception in ``transmit`` is reported to :func:`sys.unraisablehook`, one in an
    ``async`` one to the loop's exception handler; the frames of that batch are lost, and
    the kernel goes on.

    Args:
        mac: of the kernel's interface, as text; None makes one up.
        mtu: in bytes.
        loop: for an ``async def transmit``.

    Example:
        >>> class Mirror(PythonNic):
        ...     def transmit(self, frames: list[bytes]) -> None:
        ...         self.receive([f[6:12] + f[:6] + f[12:] for f in frames])
        >>> with rumpel.boot(nics=[Mirror()]) as k:  # doctest: +SKIP
        ...     k.ifup("eth0", "10.0.0.1/24")
    """

    def __init__(
        self,
        *,
        mac: str | None = None,
        mtu: int = 1500,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if loop is None:
            with contextlib.suppress(RuntimeError):
                loop = asyncio.get_running_loop()
        self._loop = loop
        self._pending: collections.deque[Awaitable[None]] = collections.deque()
        self._runner: asyncio.Task[None] | None = None
        self._own: LoopThread | None = None
        self._at_once: asyncio.AbstractEventLoop | None = None
        super().__init__(_native.net_callback(_Transmit(self), to_mac(mac), mtu))

    def transmit(self, frames: list[bytes]) -> Awaitable[None] | None:
        """Called with frames that the kernel sends. To be overridden, also by ``async def``.

        Args:
            frames: at least one.
        """
        raise NotImplementedError(f"{type(self).__name__} has no transmit()")

    def receive(self, frames: Iterable[Buffer]) -> int:
        """Give frames to the kernel. Any thread may, also inside :meth:`transmit`.

        Args:
            frames: Ethernet frames of at least 14 bytes.

        Returns:
            How many were taken: for the others there is no room, as with any busy card.

        Raises:
            OSError: ENETDOWN, if the interface is in no kernel yet.
            KernelClosed: if the kernel is gone.
        """
        return self._native.receive(list(frames))

    def close(self) -> None:
        """End the event loop that was made for :meth:`transmit`, if one was."""
        if self._own is not None:
            self._own.stop()
            # A coroutine that does not return must not keep the kernel from ending.
            if self._own.thread is not threading.current_thread():
                self._own.thread.join(timeout=1)
        if self._at_once is not None and not self._at_once.is_running():
            self._at_once.close()
        while self._pending:  # nobody wants them any more
            _forget(self._pending.popleft())

    def _start(self, work: Awaitable[None]) -> None:
        """Any thread: let the event loop do this after what came before."""
        try:
            loop = self._loop or self._find_loop()
            if loop is not None and loop.is_closed():
                raise RuntimeError("the event loop of an async transmit() is closed")
        except RuntimeError:
            _forget(work)
            raise
        if len(self._pending) >= _MOST_BATCHES:
            _forget(work)
            return
        self._pending.append(work)
        if loop is not None:
            loop.call_soon_threadsafe(self._go_on)
            return
        if self._at_once is None:
            self._at_once = asyncio.new_event_loop()
        self._at_once.run_until_complete(self._run())

    def _find_loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop for somebody who has given none; None: at once, here."""
        if self._native.clock is not None:
            with contextlib.suppress(RuntimeError):
                return asyncio.get_running_loop()
            return None
        own = self._own
        if own is None or not own.thread.is_alive():  # or it is that of a fork's parent
            own = self._own = LoopThread("rumpel-nic-loop")
            own.thread.start()
        return own.loop

    def _go_on(self) -> None:
        runner = self._runner
        if runner is None or runner.done() or runner.get_loop() is not asyncio.get_running_loop():
            self._runner = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._pending:
            try:
                await self._pending.popleft()
            except KernelClosed:
                continue
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"transmit() of {self!r} failed", "exception": error}
                )


def _forget(work: Awaitable[None]) -> None:
    if inspect.iscoroutine(work):
        work.close()


class _Transmit:
    """What the runtime calls. It does not keep the interface alive: the kernel does."""

    def __init__(self, nic: PythonNic) -> None:
        self._nic = weakref.ref(nic)

    def __call__(self, frames: list[bytes]) -> None:
        nic = self._nic()
        if nic is None:
            return
        # The answer to a kernel's last words may come too late.
        with contextlib.suppress(KernelClosed):
            work = nic.transmit(frames)
            if work is not None:
                nic._start(work)

    def __repr__(self) -> str:
        return f"transmit() of {self._nic()!r}"
