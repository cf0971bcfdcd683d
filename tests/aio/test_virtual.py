# SPDX-License-Identifier: GPL-2.0-only
"""Event loops in virtual time."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Any

import pytest

import rumpel
from rumpel import Link, VirtualClock
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_sleeping_takes_no_time(boot: Boot) -> None:
    kernel = boot(clock=VirtualClock())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.time() == kernel.clock.now
        before = loop.time()
        await asyncio.sleep(1000)
        assert loop.time() - before == pytest.approx(1000, abs=1e-6)
        await kernel.aio.sleep(1000)
        # A system call that sleeps, and a timer of the loop, in their order.
        order: list[int] = []
        for seconds in (3, 1, 2):
            asyncio.get_running_loop().call_later(seconds, order.append, seconds)
        await kernel.aio.syscall("nanosleep", (2).to_bytes(8, "little") + bytes(8), None)
        assert order in ([1], [1, 2])
        await asyncio.sleep(2)
        assert order == [1, 2, 3]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3600)

    start = time.monotonic()
    kernel.aio.run(main())
    assert time.monotonic() - start < 100


def test_the_clock_jumps_only_when_nothing_can_run(boot: Boot) -> None:
    """Work that takes real time takes no virtual time, in coroutines and in threads."""
    kernel = boot(clock=VirtualClock())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        timer = asyncio.ensure_future(asyncio.sleep(10))
        await asyncio.sleep(0)
        before = loop.time()
        for _ in range(100):
            await asyncio.sleep(0)
        await asyncio.to_thread(time.sleep, 0.05)
        assert loop.time() == before
        assert not timer.done()
        await timer
        assert loop.time() - before == pytest.approx(10, abs=1e-6)

    kernel.aio.run(main())


def test_descriptors_of_the_host(boot: Boot) -> None:
    """They hold the clock as long as one asks for."""
    kernel = boot(clock=VirtualClock())

    async def child(seconds: float) -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        process = await asyncio.create_subprocess_exec(
            "sleep", f"{seconds}", stdout=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(10):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
        return loop.time() - before

    assert kernel.aio.run(child(0.5), autojump_threshold=60) < 1
    with pytest.raises(TimeoutError):
        kernel.aio.run(child(300))


async def conversation(server_kernel: rumpel.Kernel, trace: list[Any]) -> None:
    loop = asyncio.get_running_loop()

    served = asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            trace.append(("server", loop.time(), line))
            await asyncio.sleep(0.5)
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        served.release()

    async def client(name: str) -> None:
        reader, writer = await asyncio.open_connection("10.0.0.2", 80)
        trace.append((name, loop.time(), "connected"))
        for number in range(3):
            writer.write(f"{name} {number}\n".encode())
            line = await reader.readline()
            trace.append((name, loop.time(), line))
        writer.close()
        await writer.wait_closed()

    sock = server_kernel.socket.create_server(("10.0.0.2", 80))
    server = await asyncio.start_server(serve, sock=sock)
    await asyncio.gather(*(client(f"client {n}") for n in range(4)))
    for _ in range(4):
        await served.acquire()
    server.close()


def simulate(boot: Boot) -> list[Any]:
    clock = VirtualClock()
    a, b = Link(delay=0.05)
    left, right = boot(nics=[a], clock=clock), boot(nics=[b], clock=clock)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    trace: list[Any] = []
    left.aio.run(conversation(right, trace))
    left.halt()
    right.halt()
    return trace


def test_two_kernels_on_one_clock(boot: Boot) -> None:
    """Client and server are coroutines of one loop, with a slow cable between them."""
    trace = simulate(boot)
    connected = {name: when for name, when, what in trace if what == "connected"}
    assert len(connected) == 4
    for name, when in connected.items():
        times = [at for who, at, what in trace if who == name and what != "connected"]
        for at, before in zip(times, [when, *times], strict=False):
            assert at - before == pytest.approx(0.6, abs=0.01)


def test_every_run_has_the_same_times(boot: Boot) -> None:
    first = simulate(boot)
    assert len(first) == 4 + 12 + 12
    assert simulate(boot) == first


def test_the_leader_goes_first(boot: Boot) -> None:
    """The other kernel of the clock leads from then on."""
    clock = VirtualClock()
    leader, other = boot(clock=clock), boot(clock=clock)

    async def main() -> None:
        r, w = other.os.pipe()
        reading = asyncio.ensure_future(other.aio.os.read(r, 1))
        await asyncio.sleep(1)
        leader.halt()
        await asyncio.sleep(1000)
        other.os.write(w, b"x")
        assert await reading == b"x"

    leader.aio.run(main())
    assert clock.now > 1000


def test_a_loop_without_a_kernel_left(boot: Boot) -> None:
    """Its time goes on."""
    kernel = boot(clock=VirtualClock())

    async def main() -> None:
        kernel.halt()
        await asyncio.sleep(1000)

    kernel.aio.run(main())
    assert kernel.clock.now >= 1000
