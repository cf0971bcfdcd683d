# SPDX-License-Identifier: GPL-2.0-only
"""Datagrams over loopback, and sockets as Python sees them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import rumpel
from rumpel.bench import native
from rumpel.bench.measure import compare, timed
from rumpel.bench.options import Options
from rumpel.bench.result import Figure, Result

UDP = Figure(
    "udp-lo",
    "1/s",
    1.5,
    "host",
    "64-byte datagrams received over lo, while a thread sends as fast as it can",
    more=True,
)
# Below a tenth of a percent it depends on who is preempted when.
LOST = Figure("udp-lo-lost", "%", 1, "host", "how many of these get lost", least=0.1)
PYTHON = Figure(
    "python-send-recv",
    "ns",
    1,
    "host's socket",
    "send and recv of 1 byte on a socket pair from Python",
)
SIZE = 64
DATAGRAMS = 200_000


def udp(options: Options) -> Iterator[Result]:
    """A thread that sends and one that receives."""
    with native.boot(options) as bench:
        yield compare(UDP, *bench.sides("udp", SIZE), scale=1)
        # The work returns a part of a million as if it were nanoseconds.
        lost: tuple[list[float], list[float]] = ([], [])
        for _ in range(5):
            for values, work in zip(lost, bench.sides("udp_lost", SIZE), strict=True):
                values.append(work(DATAGRAMS) * 1e9 / 1e4)
        yield LOST.result(*lost)


def python(options: Options) -> Iterator[Result]:
    """A socket pair of either kernel."""
    with rumpel.boot(image=options.path()) as kernel:
        pairs = kernel.socket.socketpair(), socket.socketpair()
        yield compare(PYTHON, *(timed(_there(*pair)) for pair in pairs))
        for a, b in pairs:
            a.close()
            b.close()


def _there(a: Any, b: Any) -> Any:
    def send_and_receive() -> None:
        a.send(b"x")
        b.recv(1)

    return send_and_receive
