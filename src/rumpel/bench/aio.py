# SPDX-License-Identifier: GPL-2.0-only
"""An echo server and its thousand clients in one event loop of asyncio."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from time import perf_counter

import rumpel
from rumpel.aio import EventLoop
from rumpel.bench.measure import Work, compare
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

CLIENTS = 1000
SIZE = 64
MEMORY = "256M"
"""Sockets, and what is under way in them."""
RUNS = 11
SAMPLE = 0.5
DESCRIPTORS = 2 * CLIENTS + 100
LARGE = 1 << 20
"""Bytes: more than asyncio asks for to receive a message (256 KiB)."""

AIO = Figure(
    "aio-1000",
    "1/s",
    2,
    "asyncio on the host",
    f"messages of {SIZE} bytes echoed over {CLIENTS:,} connections by asyncio on one thread",
    more=True,
)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, times: int) -> None:
    message = bytes(SIZE)
    for _ in range(times):
        writer.write(message)
        await writer.drain()
        await reader.readexactly(SIZE)


class Echo:
    """Connections of one event loop, all open."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._pairs: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        runner.run(self._connect())

    async def _connect(self) -> None:
        self._server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=CLIENTS)
        port = self._server.sockets[0].getsockname()[1]
        for _ in range(CLIENTS):
            self._pairs.append(await asyncio.open_connection("127.0.0.1", port))

    def work(self, rounds: int) -> float:
        """Send that many messages on each connection, on all of them at once.

        Fewer than one on each would be no work but the tasks of a thousand clients.
        """

        async def all_of_them() -> float:
            start = perf_counter()
            await asyncio.gather(*(_ask(*pair, rounds) for pair in self._pairs))
            return perf_counter() - start

        return self._runner.run(all_of_them())

    def close(self) -> None:
        """Close all connections."""

        async def close() -> None:
            for _, writer in self._pairs:
                writer.close()
                await writer.wait_closed()
            self._server.close()
            await asyncio.sleep(0)

        self._runner.run(close())


def _free_something_large() -> None:
    """Let malloc keep what asyncio frees, as it does once a large block was freed.

    Until then glibc maps each such block anew (``M_MMAP_THRESHOLD`` in mallopt(3)), and three
    system calls and a page fault a message are half of what the host's loop takes. Whether they
    are in the figure must not depend on what else this process has done.
    """
    bytes(LARGE)


def thousand(options: Options) -> Iterator[Result]:
    """The same program on the loop over a kernel and on asyncio's own."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if limits[1] == resource.RLIM_INFINITY else min(DESCRIPTORS, limits[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, limits[0]), limits[1]))
    _free_something_large()
    try:
        with rumpel.boot(image=options.path(), memory=MEMORY) as kernel:
            limit = DESCRIPTORS.to_bytes(8, "little")
            kernel.syscall("prlimit64", 0, resource.RLIMIT_NOFILE, limit * 2, None)
            with (
                asyncio.Runner(loop_factory=lambda: EventLoop(kernel)) as ours,
                asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as peers,
            ):
                echoes = [Echo(ours), Echo(peers)]
                works: list[Work] = [echo.work for echo in echoes]
                yield compare(AIO, works[0], works[1], scale=CLIENTS, runs=RUNS, sample=SAMPLE)
                for echo in echoes:
                    echo.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
