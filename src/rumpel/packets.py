# SPDX-License-Identifier: GPL-2.0-only
"""Packets in streams of bytes: read, looked at, changed and written.

A stream is text (a line for each packet, as ``rumpel nf`` writes it), pcap or pcapng. A
:class:`Packet` is an Ethernet frame whose headers are attributes: ``ether``, ``vlan``,
``arp``, ``ip``, ``ip6``, ``tcp``, ``udp``, ``icmp``, ``icmpv6``, each None if there is none
(or it is inside of a tunnel). Their fields have the names that nft(8) gives them, and may be
set; checksums and lengths follow.

Example:
    >>> frame = bytes.fromhex(
    ...     "02000000000202000000000108004500001c000100004011f9f5"
    ...     "c0000201c0000202003504d200080000")
    >>> packet = Packet(frame)
    >>> packet.ip.saddr, packet.udp.dport, packet.tcp
    ('192.0.2.1', 1234, None)
    >>> packet.ip.ttl -= 1
    >>> print(packet)
    IP 192.0.2.1.53 > 192.0.2.2.1234 UDP len 0
"""

from __future__ import annotations

import os

from rumpel import _native
from rumpel._native import Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from rumpel.devices.shapes import HasFileno

    PacketFormat = Literal["text", "pcap", "pcapng"]
else:
    PacketFormat = str

__all__ = [
    "FORMATS",
    "Packet",
    "PacketFormat",
    "PacketReader",
    "PacketWriter",
    "packet_format",
]

FORMATS: dict[str, int] = {
    "text": _native.PACKETS_TEXT,
    "pcap": _native.PACKETS_PCAP,
    "pcapng": _native.PACKETS_PCAPNG,
}
"""The formats' numbers in the binding."""

_CHUNK = 1 << 18


def packet_format(name: str) -> PacketFormat:
    """Check the name of a format that packets are written in.

    Raises:
        ValueError: if there is none of that name.
    """
    match name:
        case "text" | "pcap" | "pcapng":
            return name
    raise ValueError(f"not a format of packets: {name!r} (but text, pcap or pcapng)")


class PacketReader:
    """Reads packets from a descriptor; the first bytes say which format they have.

    Iteration gives each packet, and as ``bytes`` each line of text that is none, in their
    order.

    Args:
        file: where they are read, until its end.
        direction: of all packets; None: as the text says, ``>`` in captures.
        report: called with a line for each packet that cannot be read, with the number of
            its line (or of the packet). None: that is a ValueError, behind which one may
            go on to read.

    Example:
        >>> with open("trace.pcap", "rb") as file:  # doctest: +SKIP
        ...     for packet in PacketReader(file):
        ...         print(packet)
    """

    def __init__(
        self,
        file: int | HasFileno,
        *,
        direction: Literal[">", "<"] | None = None,
        report: Callable[[str], object] | None = None,
    ) -> None:
        self._file = file
        self._reader = _native.PacketReader(direction)
        self._report = report
        self._problems: list[str] = []
        self._ended = False

    @property
    def damaged(self) -> bool:
        """Was there something behind which nothing can be read?"""
        return self._reader.damaged

    def read(self) -> list[Packet | bytes]:
        """Read what there is, at least one packet or line; nothing at the end.

        Raises:
            ValueError: about a packet that cannot be read, if nobody is to be told.
            OSError: if the file cannot be read.
        """
        while True:
            if self._problems:
                raise ValueError(self._problems.pop(0))
            if self._ended or self.damaged:
                return []
            data = os.read(
                self._file if isinstance(self._file, int) else self._file.fileno(), _CHUNK
            )
            self._ended = not data
            items, problems = self._reader.feed(data, self._ended)
            if self._report is None:
                self._problems.extend(problems)
            else:
                for problem in problems:
                    self._report(problem)
            if items:
                return items

    def __iter__(self) -> Iterator[Packet | bytes]:
        while items := self.read():
            yield from items


class PacketWriter:
    """Writes packets to a descriptor.

    Args:
        file: where to.
        format: which format they get. Captures have no place for lines that are no packets.
    """

    def __init__(self, file: int | HasFileno, format: PacketFormat = "text") -> None:
        self._file = file
        self._format = FORMATS[packet_format(format)]
        self._write(_native.packets_begin(self._format))

    def write(self, items: Sequence[Packet | bytes]) -> None:
        """Write packets and lines.

        Raises:
            OSError: if the file cannot be written to.
        """
        self._write(_native.packets_encode(self._format, items))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[
                os.write(self._file if isinstance(self._file, int) else self._file.fileno(), view) :
            ]
