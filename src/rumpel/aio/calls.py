# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.aio``: what waits in a kernel, as awaitables."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket as host
import struct
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakKeyDictionary

from rumpel import syscalls
from rumpel._native import Call
from rumpel.aio.driver import Driver
from rumpel.aio.os import AsyncOs
from rumpel.clock import VirtualClock, to_ns
from rumpel.descriptor import descriptors_of
from rumpel.socket.addresses import LONGEST, decode
from rumpel.socket.messages import address_size, from_size

if TYPE_CHECKING:
    from _typeshed import OpenBinaryMode, OpenTextMode
    from typing_extensions import Buffer

    from rumpel.aio.files import Opening
    from rumpel.kernel import Kernel
    from rumpel.os.base import AnyPath
    from rumpel.socket import Socket

__all__ = ["Aio"]

T = TypeVar("T")
_PLACED = frozenset(["socket", "socketpair", "open", "openat", "openat2", "creat"])
_NOW = host.MSG_DONTWAIT
_POLLFD = struct.Struct("=ihh")


class Aio:
    """System calls of a kernel as awaitables; ``kernel.aio`` is one.

    They work in any event loop of asyncio, in real time, and without threads: a call
    that waits has a task of the kernel, not of the host. A call that can end at once
    does, without a turn of the event loop. What the kernel has under a name is
    awaitable here: ``await k.aio.os.read(fd, 100)`` returns what ``k.os.read(fd, 100)``
    would. For sockets there are the event loop's names, ``await k.aio.sock_recv(sock, 100)``;
    whether the socket blocks does not matter.

    Cancelling the awaitable interrupts the call and waits until it has ended. One rule is
    for all that takes something (``sock_recv`` and its like, ``sock_accept``, ``os.read``, a
    file of :meth:`open`): it waits until something is there and only then takes it, so when
    it is cancelled nothing was taken, or that is put back. Only :meth:`syscall` is the bare
    call, whose result may be lost with the cancellation; a descriptor that it made is closed.

    A kernel on a virtual clock needs an event loop that drives it: :meth:`run`, or
    :class:`rumpel.aio.EventLoop`.

    Attributes:
        os: what may wait in ``kernel.os``.

    Example:
        >>> async def echo(server):  # doctest: +SKIP
        ...     connection, _ = await k.aio.sock_accept(server)
        ...     await k.aio.sock_sendall(connection, await k.aio.sock_recv(connection, 100))
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._native = kernel._native
        self._descriptor = descriptors_of(kernel._native)
        self._drivers: WeakKeyDictionary[asyncio.AbstractEventLoop, Driver] = WeakKeyDictionary()
        self._calls: dict[str, Call] = {}
        self.os = AsyncOs(self, kernel)

    def _driver(self) -> Driver:
        loop = asyncio.get_running_loop()
        driver = self._drivers.get(loop)
        if driver is None:
            driver = self._drivers[loop] = Driver(self._native, loop)
        return driver

    def _check_place(self) -> None:
        """What makes sockets and opens files does so in pid 1's network namespace."""
        if getattr(self._kernel._place, "depth", 0):
            raise RuntimeError(
                "asynchronous calls are made in pid 1's network namespace: make sockets and "
                "open files by k.socket and k.os in a with statement of a namespace"
            )

    def _call(self, name: str) -> Call:
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = syscalls.bind(self._native, name)
        return call

    def run(
        self,
        main: Coroutine[Any, Any, T],
        *,
        debug: bool | None = None,
        autojump_threshold: float = 0.0,
    ) -> T:
        """Run a coroutine in an event loop over this kernel: see :func:`rumpel.aio.run`."""
        from rumpel.aio.loop import run

        return run(self._kernel, main, debug=debug, autojump_threshold=autojump_threshold)

    async def syscall(self, name: str, *args: Any) -> int:
        """Make any system call; name, arguments and result are those of ``kernel.syscall``.

        Raises:
            OSError: with the kernel's errno.
            RuntimeError: where the thread is in a process or namespace of its own, and the
                call would be made elsewhere.
        """
        if name in _PLACED:
            self._check_place()
        result: int = await self._driver().call(self._call(name), *args)
        return result

    if TYPE_CHECKING:

        @overload
        def open(
            self,
            file: int | AnyPath,
            mode: OpenTextMode = "r",
            *,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
        ) -> Opening[str]: ...
        @overload
        def open(
            self, file: int | AnyPath, mode: OpenBinaryMode, *, closefd: bool = True
        ) -> Opening[bytes]: ...
        @overload
        def open(
            self, file: int | AnyPath, mode: str, *args: Any, **keywords: Any
        ) -> Opening[Any]: ...

    def open(self, file: Any, mode: str = "r", *args: Any, **keywords: Any) -> Opening[Any]:
        """Open a file; arguments are those of ``kernel.open``, without ``opener``.

        What is returned is awaited for an :class:`rumpel.aio.AsyncFile`, or used in
        ``async with``, which closes it.

        Example:
            >>> async with k.aio.open("/etc/hosts") as file:  # doctest: +SKIP
            ...     text = await file.read()
        """
        from rumpel.aio.files import Opening

        return Opening(self, file, mode, *args, **keywords)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the kernel's clock."""
        clock, loop = self._kernel.clock, asyncio.get_running_loop()
        if getattr(loop, "_clock", None) is (clock if isinstance(clock, VirtualClock) else None):
            await asyncio.sleep(seconds)
            return
        time = struct.pack("=qq", *divmod(max(0, to_ns(seconds)), 1_000_000_000))
        await self.syscall("clock_nanosleep", 1, 0, time, None)

    async def poll(self, fd: Any, events: int) -> int:
        """Wait until a descriptor or socket is ready for events (POLLIN...): which they are."""
        number = fd if isinstance(fd, int) else fd.fileno()
        if number < 0:  # poll(2) would leave it out, and wait for ever
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        table = bytearray(_POLLFD.pack(number, events, 0))
        await self.syscall("ppoll", table, 1, None, None, 0)
        got: int = _POLLFD.unpack(table)[2]
        return got

    async def _ready(self, fd: Any, events: int) -> None:
        """Wait until it is worth trying again."""
        if not await self.poll(fd, events) & events:
            # An error that lasts, such as what is in a socket's error queue, ends each poll.
            await asyncio.sleep(0)

    # ---- sockets: as the methods of event loops ----

    async def _encode(self, sock: Socket, address: Any) -> bytes:
        """An address for the kernel; names are looked up in a thread.

        Not in a namespace, where that thread is not, nor on a virtual clock, whose kernels
        are used by one thread at a time.
        """
        if (
            _is_name(sock.family, address)
            and not isinstance(self._kernel.clock, VirtualClock)
            and not getattr(self._kernel._place, "depth", 0)
        ):
            return await asyncio.to_thread(sock._encode, address)
        return sock._encode(address)

    async def sock_accept(self, sock: Socket) -> tuple[Socket, Any]:
        """Wait for a connection: its socket, which does not block, and the peer's address."""
        while True:
            name = bytearray(LONGEST)
            size = address_size(name)
            flags = host.SOCK_CLOEXEC | host.SOCK_NONBLOCK
            # Whoever is cancelled here leaves the connection to the next one.
            await self.poll(sock, select.POLLIN)
            try:
                fd = await self.syscall("accept4", sock.fileno(), name, size, flags)
            except BlockingIOError:
                continue
            try:
                new = self._kernel.socket.socket(sock.family, sock.type, sock.proto, fileno=fd)
            except BaseException:
                self._kernel.os.close(fd)
                raise
            new.setblocking(False)
            return new, decode(name, from_size(size), sock._names, sock._proto)

    async def sock_connect(self, sock: Socket, address: Any) -> None:
        """Connect to a peer."""
        packed = await self._encode(sock, address)
        try:
            await self.syscall("connect", sock.fileno(), packed, len(packed))
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:
                raise
            await self.poll(sock, select.POLLOUT)
            code = int(sock.getsockopt(host.SOL_SOCKET, host.SO_ERROR))
            if code:
                raise OSError(code, f"Connect call failed {address}") from None

    async def sock_recv(self, sock: Socket, bufsize: int) -> bytes:
        """Receive some bytes; none at the end."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if not bufsize:
            return b""  # the kernel would wait for data
        data: bytes = await self._when(sock, select.POLLIN, sock._c_recv, bufsize, _NOW, None, None)
        return data

    async def sock_recv_into(self, sock: Socket, buffer: Buffer) -> int:
        """Receive into a buffer."""
        if not memoryview(buffer).nbytes:
            return 0
        receive = sock._c_recv_into
        count: int = await self._when(sock, select.POLLIN, receive, buffer, _NOW, None, None)
        return count

    async def sock_recvfrom(self, sock: Socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive some bytes, and the sender's address."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recvfrom")
        name = bytearray(LONGEST)
        size = address_size(name)
        data = await self._when(sock, select.POLLIN, sock._c_recv, bufsize, _NOW, name, size)
        return data, decode(name, from_size(size), sock._names, sock._proto)

    async def sock_sendall(self, sock: Socket, data: Buffer) -> None:
        """Send all bytes; how many were sent if it is cancelled, nobody knows."""
        view = memoryview(data).cast("B")
        while view:
            view = view[
                await self._when(
                    sock, select.POLLOUT, sock._c_send, view, _NOW | host.MSG_NOSIGNAL, None, 0
                ) :
            ]

    async def sock_sendto(self, sock: Socket, data: Buffer, address: Any) -> int:
        """Send to an address: how many bytes were taken."""
        packed = await self._encode(sock, address)
        flags = _NOW | host.MSG_NOSIGNAL
        count: int = await self._when(
            sock, select.POLLOUT, sock._c_send, data, flags, packed, len(packed)
        )
        return count

    async def _when(self, sock: Socket, events: int, call: Call, *args: Any) -> Any:
        """A call that does not wait, whenever the socket is ready for it.

        So it has not begun when it is cancelled, and takes nothing that is lost then.
        """
        driver = self._driver()
        while True:
            try:
                return await driver.call(call, sock.fileno(), *args)
            except BlockingIOError:
                await self._ready(sock, events)


def _is_name(family: int, address: Any) -> bool:
    """Does it take time to find out what this address means?"""
    if family not in (host.AF_INET, host.AF_INET6) or not isinstance(address, tuple):
        return False
    name = address[0] if address else ""
    if not isinstance(name, str):
        return isinstance(name, bytes)
    try:
        host.inet_pton(family, name.partition("%")[0])
    except (OSError, ValueError):
        return name not in ("", "<broadcast>")
    return False
