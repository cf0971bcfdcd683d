# SPDX-License-Identifier: GPL-2.0-only
"""TCP over the loopback device of either kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rumpel.bench import native
from rumpel.bench.measure import compare
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result


def _stream(name: str, kib: int, target: float, how: str) -> Figure:
    work = f"TCP over lo in writes of {kib} KiB, {how}"
    return Figure(name, "GB/s", target, "host", work, more=True)


STREAMS = {
    kib: _stream(f"tcp-lo-{kib}k", kib, target, "one thread")
    for kib, target in ((64, 2.5), (16, 3.0), (1, 3.0))
}
THREADS = {
    64: _stream("tcp-lo-threads", 64, 1.5, "two blocking threads"),
    16: _stream("tcp-lo-threads-16k", 16, 1.0, "two blocking threads"),
}
ROUND_TRIP = Figure(
    "rr-lo", "1/s", 4, "host", "1 byte to and fro by TCP over lo, one thread", more=True
)


def stream(kib: int) -> Callable[[Options], Iterator[Result]]:
    """A benchmark of writes of one size, both ends in one thread."""

    def run(options: Options) -> Iterator[Result]:
        size = kib << 10
        with native.boot(options) as bench:
            yield compare(STREAMS[kib], *bench.sides("tcp", size), scale=size / 1e9)

    return run


def threads(options: Options) -> Iterator[Result]:
    """A thread that writes and one that reads."""
    with native.boot(options) as bench:
        for kib, figure in THREADS.items():
            size = kib << 10
            yield compare(figure, *bench.sides("tcp_threads", size), scale=size / 1e9)


def round_trip(options: Options) -> Iterator[Result]:
    """One thread that plays both ends."""
    with native.boot(options) as bench:
        yield compare(ROUND_TRIP, *bench.sides("round_trip"), scale=1)
