# SPDX-License-Identifier: GPL-2.0-only
"""The stage ``stats``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rumpel.nf.middlebox import FIN, SYN
from rumpel.nf.packet_stage import PacketStage
from rumpel.nf.stage import Side
from rumpel.options import Option
from rumpel.packets import Packet

_MASK = 0xFFFFFFFF
_HALF = 1 << 31
_PENDING = 256
"""Segments of which an acknowledgement is waited for, in a direction of a flow."""
_ROWS = 20


class _Way:
    """One direction of a flow."""

    def __init__(self) -> None:
        self.packets = 0
        self.bytes = 0
        self.retransmitted = 0
        self.next: int | None = None
        self.pending: dict[int, int] = {}
        self.rtt: list[float] = []
        self.fastest: float | None = None
        self.sum = 0.0
        self.samples = 0

    def sent(self, sequence: int, length: int, now: int) -> None:
        """A segment with so much of the stream, SYN and FIN included."""
        end = (sequence + length) & _MASK
        if self.next is not None and (end - self.next - 1) & _MASK >= _HALF:
            # Nothing of it is new. Which of the two is acknowledged nobody knows (Karn).
            self.retransmitted += 1
            self.pending.pop(end, None)
            return
        self.next = end
        if len(self.pending) < _PENDING:
            self.pending[end] = now

    def acknowledged(self, number: int, now: int) -> None:
        """The other side has all before a byte."""
        sent = self.pending.get(number)
        if sent is not None:
            took = (now - sent) / 1e9
            self.fastest = took if self.fastest is None else min(self.fastest, took)
            self.sum += took
            self.samples += 1
        if self.pending:
            self.pending = {
                end: at for end, at in self.pending.items() if 0 < (end - number) & _MASK < _HALF
            }


class _Flow:
    """Who talks to whom. In a capture both directions come from the same side."""

    def __init__(self, p: Packet, now: int) -> None:
        ends = _ends(p)
        self.source = ends[0]
        self.to = ">" if p.direction == ">" else "<"
        self.name = f"{_kind(p)}{' '.join(ends if self.to == '>' else ends[::-1])}".strip()
        self.first = self.last = now
        self.ways = {">": _Way(), "<": _Way()}

    def add(self, p: Packet, now: int) -> None:
        """Count a packet."""
        self.last = now
        back = "<" if self.to == ">" else ">"
        there, back = (self.to, back) if _ends(p)[0] == self.source else (back, self.to)
        way = self.ways[there]
        way.packets += 1
        way.bytes += len(p)
        tcp = p.tcp
        if tcp is None:
            return
        length = len(p.payload) + bool(tcp.flags & SYN) + bool(tcp.flags & FIN)
        if length:
            way.sent(tcp.sequence, length, now)
        if tcp.flags & 0x10:
            self.ways[back].acknowledged(tcp.ackseq, now)

    def summary(self) -> dict[str, Any]:
        """What is known, for JSON."""
        seconds = (self.last - self.first) / 1e9
        result: dict[str, Any] = {"flow": self.name, "seconds": round(seconds, 6)}
        for direction, label in ((">", "right"), ("<", "left")):
            way = self.ways[direction]
            result[label] = {
                "packets": way.packets,
                "bytes": way.bytes,
                "bits_per_second": round(8 * way.bytes / seconds) if seconds else None,
                "retransmitted": way.retransmitted,
                "rtt_min": way.fastest,
                "rtt_mean": way.sum / way.samples if way.samples else None,
            }
        return result


class Stats(PacketStage):
    """Count what passes, for each flow: rates, round-trip times, retransmissions.

    A live table on standard error if that is a terminal, and a last one in the end. Packets
    pass unchanged. Round-trip times are those between this stage and the receiver, as TCP's
    acknowledgements tell them; segments that were sent again do not count (Karn).

    \b
    Example:
      rumpel nf chain 'tcp 10.0.0.2 9 | stats | shape --delay 0.01 | host 10.0.0.2 --discard 9'
    """

    params = (
        Option("--json", is_flag=True, help="One line of JSON in the end, instead of tables."),
        Option(
            "--capture-time",
            is_flag=True,
            help="The time is that of the packets, as in a capture, not when they pass.",
        ),
    )
    interval = 0.5

    def begin(self) -> None:
        """Nothing has passed yet."""
        self._flows: dict[object, _Flow] = {}
        self._live: Any = None

    def packets(self, items: list[Packet | bytes], side: Side) -> Sequence[Packet | bytes]:
        """Count them."""
        now = self.now_ns()
        for item in items:
            if isinstance(item, bytes):
                continue
            if self.options.capture_time:
                now = item.time_ns
            key = item.flow
            flow = self._flows.get(key)
            if flow is None:
                flow = self._flows[key] = _Flow(item, now)
            flow.add(item, now)
        return items

    def tick(self) -> None:
        """Draw the table again."""
        if self.options.json or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.live import Live

        if self._live is None:
            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        self._live.update(self._table(), refresh=True)

    def finish(self) -> None:
        """The last one."""
        if self.options.json:
            flows = [flow.summary() for flow in self._flows.values()]
            print(json.dumps({"flows": flows}), file=sys.stderr, flush=True)
            return
        from rich.console import Console

        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        else:
            Console(stderr=True, width=None if sys.stderr.isatty() else 120).print(self._table())

    def _table(self) -> Any:
        from rich.table import Table

        table = Table("flow", box=None, pad_edge=False)
        for title in ("", "packets", "bytes", "bit/s", "RTT ms", "again"):
            table.add_column(title, justify="right")
        flows = sorted(self._flows.values(), key=lambda flow: flow.last, reverse=True)
        for flow in flows[:_ROWS]:
            summary = flow.summary()
            for arrow, label in (("→", "right"), ("←", "left")):
                way = summary[label]
                rtt, rate = way["rtt_mean"], way["bits_per_second"]
                table.add_row(
                    flow.name if label == "right" else "",
                    arrow,
                    f"{way['packets']}",
                    f"{way['bytes']}",
                    "" if rate is None else f"{rate:.3g}",
                    "" if rtt is None else f"{rtt * 1e3:.3f}",
                    f"{way['retransmitted']}",
                )
        if len(flows) > _ROWS:
            table.caption = f"and {len(flows) - _ROWS} others"
        return table


def _kind(p: Packet) -> str:
    if p.ip is None and p.ip6 is None:
        return "other"
    return "tcp " if p.tcp else "udp " if p.udp else "icmp " if p.icmp or p.icmpv6 else "ip "


def _ends(p: Packet) -> tuple[str, str]:
    """Source and destination; nothing of what is not IP."""
    ip, ports = p.ip or p.ip6, p.tcp or p.udp
    if ip is None:
        return "", ""
    if ports is None:
        return ip.saddr, ip.daddr
    return f"{ip.saddr}.{ports.sport}", f"{ip.daddr}.{ports.dport}"
