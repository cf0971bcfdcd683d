# SPDX-License-Identifier: GPL-2.0-only
"""Network interfaces whose Python methods are coroutines."""

from __future__ import annotations

import asyncio
import socket as host
import threading
import time
from typing import Any

import pytest

from rumpel import VirtualClock
from tests.api.responder import Responder, echo, wait_for
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]


class Slow(Responder):
    """It answers after a while, from a coroutine."""

    async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
        await asyncio.sleep(0.001)
        super().transmit(frames)


def test_async(boot: Boot) -> None:
    """It runs on the loop, one batch after the other."""
    active: list[int] = []
    loop: Any = None

    class Async(Responder):
        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            assert asyncio.get_running_loop() is loop
            assert not active
            active.append(1)
            await asyncio.sleep(0.01)
            active.clear()
            super().transmit(frames)

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        kernel = boot(nics=[Async()])
        kernel.ifup("eth0", "10.0.0.1/24")
        assert await asyncio.to_thread(echo, kernel, b"one") == b"one"
        both = asyncio.gather(*(asyncio.to_thread(echo, kernel, b"%d" % n) for n in range(5)))
        assert await both == [b"%d" % n for n in range(5)]

    asyncio.run(main())


def test_async_exceptions_are_the_loops(boot: Boot) -> None:
    class Faulty(Responder):
        calls = 0

        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            super().transmit(frames)

    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: reported.append(c))
        kernel = boot(nics=[Faulty()])
        kernel.ifup("eth0", "10.0.0.1/24")
        assert await asyncio.to_thread(echo, kernel, b"x") == b"x"
        assert isinstance(reported[0]["exception"], ZeroDivisionError)
        assert "transmit() of <" in reported[0]["message"]

    asyncio.run(main())


def test_async_without_a_loop(boot: Boot, unraisable: list[Any]) -> None:
    """Made where no loop runs it has one of its own, which ends with the kernel."""
    nic = Slow()
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    for number in range(5):
        assert echo(kernel, b"%d" % number) == b"%d" % number

    async def main() -> None:
        assert await asyncio.to_thread(echo, kernel, b"here") == b"here"

    asyncio.run(main())
    assert any(thread.name == "rumpel-nic-loop" for thread in threading.enumerate())
    own = nic._own
    assert own is not None
    kernel.halt()
    wait_for(lambda: not own.thread.is_alive())
    assert not unraisable


def test_async_on_a_virtual_clock(boot: Boot, unraisable: list[Any]) -> None:
    """The loop that drives the kernel runs it, in virtual time; else it is run at once."""
    clock = VirtualClock()

    class Later(Responder):
        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            if driven:
                await asyncio.sleep(3600)
            super().transmit(frames)

    driven = False
    kernel = boot(nics=[Later()], clock=clock)
    kernel.ifup("eth0", "10.0.0.1/24")
    before = clock.now
    assert echo(kernel, b"at once") == b"at once"
    assert clock.now - before < 1
    driven = True

    async def main() -> float:
        sock = kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM)
        with sock:
            await kernel.aio.sock_sendto(sock, b"later", ("10.0.0.9", 7))
            began = clock.now
            assert await kernel.aio.sock_recv(sock, 100) == b"later"
            return clock.now - began

    real = time.monotonic()
    assert kernel.aio.run(main()) >= 3600
    assert time.monotonic() - real < 60
    assert not unraisable


def test_async_with_a_loop_that_is_closed(boot: Boot, unraisable: list[Any]) -> None:
    loop = asyncio.new_event_loop()
    kernel = boot(nics=[Slow(loop=loop)])
    loop.close()
    kernel.ifup("eth0", "10.0.0.1/24")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.0.0.9", 7))
    wait_for(lambda: bool(unraisable))
    assert "is closed" in str(unraisable[0][0])
