# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``pcap``."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from rumpel.nf.stage import LEFT, RIGHT, Stage, StageError
from rumpel.nf.wire import up, widen
from rumpel.options import Choice, FloatRange, Option

if TYPE_CHECKING:
    from rumpel.kernel import Kernel
    from rumpel.packets import Packet

_PACKET_ALL = 3
_NS = 1_000_000_000
_NAME = "rumpel nf pcap"


class Pcap(Stage):
    """Record what passes in a file, or replay a file with its timing.

    --write records both directions; the times are those of the kernel's clock. --read is
    the end of a chain: what is in the file (a capture, or text) is sent as it was then.

    \b
    Examples:
      rumpel nf chain 'ping 10.0.0.2 | pcap -w trace.pcap | host 10.0.0.2'
      rumpel nf pcap -r trace.pcap --speed 10 | rumpel nf filter 'tcp dport 80 drop'
    """

    blocks = False
    params = (
        Option("--write", "-w", metavar="FILE", help="Where it is recorded."),
        Option("--read", "-r", metavar="FILE", help="What is replayed."),
        Option("--as", "form", type=Choice(["pcap", "pcapng"]), default="pcap"),
        Option("--speed", type=FloatRange(0, min_open=True), default=1.0, help="Times."),
        Option("--flood", is_flag=True, help="Replay as fast as it can be."),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if (options["read"] is None) == (options["write"] is None):
            raise StageError("give either --write or --read")
        if options["read"] is not None:
            self.ports = (RIGHT,)
            self.deaf = True
        # One is captured; or a flood goes there, which is to wait.
        self.devices = (LEFT,) if options["read"] is None else (LEFT, RIGHT)
        # What is recorded has its checksums.
        self.offloads = options["write"] is None

    def configure(self, k: Kernel) -> None:
        """A bridge, one port of which is captured; or a file, and a port to send it from."""
        write = self.options.write
        flags = os.O_RDONLY if write is None else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            self._fd = os.open(write or self.options.read, flags | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StageError.of(error) from None
        if write is None:
            widen(k, self.port)
            up(k, self.port)
            return
        self.interfaces[LEFT].capture(self._fd, self.options.form)
        os.close(self._fd)
        self.bridge(k)

    def run(self, k: Kernel) -> Coroutine[Any, Any, int] | None:
        """Replay."""
        return None if self.options.read is None else self._replay(k)

    async def _replay(self, k: Kernel) -> int:
        from rumpel.packets import PacketReader

        def report(problem: str) -> None:
            print(f"{_NAME}: {problem}", file=sys.stderr)

        reader = PacketReader(self._fd, report=report)
        start, first, lost = k.clock.now_ns, None, 0
        with k.socket.socket(k.socket.AF_PACKET, k.socket.SOCK_RAW, _PACKET_ALL) as sock:
            sock.bind((self.port, 0))
            for item in reader:
                if isinstance(item, bytes):
                    continue
                first = item.time_ns if first is None else first
                if not self.options.flood:
                    due = start + (item.time_ns - first) / self.options.speed
                    await k.aio.sleep(max(0.0, due - k.clock.now_ns) / _NS)
                lost += not _send(sock, item)
        if lost:
            report(f"{lost} packets are longer than the wire can carry")
        return int(reader.damaged)

    def end(self, k: Kernel) -> None:
        """All of it is written."""
        if self.options.write is None:
            return
        try:
            self.interfaces[LEFT].capture(None)
        except OSError as error:
            raise StageError(f"{self.options.write}: {error.strerror}") from None


def _send(sock: Any, packet: Packet) -> bool:
    try:
        sock.send(bytes(packet))
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return False
    return True
