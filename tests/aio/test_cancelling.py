# SPDX-License-Identifier: GPL-2.0-only
"""Awaitables that are cancelled: the call ends, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import rumpel
from tests.aio.conftest import Run, descriptors
from tests.conftest import Boot

pytestmark = pytest.mark.kernel


async def cancelled(
    awaitable: Coroutine[Any, Any, Any], event: Callable[..., object], *args: Any
) -> bool:
    """Something happens in the very turn in which a task is cancelled: was it?"""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    event(*args)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("blocking", [True, False])
def test_nothing_is_lost_by_a_cancellation(kernel: rumpel.Kernel, run: Run, blocking: bool) -> None:
    """What arrives in that turn is there for the next call, whichever it is."""

    async def main() -> None:
        a, b = kernel.socket.socketpair()
        c = kernel.socket.socket(kernel.socket.AF_INET, kernel.socket.SOCK_DGRAM)
        c.bind(("127.0.0.1", 0))
        server = kernel.socket.create_server(("127.0.0.1", 0))
        for sock in (a, c, server):
            sock.setblocking(blocking)
        aio, space, here = kernel.aio, bytearray(100), c.getsockname()
        for number in range(20):
            data = b"%d" % number
            for receive in (aio.sock_recv(a, 100), aio.sock_recv_into(a, space)):
                assert await cancelled(receive, b.send, data)
                assert await aio.sock_recv(a, 100) == data
            assert await cancelled(aio.sock_recvfrom(c, 100), c.sendto, data, here)
            assert await aio.sock_recvfrom(c, 100) == (data, here)
        before = len(descriptors(kernel))
        for _ in range(20):
            client = kernel.socket.socket()
            assert await cancelled(aio.sock_accept(server), client.connect, server.getsockname())
            peer, address = await asyncio.wait_for(aio.sock_accept(server), 20)
            assert address == client.getsockname()
            peer.close()
            client.close()
        assert len(descriptors(kernel)) == before
        for sock in (a, b, c, server):
            sock.close()

    run(kernel, main())


def test_a_file_keeps_what_a_cancelled_read_got(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        r, w = tiny.os.pipe()
        async with tiny.aio.open(r, "rb") as file:
            for number in range(50):
                data = b"%d\n" % number
                if await cancelled(file.readline(), tiny.os.write, w, data):
                    assert await file.readline() == data
        tiny.os.close(w)

    run(tiny, main())


def test_cancelling_interrupts_the_call(tiny: rumpel.Kernel, run: Run) -> None:
    async def main() -> None:
        r, w = tiny.os.pipe()
        for _ in range(20):
            reading = asyncio.ensure_future(tiny.aio.os.read(r, 1))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(tiny.aio.os.read(r, 1), 0.001)
        # Nobody reads any more: what is written stays there.
        tiny.os.write(w, b"x")
        await asyncio.sleep(0.01)
        assert tiny.os.read(r, 10) == b"x"

    run(tiny, main())


def test_a_cancelled_call_leaves_no_descriptor(kernel: rumpel.Kernel, run: Run) -> None:
    """It has made one, and then nobody wants it."""

    async def main() -> None:
        server = kernel.socket.create_server(("127.0.0.1", 0))
        kernel.os.mkfifo("/tmp/fifo")
        await asyncio.gather(*(kernel.aio.syscall("getpid") for _ in range(3)))
        before = descriptors(kernel)
        for _ in range(20):
            accepting = asyncio.ensure_future(kernel.aio.sock_accept(server))
            await asyncio.sleep(0)
            client = kernel.socket.create_connection(server.getsockname())
            accepting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await accepting
            (await kernel.aio.sock_accept(server))[0].close()  # the next one has it
            client.close()
            opening = asyncio.ensure_future(kernel.aio.os.open("/tmp/fifo", os.O_RDONLY))
            await asyncio.sleep(0)
            kernel.os.close(kernel.os.open("/tmp/fifo", os.O_WRONLY))
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        assert descriptors(kernel) == before
        server.close()

    run(kernel, main())


Ends = tuple[int, Callable[[], object]]
"""What is read from, and what makes something come there."""


def a_pipe(kernel: rumpel.Kernel) -> Ends:
    r, w = kernel.os.pipe()
    return r, lambda: kernel.os.write(w, b"01234567")


def a_socket(kernel: rumpel.Kernel) -> Ends:
    left, right = (sock.detach() for sock in kernel.socket.socketpair())
    return left, lambda: kernel.os.write(right, b"01234567")


def a_terminal(kernel: rumpel.Kernel) -> Ends:
    master, terminal = kernel.os.openpty()
    return terminal, lambda: kernel.os.write(master, b"0123456\n")


def an_eventfd(kernel: rumpel.Kernel) -> Ends:
    fd = kernel.os.eventfd(0)
    return fd, lambda: kernel.os.write(fd, (7).to_bytes(8, "little"))


def a_watched_directory(kernel: rumpel.Kernel) -> Ends:
    fd = kernel.syscall("inotify_init1", 0)
    kernel.syscall("inotify_add_watch", fd, "/tmp", 0x100)  # IN_CREATE
    return fd, lambda: kernel.os.close(kernel.os.open("/tmp/new", os.O_CREAT | os.O_WRONLY))


@pytest.mark.parametrize("make", [a_pipe, a_socket, a_terminal, an_eventfd, a_watched_directory])
def test_no_read_takes_what_nobody_gets(
    kernel: rumpel.Kernel, run: Run, make: Callable[[rumpel.Kernel], Ends]
) -> None:
    """Cancelled in the very moment in which something has come, it leaves that to the next."""

    async def main() -> None:
        fd, come = make(kernel)
        for read in (
            lambda: kernel.aio.os.read(fd, 100),
            lambda: kernel.aio.os.readv(fd, [bytearray(100)]),
            lambda: kernel.aio.os.preadv(fd, [bytearray(100)], -1),
        ):
            assert await cancelled(read(), come)
            async with asyncio.timeout(20):
                assert await kernel.aio.os.read(fd, 100)
            if kernel.os.path.exists("/tmp/new"):
                kernel.os.unlink("/tmp/new")
        kernel.os.close(fd)

    run(kernel, main())


def test_a_cancelled_read_of_a_cold_file_moves_no_position(boot: Boot, run: Run) -> None:
    """It waits for a disk, which nothing interrupts; what it read is put back."""
    content = bytes(range(256)) * 256
    entered, go = threading.Event(), threading.Event()

    class Slow:
        """The first read of the last page takes until somebody says so."""

        size, read_only = len(content), True

        def pread(self, offset: int, length: int) -> bytes:
            if offset + length == len(content):
                entered.set()
                go.wait(20)
            return content[offset : offset + length]

    kernel = boot(disks=[rumpel.PythonDisk(Slow())])

    async def main() -> None:
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        kernel.os.lseek(fd, len(content) - 4096, os.SEEK_SET)
        reading = asyncio.ensure_future(kernel.aio.os.read(fd, 4096))
        await asyncio.to_thread(entered.wait, 20)
        reading.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await kernel.aio.os.read(fd, 4096) == content[-4096:]
        kernel.os.close(fd)

    run(kernel, main())
