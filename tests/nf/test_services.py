# SPDX-License-Identifier: GPL-2.0-only
"""What a host serves: no client ends it for the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from pathlib import Path

import pytest

import rumpel
from rumpel.nf import services
from rumpel.nf.mptcp import IPPROTO_MPTCP

pytestmark = pytest.mark.kernel


def test_echo_outlives_who_cannot_be_answered(kernel: rumpel.Kernel) -> None:
    """A datagram from port 0, which UDP allows (RFC 768), is not the last that is echoed."""
    k = kernel
    server = services.listen(k, 7, datagrams=True)

    async def main() -> bytes:
        serving = asyncio.ensure_future(services.echo_datagrams(k, server))
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_RAW, k.socket.IPPROTO_UDP) as raw:
            raw.sendto(struct.pack("!HHHH", 0, 7, 9, 0) + b"0", ("127.0.0.1", 0))
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", 7))
            await k.aio.sock_sendall(sock, b"1")
            answer = asyncio.ensure_future(k.aio.sock_recv(sock, 10))
            await asyncio.wait([answer, serving], return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert not serving.done()
            got: bytes = await answer
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return got

    with server:
        assert k.aio.run(main()) == b"1"


def test_http_serves_files_only(kernel: rumpel.Kernel, tmp_path: Path) -> None:
    """A FIFO that nobody writes is not found, also as a directory's page, and blocks nobody."""
    k = kernel
    (tmp_path / "page").write_text("a page")
    (tmp_path / "directory").mkdir()
    for name in ("fifo", "directory/index.html"):
        os.mkfifo(tmp_path / name)
    server = services.listen(k, 80)

    async def get(path: str) -> bytes:
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_STREAM) as sock:
            await k.aio.sock_connect(sock, ("127.0.0.1", 80))
            await k.aio.sock_sendall(sock, f"GET /{path} HTTP/1.0\r\n\r\n".encode())
            answer = b""
            while data := await k.aio.sock_recv(sock, 1000):
                answer += data
            return answer

    async def main() -> list[bytes]:
        accept = services.accept(k, server, services.http(str(tmp_path)))
        serving = asyncio.ensure_future(accept)
        answers = [await get(path) for path in ("fifo", "directory/", "page")]
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return answers

    with server:
        fifo, directory, page = k.aio.run(main())
    assert b" 404 " in fifo.splitlines()[0]
    assert b" 404 " in directory.splitlines()[0]
    assert page.endswith(b"\r\n\r\na page")


@pytest.mark.parametrize("protocol", [0, IPPROTO_MPTCP])
def test_who_sends_more_gets_the_answer(
    kernel: rumpel.Kernel, tmp_path: Path, protocol: int
) -> None:
    """Three megabytes behind a request: no reset takes the page away, and nobody hangs."""
    k, page = kernel, bytes(range(256)) * 12_000
    (tmp_path / "page").write_bytes(page)
    server = services.listen(k, 80, mptcp=bool(protocol))

    async def main() -> bytes:
        accept = services.accept(k, server, services.http(str(tmp_path)))
        serving = asyncio.ensure_future(accept)
        with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_STREAM, protocol) as sock:
            await k.aio.sock_connect(sock, ("127.0.0.1", 80))
            data = b"GET /page HTTP/1.0\r\n\r\n" + bytes(3_000_000)
            sending = asyncio.ensure_future(k.aio.sock_sendall(sock, data))
            answer = b""
            while data := await k.aio.sock_recv(sock, 1 << 18):
                answer += data
            await sending
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return answer

    with server:
        assert k.aio.run(main()).endswith(b"\r\n\r\n" + page)
