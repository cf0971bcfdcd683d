# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``ping``."""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

from rumpel.netlink import parse_address
from rumpel.nf.stage import RIGHT, Stage, StageError
from rumpel.options import Argument, FloatRange, IntRange, Option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rumpel.kernel import Kernel

_HEAD = struct.Struct("!BBHHH")
_LOOK = 1.0
"""Seconds between two looks at whether anybody is there."""
_LONGEST = 65536
_ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}


class Ping(Stage):
    """Send echo requests, and say on standard error what comes back.

    Without a way back (a plain pipe) nothing does, and the neighbour's address cannot be
    asked for: requests go to all stations of the wire. Exits with 0 if all were answered or
    there is no way back.

    \b
    Examples:
      rumpel nf ping 10.0.0.2 | rumpel nf filter --format pcap | tcpdump -nr -
      rumpel nf chain 'ping -c 3 10.0.0.2 | nat | host 10.0.0.2'
    """

    ports = (RIGHT,)
    params = (
        Argument("destination"),
        Option("--count", "-c", type=IntRange(1), default=4, help="Requests."),
        Option("--interval", "-i", type=FloatRange(0), default=0.2, help="Seconds between them."),
        Option("--size", "-s", type=IntRange(8, 65000), default=56, help="Bytes of data."),
        Option("--wait", "-W", type=FloatRange(0), default=1.0, help="Seconds to wait at last."),
        Option("--address", metavar="ADDRESS", help="Our own.  [default: one near by]"),
    )

    def configure(self, k: Kernel) -> None:
        """An address, and everybody behind the port."""
        destination = self.options.destination
        try:
            own = self.options.address or near(destination)
        except ValueError as error:
            raise StageError(str(error)) from None
        self.address(k, self.port, own)

    async def run(self, k: Kernel) -> int:
        """Send, and wait for what comes back."""
        import asyncio

        async def receive(sock: Any, timeout: float) -> tuple[bytes, Any]:
            return await asyncio.wait_for(k.aio.sock_recvfrom(sock, _LONGEST), timeout)

        return await self._ping(k, receive)

    def run_alone(self, k: Kernel) -> int:
        """The same; nothing of it waits for an event loop."""

        async def receive(sock: Any, timeout: float) -> tuple[bytes, Any]:
            sock.settimeout(timeout)
            got: tuple[bytes, Any] = sock.recvfrom(_LONGEST)
            return got

        try:
            self._ping(k, receive).send(None)
        except StopIteration as done:
            code: int = done.value
            return code
        raise AssertionError

    async def _ping(
        self, k: Kernel, receive: Callable[[Any, float], Awaitable[tuple[bytes, Any]]]
    ) -> int:
        family = socket.AF_INET6 if ":" in self.options.destination else socket.AF_INET
        protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
        k.sysctl["net.ipv4.ping_group_range"] = "0 2147483647"
        self._sent, self._answered, self._again = 0, set[int](), 0
        with k.socket.socket(family, socket.SOCK_DGRAM, protocol) as sock:
            try:
                for sequence in range(1, self.options.count + 1):
                    if self.is_gone():
                        break
                    await self._once(k, sock, sequence, receive)
            finally:  # also where it is cancelled, since nobody is there any more
                again = f", and {self._again} answers again" if self._again else ""
                said = f"{self._sent} sent, {len(self._answered)} answered{again}"
                print(said, file=sys.stderr)
        if self._sent < self.options.count:
            return self.left_alone()
        return 0 if len(self._answered) == self._sent or self.port in self.one_way else 1

    async def _once(
        self,
        k: Kernel,
        sock: Any,
        sequence: int,
        receive: Callable[[Any, float], Awaitable[tuple[bytes, Any]]],
    ) -> None:
        """Send one, and wait for answers until it is time for the next one."""
        start = k.clock.now
        data = struct.pack("!d", start).ljust(self.options.size, b".")
        head = _HEAD.pack(_ECHO[sock.family][0], 0, 0, 0, sequence)
        sock.sendto(head + data, (self.options.destination, 0))
        self._sent = sequence
        last = sequence == self.options.count
        patience = self.options.wait if last else self.options.interval
        while len(self._answered) < sequence or not last:
            left = start + patience - k.clock.now
            if left <= 0 or self.is_gone():
                return
            try:
                answer, source = await receive(sock, min(left, _LOOK))
            except TimeoutError:
                continue
            # libslirp makes answers of errors, whose number is none of ours.
            if len(answer) < _HEAD.size + 8 or not 0 < _HEAD.unpack_from(answer)[4] <= sequence:
                continue
            self._tell(k, answer, source[0])

    def _tell(self, k: Kernel, answer: bytes, source: str) -> None:
        _, _, _, _, sequence = _HEAD.unpack_from(answer)
        (sent,) = struct.unpack_from("!d", answer, _HEAD.size)
        took = (k.clock.now - sent) * 1e3
        again = " again" if sequence in self._answered else ""
        self._again += bool(again)
        self._answered.add(sequence)
        said = f"{len(answer)} bytes from {source}: seq {sequence} {took:.3f} ms{again}"
        print(said, file=sys.stderr)


def near(destination: str) -> str:
    """Make up an address for the other end of a wire.

    Example:
        >>> near("10.0.0.2"), near("fd00::2")
        ('10.0.0.1', 'fd00::1')
    """
    family, packed, length = parse_address(destination)
    if 8 * len(packed) != length:
        raise ValueError(f"not an address: {destination!r}")
    last = 2 if packed[-1] == 1 else 1
    return socket.inet_ntop(family, packed[:-1] + bytes([last]))
