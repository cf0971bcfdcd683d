# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.aio.sock_*``: the methods of event loops for sockets."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import dns.message
import dns.rdatatype
import dns.rrset
import pytest

import rumpel
from tests.aio.conftest import Run

pytestmark = pytest.mark.kernel


def test_a_closed_socket_is_not_waited_for(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        sock = tiny.socket.socket(tiny.socket.AF_UNIX)
        sock.close()
        for call in (tiny.aio.sock_accept(sock), tiny.aio.sock_recv(sock, 1)):
            with pytest.raises(OSError, match="Bad file descriptor"):
                await asyncio.wait_for(call, 20)

    run(tiny, main())


def test_sockets(kernel: rumpel.Kernel, run: Run) -> None:
    """Whether they block or not."""

    async def echo(server: Any) -> None:
        sock, _ = await kernel.aio.sock_accept(server)
        with sock:
            buffer = bytearray(1000)
            while count := await kernel.aio.sock_recv_into(sock, buffer):
                await kernel.aio.sock_sendall(sock, buffer[:count])

    async def main() -> None:
        for blocks in (False, True):
            with kernel.socket.create_server(("127.0.0.1", 0)) as server:
                server.setblocking(blocks)
                serving = asyncio.ensure_future(echo(server))
                with kernel.socket.socket() as client:
                    client.setblocking(blocks)
                    await kernel.aio.sock_connect(client, server.getsockname())
                    data = os.urandom(1 << 20)
                    sending = asyncio.ensure_future(kernel.aio.sock_sendall(client, data))
                    got = b""
                    while len(got) < len(data):
                        got += await kernel.aio.sock_recv(client, 1 << 16)
                    await sending
                    assert got == data
                await serving
                with kernel.socket.socket() as silent, kernel.socket.socket() as client:
                    # It keeps the port: a client that was given it would reach itself.
                    silent.bind(("127.0.0.1", 0))
                    client.setblocking(blocks)
                    with pytest.raises(ConnectionRefusedError):
                        await kernel.aio.sock_connect(client, silent.getsockname())

    run(kernel, main())


def test_datagrams(kernel: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        kind = kernel.socket.SOCK_DGRAM
        with kernel.socket.socket(type=kind) as a, kernel.socket.socket(type=kind) as b:
            a.bind(("127.0.0.1", 0))
            b.bind(("127.0.0.1", 0))
            receiving = asyncio.ensure_future(kernel.aio.sock_recvfrom(b, 100))
            await asyncio.sleep(0)
            assert await kernel.aio.sock_sendto(a, b"hello", b.getsockname()) == 5
            assert await receiving == (b"hello", a.getsockname())

    run(kernel, main())


def test_names_of_peers(kernel: rumpel.Kernel, run: Run) -> None:
    """They are looked up while the loop goes on: the name server is in it."""

    async def serve(server: Any) -> None:
        while True:
            wire, peer = await kernel.aio.sock_recvfrom(server, 1000)
            response = dns.message.make_response(dns.message.from_wire(wire))
            (question,) = response.question
            if question.rdtype == dns.rdatatype.A:
                answer = dns.rrset.from_text(question.name, 60, "IN", "A", "127.0.0.1")
                response.answer.append(answer)
            await kernel.aio.sock_sendto(server, response.to_wire(), peer)

    async def main() -> None:
        kernel.os.makedirs("/etc", exist_ok=True)
        with kernel.open("/etc/resolv.conf", "w") as file:
            file.write("nameserver 127.0.0.1\n")
        names = kernel.socket.socket(type=kernel.socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 53))
        task = asyncio.create_task(serve(names))
        server = kernel.socket.create_server(("127.0.0.1", 80))
        with server, kernel.socket.socket() as client:
            await kernel.aio.sock_connect(client, ("service.example", 80))
            peer, _ = await kernel.aio.sock_accept(server)
            assert peer.getpeername() == client.getsockname()
            peer.close()
        target = kernel.socket.socket(type=kernel.socket.SOCK_DGRAM)
        target.bind(("127.0.0.1", 81))
        with target, kernel.socket.socket(type=kernel.socket.SOCK_DGRAM) as sender:
            assert await kernel.aio.sock_sendto(sender, b"x", ("service.example", 81)) == 1
            assert (await kernel.aio.sock_recvfrom(target, 10))[0] == b"x"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        names.close()

    run(kernel, main())
