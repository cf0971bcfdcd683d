# SPDX-License-Identifier: GPL-2.0-only
"""What boxes on the way do to TCP, for the stage ``mangle`` and your own.

They were measured by Honda et al., "Is it still possible to extend TCP?" (IMC 2011).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rumpel._native import Packet

__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "coalesce", "rewrite_sequence", "split"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_SACK = 5
_MASK = 0xFFFFFFFF


def rewrite_sequence(p: Packet, right: int, left: int = 0, *, sack: bool = True) -> None:
    """Move the sequence numbers of TCP, consistently in both directions.

    Firewalls do so to hide how a host chooses its first one.

    Args:
        p: any packet.
        right: by how much those of what goes to the right are moved.
        left: the same of what goes to the left.
        sack: selective acknowledgements follow, which some boxes forget.

    Example (two hosts that see other numbers of each other):
        >>> from rumpel.nf.middlebox import rewrite_sequence
        >>> def mangle(p):
        ...     rewrite_sequence(p, 1_000_000)
    """
    tcp = p.tcp
    if tcp is None:
        return
    own, other = (right, left) if p.direction == ">" else (left, right)
    if own:
        tcp.sequence = (tcp.sequence + own) & _MASK
    if not other or not tcp.flags & ACK:
        return
    tcp.ackseq = (tcp.ackseq - other) & _MASK
    if sack and tcp.option(_SACK) is not None:
        tcp.options = [
            (kind, _moved(data, -other) if kind == _SACK else data) for kind, data in tcp.options
        ]


def _moved(blocks: bytes, by: int) -> bytes:
    count = len(blocks) // 4
    edges = struct.unpack(f"!{count}I", blocks[: count * 4])
    return struct.pack(f"!{count}I", *((edge + by) & _MASK for edge in edges))


def split(p: Packet, size: int) -> list[Packet]:
    """Cut a segment of TCP into several, as cards do for the kernel (TSO).

    Args:
        p: any packet; what is no segment of TCP stays as it is.
        size: bytes of data in each at most.

    Returns:
        The pieces. All have the options; only the last one has FIN and PSH.

    Raises:
        ValueError: if size is not at least 1.
    """
    if size < 1:
        raise ValueError(f"pieces of {size} bytes cannot be")
    tcp, data = p.tcp, p.payload
    if tcp is None or len(data) <= size or tcp.flags & (SYN | RST):
        return [p]
    sequence, flags = tcp.sequence, tcp.flags
    identification = p.ip.id if p.ip else 0
    pieces = []
    for number, start in enumerate(range(0, len(data), size)):
        piece = p.copy()
        piece.payload = data[start : start + size]
        header = piece.tcp
        assert header is not None
        header.sequence = (sequence + start) & _MASK
        if start + size < len(data):
            header.flags = flags & ~(FIN | PSH)
        if piece.ip:
            piece.ip.id = (identification + number) & 0xFFFF
        pieces.append(piece)
    return pieces


def coalesce(packets: Sequence[Packet | bytes], size: int = 1400) -> list[Packet | bytes]:
    """Make fewer segments of those of TCP that follow each other, as cards do (GRO).

    Args:
        packets: what came together, in its order.
        size: bytes of data in each at most; what does not fit into the MTU of the next
            stage, that loses.

    Returns:
        The same bytes in fewer packets. A segment has the options of its first part.
    """
    out: list[Packet | bytes] = []
    last: dict[bytes, Packet] = {}
    for p in packets:
        if isinstance(p, bytes) or (tcp := p.tcp) is None or (flow := p.flow) is None:
            out.append(p)
            continue
        before = last.get(flow)
        if before is not None and _follows(before, p, size):
            first = before.tcp
            assert first is not None
            before.payload += p.payload
            first.flags |= tcp.flags & (FIN | PSH)
            first.ackseq, first.window = tcp.ackseq, tcp.window
            continue
        last[flow] = p
        out.append(p)
    return out


def _follows(before: Packet, p: Packet, size: int) -> bool:
    first, tcp = before.tcp, p.tcp
    if first is None or tcp is None or before.direction != p.direction:
        return False
    if first.sport != tcp.sport or (first.flags | tcp.flags) & (SYN | RST) or first.flags & FIN:
        return False
    held, more = len(before.payload), len(p.payload)
    return 0 < more <= size - held and held > 0 and (first.sequence + held) & _MASK == tcp.sequence
