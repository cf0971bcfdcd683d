# SPDX-License-Identifier: GPL-2.0-only
"""The classes of pyroute2 on a library kernel.

Of pyroute2's asynchronous sockets three things are replaced, by a class that stands in
front of their common base: where a socket comes from, which event loop drives it, and
the queue from which answers are taken. pyroute2 itself is not touched, so its own
objects go on speaking to the host.

Netlink answers within the system call that asks, so requests never wait. Those who
want events do: the synchronous classes wait in the kernel, as any call does; the
asynchronous ones let a thread wait there.
"""

from __future__ import annotations

import asyncio
import socket as host
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from pyroute2.netlink import NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK, SOL_NETLINK
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket

from rumpel.errors import RumpelError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["on_kernel"]

_Base: Any = AsyncNetlinkSocket
_NETLINK_LISTEN_ALL_NSID = 8
_LARGEST = 65536
"""The kernel makes the messages of a dump as large as the reader's buffer, up to 32 KiB."""


class _Inline:
    """Stands for an event loop and its transport: coroutines that never wait are just run."""

    def run_until_complete(self, awaitable: Any) -> Any:
        try:
            awaitable.send(None)
        except StopIteration as stop:
            return stop.value
        awaitable.close()
        raise RuntimeError("the coroutine waits for something else than the kernel")

    async def shutdown_asyncgens(self) -> None:
        pass

    def is_closed(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    abort = close = stop


_INLINE = _Inline()


class _Queue:
    """Messages that have arrived, by the sequence number of the request; events are under 0."""

    def __init__(self, owner: _OnKernel) -> None:
        self._owner = owner
        self._queues: dict[int, deque[bytes]] = {0: deque()}
        self.arrived: asyncio.Event | None = None

    def ensure_tag(self, tag: int) -> None:
        self._queues.setdefault(tag, deque())

    def free_tag(self, tag: int) -> None:
        self._queues.pop(tag, None)

    def put_nowait(self, tag: int, data: bytes) -> None:
        self._queues.get(tag, self._queues[0]).append(data)
        if self.arrived is not None:
            self.arrived.set()

    async def put(self, tag: int, data: bytes) -> None:
        self.put_nowait(tag, data)

    async def get(self, tag: int) -> bytes:
        queue = self._queues[tag]
        while not queue:
            if self._owner._closed:
                return b""
            if not self._owner._receive():
                await self._owner._wait(self)
        return queue.popleft()


class _OnKernel(_Base):  # type: ignore[misc]
    """Stands between pyroute2's classes and their base."""

    _kernel: ClassVar[Kernel]
    _closed = False
    _sync = False
    """Was it made by one of the synchronous classes?"""
    request_proxy = property(lambda self: None, lambda self, value: None)
    """What pyroute2 does itself, on the host, instead of asking the kernel: TUN interfaces."""

    @property
    def _lock(self) -> threading.Lock:
        lock: threading.Lock = self.__dict__.setdefault("_kernel_lock", threading.Lock())
        return lock

    @property
    def _sockets(self) -> list[Any]:
        sockets: list[Any] = self.__dict__.setdefault("_kernel_sockets", [])
        return sockets

    @property
    def _wakers(self) -> set[int]:
        """An eventfd for each wait in the kernel."""
        wakers: set[int] = self.__dict__.setdefault("_kernel_wakers", set())
        return wakers

    # ---- what pyroute2 looks for ----

    @property
    def socket(self) -> Any:
        """The calling thread's socket, as in pyroute2: made when it is first used."""
        if self._closed:
            raise OSError(9, "Bad file descriptor")
        local = self.local
        if not hasattr(local, "socket"):
            local.socket = self.setup_socket()
            local.msg_queue = _Queue(self)
        return local.socket

    def setup_socket(self) -> Any:
        """Make a socket in the kernel."""
        name, status = self.spec["netns"], self.status
        if name is not None:
            with self._kernel.net.namespace(name):
                sock = self._socket()
        else:
            sock = self._socket()
        self._sockets.append(sock)
        sock.setsockopt(host.SOL_SOCKET, host.SO_SNDBUF, status["sndbuf"])
        sock.setsockopt(host.SOL_SOCKET, host.SO_RCVBUF, status["rcvbuf"])
        for wanted, option in (
            ("ext_ack", NETLINK_EXT_ACK),
            ("all_ns", _NETLINK_LISTEN_ALL_NSID),
            ("strict_check", NETLINK_GET_STRICT_CHK),
        ):
            if status[wanted]:
                sock.setsockopt(SOL_NETLINK, option, 1)
        return sock

    def _socket(self) -> Any:
        module = self._kernel.socket
        if self.spec["fileno"] is not None:
            return module.socket(fileno=self.spec["fileno"])
        return module.socket(host.AF_NETLINK, host.SOCK_DGRAM, self.spec["family"])

    def setup_event_loop(self) -> Any:
        """The running loop for the asynchronous classes; none for the others."""
        return _INLINE if self._sync else asyncio.get_running_loop()

    async def setup_endpoint(self) -> None:
        """Make the socket; nothing is watched until somebody waits."""
        if getattr(self.local, "transport", None) is None:
            self.local.transport = self.socket and _INLINE

    def _register_loop_ref(self) -> None:
        """Nothing has to be told when this is closed but who waits; see close."""

    def close(self, code: int = 0) -> None:
        """Close the sockets of all threads; whoever waits for events gets no more."""
        self._closed = True
        self.telemetry.close()
        with self._lock:
            sockets, self._sockets[:] = self._sockets[:], []
            for wake in self._wakers:
                self._wake(wake)
        for sock in sockets:
            sock.close()

    # ---- receiving ----

    def _receive(self) -> bool:
        """Take what is there for the calling thread; False if there is nothing."""
        try:
            data = self.socket.recv(_LARGEST, host.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self.enqueue(data, None)
        return True

    async def _wait(self, queue: _Queue) -> None:
        """Wait until there is something to receive, or the end."""
        sock = self.socket
        if self._sync:
            self._poll(sock, self._waker())
            return
        loop, local = asyncio.get_running_loop(), self.local
        if queue.arrived is None:
            queue.arrived = asyncio.Event()
        arrived = queue.arrived
        arrived.clear()
        waiting = getattr(local, "waiting", None)
        if waiting is None or waiting.done():
            local.wake = self._waker()
            waiting = local.waiting = loop.run_in_executor(None, self._poll, sock, local.wake)
            waiting.add_done_callback(lambda _: arrived.set())
        try:
            await arrived.wait()
        except asyncio.CancelledError:
            # The end of the loop would wait for the thread. If others wait here, they begin anew.
            with self._lock:
                if local.wake in self._wakers:
                    self._wake(local.wake)
            raise

    def _waker(self) -> int | None:
        """Make what ends one wait in :meth:`_poll`; None if there is nothing to wait for."""
        with self._lock:
            if self._closed:
                return None
            wake: int = self._kernel.syscall("eventfd2", 0, host.SOCK_CLOEXEC)
            self._wakers.add(wake)
            return wake

    def _wake(self, wake: int) -> None:
        with suppress(RumpelError):  # with the kernel gone nobody waits
            self._kernel.os.write(wake, (1).to_bytes(8, "little"))

    def _poll(self, sock: Any, wake: int | None) -> None:
        if wake is None:
            return
        kernel = self._kernel
        try:
            poll = kernel.select.poll()
            poll.register(sock, kernel.select.POLLIN)
            poll.register(wake, kernel.select.POLLIN)
            poll.poll()
        finally:
            with self._lock:
                self._wakers.remove(wake)
                if kernel.state == "running":
                    kernel.os.close(wake)


class _Sync:
    """Stands in front of pyroute2's synchronous classes: what they make is put on the kernel."""

    _adopt: ClassVar[Any]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        try:
            super().__init__(*args, **keywords)
        except BaseException:
            # Its protocol may not be there, but its socket is already.
            core = self.__dict__.get("asyncore")
            if core is not None:
                core.close()
            raise

    @property
    def asyncore(self) -> Any:
        return self.__dict__["asyncore"]

    @asyncore.setter
    def asyncore(self, core: Any) -> None:
        core.__class__ = self._adopt(type(core))
        core._sync = True
        self.__dict__["asyncore"] = core


def on_kernel(kernel: Kernel, cls: Any, known: dict[Any, Any]) -> Any:
    """Derive a class that speaks to a kernel.

    Args:
        kernel: which.
        cls: one of pyroute2, synchronous or not.
        known: what was derived before.
    """
    if cls not in known:
        derived: Any
        if issubclass(cls, AsyncNetlinkSocket):
            bases = (_OnKernel,) if cls is AsyncNetlinkSocket else (cls, _OnKernel)
            derived = type(cls.__name__, bases, {"_kernel": kernel})
        else:
            adopt = staticmethod(lambda each: on_kernel(kernel, each, known))
            derived = type(cls.__name__, (_Sync, cls), {"_adopt": adopt})
        derived.__module__, derived.__doc__ = "rumpel.net", cls.__doc__
        known[cls] = known[derived] = derived
    return known[cls]
