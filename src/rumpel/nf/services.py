# SPDX-License-Identifier: GPL-2.0-only
"""What a host serves: coroutines, so that on a virtual clock every run is the same."""

from __future__ import annotations

import asyncio
import contextlib
import io
import stat
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rumpel.errors import KernelClosed
from rumpel.nf.mptcp import IPPROTO_MPTCP

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["accept", "discard", "echo", "echo_datagrams", "http", "listen"]

CHUNK = 1 << 18
DISCARD = 1 << 20
"""So much at once of what is not looked at: Python costs more than the copy."""
HEAD = 1 << 16
"""Bytes of the longest head of a request."""
_INDEX = ("index.html", "index.htm")
"""What http.server sends of a directory."""
LINGER = 30.0
"""Seconds in which a client may send more than was asked for."""
GRACE = 1.0
"""Seconds for sessions to end in, once nothing more is received."""

Session = Callable[["Kernel", Any], Awaitable[None]]


def listen(k: Kernel, port: int, *, datagrams: bool = False, mptcp: bool = False) -> Any:
    """A socket for both families."""
    kind = k.socket.SOCK_DGRAM if datagrams else k.socket.SOCK_STREAM
    sock = k.socket.socket(k.socket.AF_INET6, kind, IPPROTO_MPTCP if mptcp else 0)
    sock.setsockopt(k.socket.IPPROTO_IPV6, k.socket.IPV6_V6ONLY, 0)
    sock.bind(("::", port))
    if not datagrams:
        sock.listen(128)
    return sock


async def accept(k: Kernel, server: Any, session: Session) -> None:
    """Have a session with each who connects.

    When it is cancelled, nothing more is received, and the sessions end with what they have.
    """
    sessions: dict[asyncio.Future[None], Any] = {}
    try:
        while True:
            sock, _ = await k.aio.sock_accept(server)
            task = asyncio.ensure_future(_until_end(session(k, sock), sock))
            sessions[task] = sock
            task.add_done_callback(sessions.pop)
    finally:
        for sock in sessions.values():
            with contextlib.suppress(OSError):
                sock.shutdown(k.socket.SHUT_RD)
        if sessions:
            await asyncio.wait(sessions, timeout=GRACE)


async def _until_end(session: Awaitable[None], sock: Any) -> None:
    with sock:
        try:
            await session
        except (KernelClosed, OSError) as error:
            print(f"a connection ended: {error}", file=sys.stderr)


async def echo(k: Kernel, sock: Any) -> None:
    """RFC 862."""
    while data := await k.aio.sock_recv(sock, CHUNK):
        await k.aio.sock_sendall(sock, data)


async def echo_datagrams(k: Kernel, sock: Any) -> None:
    """The same for all who send to a socket."""
    while True:
        data, peer = await k.aio.sock_recvfrom(sock, 65536)
        # Nobody can be answered on port 0, and some not reached: that is not the others' end.
        with contextlib.suppress(OSError):
            await k.aio.sock_sendto(sock, data, peer)


async def discard(k: Kernel, sock: Any) -> None:
    """RFC 863, and tell how fast it came."""
    count, start = 0, k.clock.now
    buffer = bytearray(DISCARD)
    while got := await k.aio.sock_recv_into(sock, buffer):
        count += got
    took = k.clock.now - start
    rate = count / took / 1e6 if took else 0.0
    print(f"{count} bytes in {took:.3f} s: {rate:.1f} MB/s", file=sys.stderr)


class _Request:
    """A request that has been read, as the socket that http.server wants to read it from."""

    def __init__(self, head: bytes) -> None:
        self._head = head
        self.answer = bytearray()

    def makefile(self, mode: str, size: int = -1) -> io.BytesIO:
        """See socket.makefile; there is only one that is read."""
        return io.BytesIO(self._head)

    def sendall(self, data: bytes) -> None:
        """See socket.sendall."""
        self.answer += data


def _realtime(k: Kernel) -> float:
    """Seconds since 1970, on the kernel's clock."""
    now = bytearray(16)
    k.syscall("clock_gettime", 0, now)
    seconds, ns = struct.unpack("=qq", now)
    return float(seconds + ns / 1e9)


def _blocks(path: Path) -> bool:
    """Is it there, and neither a file nor a directory?"""
    with contextlib.suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return False


async def _linger(k: Kernel, sock: Any) -> None:
    """Close, but read what still comes: a reset for it would take the answer away.

    And with Multipath TCP there might be none: who sends to a socket that has been closed waits
    until the kernel forgets it, a minute later.
    """
    sock.shutdown(k.socket.SHUT_WR)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            while await k.aio.sock_recv(sock, CHUNK):
                pass


def http(directory: str) -> Session:
    """Serve the files of a directory of the host: HTTP/1.0, one request a connection."""
    from http.server import SimpleHTTPRequestHandler

    class Files(SimpleHTTPRequestHandler):
        """Without a log, and in the kernel's time."""

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            """As http.server has it; for us the server is the time."""
            now: Any = self.server
            return super().date_time_string(now if timestamp is None else timestamp)

        def send_head(self) -> Any:
            """As http.server has it, but only of what does not block: to open a FIFO would."""
            path = Path(self.translate_path(self.path))
            if any(_blocks(each) for each in (path, *(path / name for name in _INDEX))):
                self.send_error(404, "Not a file")
                return None
            return super().send_head()

    async def session(k: Kernel, sock: Any) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD:
            data = await k.aio.sock_recv(sock, CHUNK)
            if not data:
                break
            head += data
        request: Any = _Request(head)
        now: Any = _realtime(k)
        Files(request, sock.getpeername(), now, directory=directory)
        await k.aio.sock_sendall(sock, request.answer)
        await _linger(k, sock)

    return session
