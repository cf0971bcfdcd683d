# SPDX-License-Identifier: GPL-2.0-only
"""aiohttp and httpx, as they are installed, on an event loop over kernels."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import web

import rumpel
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]

BODY = bytes(range(256)) * 4096
MEMORY = "256M"
"""Ten bodies at once are more than TCP allows itself in 64 MiB without slowing down."""


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello {request.match_info['name']}")


async def upload(request: web.Request) -> web.Response:
    return web.Response(body=(await request.read())[::-1])


async def socket_handler(request: web.Request) -> web.WebSocketResponse:
    response = web.WebSocketResponse()
    await response.prepare(request)
    async for message in response:
        await response.send_str(message.data[::-1])
    return response


async def start(port: int = 8080, **where: object) -> web.AppRunner:
    app = web.Application(client_max_size=1 << 22)
    app.router.add_get("/hello/{name}", hello)
    app.router.add_post("/upload", upload)
    app.router.add_get("/socket", socket_handler)
    runner = web.AppRunner(app)
    await runner.setup()
    if "sock" in where:
        await web.SockSite(runner, where["sock"]).start()  # type: ignore[arg-type]
    else:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


async def with_aiohttp(base: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base}/hello/world") as response:
            assert response.status == 200
            assert await response.text() == "hello world"
        answers = await asyncio.gather(
            *(session.post(f"{base}/upload", data=BODY) for _ in range(10))
        )
        for answer in answers:
            assert await answer.read() == BODY[::-1]
        async with session.ws_connect(f"{base}/socket") as ws:
            await ws.send_str("abc")
            assert await ws.receive_str() == "cba"


async def with_httpx(base: str) -> None:
    async with httpx.AsyncClient(timeout=120) as client:
        response = await client.get(f"{base}/hello/world")
        assert response.text == "hello world"
        assert response.extensions["http_version"] == b"HTTP/1.1"
        answers = await asyncio.gather(
            *(client.post(f"{base}/upload", content=BODY) for _ in range(10))
        )
        assert all(answer.content == BODY[::-1] for answer in answers)


def test_on_the_loopback(boot: Boot) -> None:
    """The same server for both clients."""
    kernel = boot(memory=MEMORY)

    async def main() -> None:
        runner = await start()
        await with_aiohttp("http://127.0.0.1:8080")
        await with_aiohttp("http://localhost:8080")
        await with_httpx("http://localhost:8080")
        await runner.cleanup()

    kernel.aio.run(main())


def test_over_a_link_of_two_kernels(boot: Boot) -> None:
    a, b = rumpel.Link()
    left, right = boot(nics=[a], memory=MEMORY), boot(nics=[b], memory=MEMORY)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")

    async def main() -> None:
        sock = right.socket.create_server(("10.0.0.2", 80))
        runner = await start(sock=sock)
        await with_aiohttp("http://10.0.0.2")
        await with_httpx("http://10.0.0.2")
        await runner.cleanup()

    left.aio.run(main())


def test_over_a_slow_link_in_virtual_time(boot: Boot) -> None:
    """A request and its answer take one round trip."""
    clock = rumpel.VirtualClock()
    a, b = rumpel.Link(delay=0.1)
    left, right = boot(nics=[a], clock=clock), boot(nics=[b], clock=clock)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")

    async def main() -> None:
        sock = right.socket.create_server(("10.0.0.2", 80))
        # asyncio does this for the servers that it makes itself.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        runner = await start(sock=sock)
        async with httpx.AsyncClient() as client:
            await client.get("http://10.0.0.2/hello/arp")
            before = clock.now
            await client.get("http://10.0.0.2/hello/again")
            assert clock.now - before == pytest.approx(0.2, abs=0.01)
        await runner.cleanup()

    left.aio.run(main())


def test_other_loops_are_left_alone(boot: Boot) -> None:
    """On asyncio's own loop aiohttp uses the host's network, before and after."""
    kernel = boot(memory=MEMORY)
    silent = socket.socket()  # of the host; bound, so that nobody there listens
    silent.bind(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    base = f"http://127.0.0.1:{port}"

    async def main() -> None:
        runner = await start(port)
        await with_aiohttp(base)
        await runner.cleanup()

    async def on_the_host() -> None:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(base)

    async def both() -> None:
        runner = await start(port)
        thread = asyncio.to_thread(asyncio.run, on_the_host())
        await thread
        await runner.cleanup()

    with silent:
        kernel.aio.run(main())
        kernel.aio.run(both())


def test_listeners_of_anyio(kernel: rumpel.Kernel) -> None:
    """They are made past the event loop, and are the kernel's all the same."""

    async def handle(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(await stream.receive())

    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=8080)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, handle)
            async with await anyio.connect_tcp("127.0.0.1", 8080) as stream:
                await stream.send(b"hello")
                assert await stream.receive() == b"hello"
            group.cancel_scope.cancel()
        await listener.aclose()

    kernel.aio.run(main())
