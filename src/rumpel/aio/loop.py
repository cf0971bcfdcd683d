# SPDX-License-Identifier: GPL-2.0-only
"""The event loop of :mod:`asyncio` over a kernel."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
import socket
import weakref
from asyncio import exceptions
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from functools import partial, wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from rumpel.aio import guests
from rumpel.aio.driver import Driver
from rumpel.aio.selector import Selector
from rumpel.aio.transport import StreamTransport
from rumpel.clock import NS, VirtualClock
from rumpel.descriptor import Descriptor
from rumpel.socket import Socket

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["EventLoop", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_SWAPPED = tuple(
    name
    for name in (
        "_connect_sock",
        "_stop_serving",  # since Python 3.13 it removes the names of unix sockets
        "create_datagram_endpoint",
        "create_server",
        "create_unix_connection",
        "create_unix_server",
    )
    if hasattr(asyncio.SelectorEventLoop, name)
)
"""Methods of asyncio's that make sockets (and clean up after them in the file system)."""


class EventLoop(asyncio.SelectorEventLoop):
    """An event loop whose network is a kernel's.

    What makes sockets (streams, servers, datagram endpoints, unix sockets) makes those of
    the kernel, and names of hosts are looked up by it. Sockets that exist already may be
    of this kernel, of another one or of the host; descriptors, pipes, subprocesses and
    signals are the host's.

    On a kernel with a virtual clock time is virtual: ``loop.time()`` is that clock, and
    it jumps to the next moment for which the loop or a kernel has set a timer when
    nothing can run. Work in an executor, as of :func:`asyncio.to_thread`, can run: the
    clock stands still meanwhile. The host's descriptors do not hold it, see
    ``autojump_threshold``.

    Args:
        kernel: whose network it is, and to whom the loop's thread is lent while it waits.
        autojump_threshold: on a virtual clock, for how many real seconds nothing may have
            happened on the host's descriptors before the clock jumps.

    Example:
        >>> with asyncio.Runner(loop_factory=lambda: EventLoop(kernel)) as runner:  # doctest: +SKIP
        ...     runner.run(main())
    """

    _selector: Selector
    _csock: socket.socket
    _signal_handlers: dict[int, Any]
    _closed = True  # until there is something to close

    def __init__(self, kernel: Kernel, *, autojump_threshold: float = 0.0) -> None:
        if autojump_threshold < 0:
            raise ValueError("autojump_threshold must not be negative")
        if kernel._native.in_process:
            raise RuntimeError("an event loop is pid 1's: not in a with statement of k.process()")
        self._kernel = kernel
        self._clock = kernel.clock if isinstance(kernel.clock, VirtualClock) else None
        selector = Selector(kernel._native)
        selector.loop = self
        selector.patience = autojump_threshold
        super().__init__(selector)
        self._transports = _Transports()
        self._functions = {name: _swapped(name, kernel) for name in _SWAPPED}
        guests.teach(load=True)

    @property
    def kernel(self) -> Kernel:
        """The kernel whose network it is."""
        return self._kernel

    def time(self) -> float:
        """The kernel's monotonic clock, in seconds."""
        return super().time() if self._clock is None else self._clock.now_ns / NS

    def run_forever(self) -> None:
        """Run until it is stopped. A signal wakes it, also just before it would sleep."""
        with self._woken_by_signals():
            super().run_forever()

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        # Else only signals do that come while the thread sleeps; asyncio has it so with
        # handlers of its own only. Whoever has the descriptor already keeps it.
        ours = self._csock.fileno()
        try:
            before = signal.set_wakeup_fd(ours, warn_on_full_buffer=False)
        except ValueError:  # Python runs handlers in the main thread only
            yield
            return
        if before != -1:
            signal.set_wakeup_fd(before)
        try:
            yield
        finally:
            if before == -1 and not self._signal_handlers:
                signal.set_wakeup_fd(-1)

    def attach(self, driver: Driver) -> None:
        """Serve asynchronous calls; for :mod:`rumpel.aio` only."""
        self._selector.attach(driver)

    def _make_socket_transport(self, sock: Any, *args: Any, **keywords: Any) -> Any:
        # Subclasses may receive and send in their own ways.
        if isinstance(sock, Socket) and type(sock) is sock._plain:
            return StreamTransport(self, sock, *args, **keywords)
        return super()._make_socket_transport(sock, *args, **keywords)  # type: ignore[misc]

    # ---- what asyncio does with the host's descriptors alone ----

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        number = fd if isinstance(fd, int) else self._selector._number(fd)
        transport = self._transports.get(number)
        if transport is not None and not transport.is_closing():
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {transport!r}")

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect to a peer."""
        guests.teach()
        await super().sock_connect(sock, address)

    async def _sock_sendfile_native(self, sock: Any, file: Any, offset: int, count: int) -> int:
        try:
            fd = file.fileno()
        except (AttributeError, io.UnsupportedOperation):
            raise exceptions.SendfileNotAvailableError("not a regular file") from None
        if isinstance(sock.fileno(), Descriptor) or isinstance(fd, Descriptor):
            raise exceptions.SendfileNotAvailableError("not both are the host's")
        return await super()._sock_sendfile_native(sock, file, offset, count)  # type: ignore[misc, no-any-return]

    # ---- names of hosts ----

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Look up a host as the kernel does; in a thread if that takes time."""
        guests.teach()
        look = partial(self._kernel.socket.getaddrinfo, host, port, family, type, proto)
        try:
            return look(flags | socket.AI_NUMERICHOST)
        except socket.gaierror:
            return await self._in_thread(look, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """Look up an address as the kernel does."""
        return await self._in_thread(self._kernel.socket.getnameinfo, sockaddr, flags)

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        # Kernels of one virtual clock are used by one thread at a time.
        if self._clock is not None:
            return function(*args)
        return await self.run_in_executor(None, function, *args)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function in a thread. A virtual clock stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        if self._clock is not None:
            self._selector.held += 1
            future.add_done_callback(self._let_go)
        return future

    def _let_go(self, _: object) -> None:
        self._selector.held -= 1

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for the threads of the default executor; a virtual clock stands still."""
        self._selector.held += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._let_go(None)


def _delegate(name: str) -> Callable[..., Any]:
    def method(self: EventLoop, *args: Any, **keywords: Any) -> Any:
        return self._functions[name](self, *args, **keywords)

    return wraps(getattr(asyncio.SelectorEventLoop, name))(method)


for _name in _SWAPPED:
    setattr(EventLoop, _name, _delegate(_name))


class _Transports(weakref.WeakValueDictionary[Any, Any]):
    """Transports by descriptor, where the same number may be the host's and a kernel's."""

    def __getitem__(self, fd: int) -> Any:
        return super().__getitem__(_identity(fd))

    def __setitem__(self, fd: int, transport: Any) -> None:
        super().__setitem__(_identity(fd), transport)

    def __delitem__(self, fd: int) -> None:
        super().__delitem__(_identity(fd))

    def get(self, key: int, default: Any = None) -> Any:
        return super().get(_identity(key), default)


def _identity(fd: int) -> Any:
    return (fd.kernel, int(fd)) if isinstance(fd, Descriptor) else fd


def _swapped(name: str, kernel: Kernel) -> FunctionType:
    """A method of asyncio's whose ``socket`` and ``os`` are the kernel's."""
    method = getattr(asyncio.SelectorEventLoop, name)
    names = {**method.__globals__, "socket": kernel.socket, "os": kernel.os}
    new = FunctionType(
        method.__code__, names, method.__name__, method.__defaults__, method.__closure__
    )
    new.__kwdefaults__ = method.__kwdefaults__
    return new


def run(
    kernel: Kernel,
    main: Coroutine[Any, Any, T],
    *,
    debug: bool | None = None,
    autojump_threshold: float = 0.0,
) -> T:
    """Run a coroutine in an event loop over a kernel, as :func:`asyncio.run` does.

    Args:
        kernel: whose network and clock it gets.
        main: the coroutine.
        debug: asyncio's debug mode.
        autojump_threshold: as of :class:`EventLoop`.

    Raises:
        RuntimeError: if this thread runs an event loop already.
        KernelClosed: if the kernel does not run any more.

    Example:
        >>> rumpel.aio.run(k, main())  # doctest: +SKIP
    """
    try:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "aio.run() cannot be called where an event loop runs: await the coroutine there"
            )
        kernel._check_running()
    except BaseException:
        if asyncio.iscoroutine(main):  # else Python says that it was never awaited
            main.close()
        raise
    factory = partial(EventLoop, kernel, autojump_threshold=autojump_threshold)
    with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
        return runner.run(main)
