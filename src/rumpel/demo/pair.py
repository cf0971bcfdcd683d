# SPDX-License-Identifier: GPL-2.0-only
"""Two kernels in one process, joined by cables, that move data over TCP and MPTCP."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable

from rumpel.demo.report import Report
from rumpel.demo.tools import check, size
from rumpel.devices import Link, Nic
from rumpel.kernel import Kernel
from rumpel.net import IPPROTO_MPTCP
from rumpel.socket import Socket

__all__ = ["pair"]

_PORT = 5001
_CHUNK = 1 << 20

Boot = Callable[..., Kernel]


def pair(boot: Boot, report: Report, amount: int) -> None:
    """Move data from one kernel to another.

    Args:
        boot: boots the kernels.
        report: hears what was done.
        amount: in bytes, each time.

    Raises:
        DemoError: if what arrives is not what was sent, or a link was not used.
    """
    links = [Link(), Link()]
    with (
        boot(nics=[link[0] for link in links]) as left,
        boot(nics=[link[1] for link in links]) as right,
    ):
        for number in range(len(links)):
            left.ifup(f"eth{number}", f"10.0.{number}.1/24")
            right.ifup(f"eth{number}", f"10.0.{number}.2/24")
        with report.step(f"{size(amount)} over TCP on one link"):
            rate = _transfer(left, right, amount, 0)
        report.figure("Two kernels", f"{size(amount)} over TCP at {size(rate)}/s")

        for kernel in (left, right):
            kernel.net.mptcp.limits = 8, 8
        # Announced to the left, which connects to it on its own second link.
        right.net.mptcp.add("10.0.1.2", signal=True)
        before = [_carried(link[0]) for link in links]
        with report.step(f"{size(amount)} over MPTCP on two links"):
            rate = _transfer(left, right, amount, IPPROTO_MPTCP)
        carried = [_carried(link[0]) - old for link, old in zip(links, before, strict=True)]
        check(min(carried) > 0.01 * amount, f"one link carried nothing: {carried}")
        shares = " and ".join(f"{100 * part / sum(carried):.0f} %" for part in carried)
        report.figure(
            "", f"{size(amount)} over MPTCP at {size(rate)}/s, {shares} of it on the two links"
        )


def _carried(nic: Nic) -> int:
    return nic.stats.sent_bytes


def _transfer(left: Kernel, right: Kernel, amount: int, protocol: int) -> float:
    """Send from left to right, and compare every byte; bytes a second."""
    chunk = bytearray(os.urandom(_CHUNK))
    count = -(-amount // _CHUNK)
    results: list[str] = []
    with right.socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("", _PORT))
        server.listen()
        thread = threading.Thread(target=_receive, args=(server, bytearray(chunk), count, results))
        thread.start()
        start = time.monotonic()
        with left.socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as client:
            client.connect(("10.0.0.2", _PORT))
            for number in range(count):
                struct.pack_into("Q", chunk, 0, number)
                client.sendall(chunk)
        thread.join()
        taken = time.monotonic() - start
    check(results == ["complete"], f"the receiver says: {' '.join(results)}")
    return count * _CHUNK / taken


def _receive(server: Socket, chunk: bytearray, count: int, results: list[str]) -> None:
    """Take ``count`` chunks, which are numbered but else equal."""
    buffer = bytearray(len(chunk))
    try:
        peer, _ = server.accept()
        with peer:
            for number in range(count):
                view = memoryview(buffer)
                while view:
                    got = peer.recv_into(view)
                    check(got, f"the connection ended after {number} chunks")
                    view = view[got:]
                struct.pack_into("Q", chunk, 0, number)
                check(buffer == chunk, f"chunk {number} differs")
        results.append("complete")
    except Exception as error:
        results.append(repr(error))
