# SPDX-License-Identifier: GPL-2.0-only
"""Frames through routers that are namespaces of the host: what ``nf-forward`` is measured beside.

As a stage does, it reads a capture and writes one: a program in C sends the frames into the first
veth pair, another one makes a capture of those that come out of the last. They run beside each
other, on two CPUs where there are two; the host forwards on the sender's.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel.bench import native
from rumpel.bench.namespaces import Namespaces, namespaces
from rumpel.errors import RumpelError
from rumpel.packets import Packet, PacketWriter

__all__ = ["HostRouters", "host_routers"]


class HostRouters:
    """Routers, and the programs at both ends.

    Args:
        at: where they are.
        file: the frames, as they are sent.
        count: how many there are.
    """

    def __init__(self, at: Namespaces, file: Path, count: int) -> None:
        self._at = at
        self._file = file
        self._count = count

    @contextmanager
    def run(self) -> Iterator[subprocess.Popen[bytes]]:
        """Send them; what writes to its standard output what arrives."""
        ours = [sys.executable, "-c", "from rumpel.bench.nf_host import main; main()"]
        ready, said = os.pipe()
        with subprocess.Popen(
            [*self._at.server, *ours, "receive", str(self._count), str(said)],
            stdout=subprocess.PIPE,
            pass_fds=[said],
        ) as receiver:
            os.close(said)
            heard = os.read(ready, 1)
            os.close(ready)
            if not heard:
                raise RumpelError("the host's receiver does not start")
            with (
                self._file.open("rb") as stdin,
                subprocess.Popen([*self._at.client, *ours, "send"], stdin=stdin),
            ):
                yield receiver


@contextmanager
def host_routers(number: int, frame: Packet, count: int) -> Iterator[HostRouters]:
    """Make routers, and a capture of equal frames to the server behind them.

    Args:
        number: of routers.
        frame: what is sent; its addresses become those of the client, the first router and
            the server.
        count: how often.

    Raises:
        RumpelError: for who is not root.
    """
    with (
        namespaces(["route"] * number) as at,
        tempfile.NamedTemporaryFile(prefix="rumpel-bench-") as file,
    ):
        assert frame.ip is not None
        frame.ip.saddr, frame.ip.daddr = "10.77.0.1", at.address
        mac = bytes.fromhex(_mac(at.routers[0], "left").replace(":", ""))
        sent = Packet(mac + bytes(frame)[6:])
        writer = PacketWriter(file, "pcap")
        for start in range(0, count, 10_000):
            writer.write([sent] * min(10_000, count - start))
        # Who listens there answers nothing, and its kernel has no address to answer for.
        neighbour = f"{at.address} lladdr {_mac(at.server, 'left')} dev right"
        _output([*at.routers[-1], "ip", "neigh", "replace", *neighbour.split()])
        _output([*at.server, "ip", "addr", "flush", "dev", "left"])
        yield HostRouters(at, Path(file.name), count)


def _mac(inside: list[str], interface: str) -> str:
    (link,) = json.loads(_output([*inside, "ip", "-j", "link", "show", interface]))
    return str(link["address"])


def _output(words: list[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """The program at either end: ``send``, or ``receive COUNT READY``."""
    library = native.load()
    send, receive = library.bench_frames_send, library.bench_frames_receive
    send.restype = receive.restype = ctypes.c_int64
    receive.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int64]
    if sys.argv[1] == "send":
        result = send(b"right", 0)
    else:
        result = receive(b"left", int(sys.argv[3]), 1, int(sys.argv[2]))
    if result < 0:
        raise OSError(-result, os.strerror(-result))
