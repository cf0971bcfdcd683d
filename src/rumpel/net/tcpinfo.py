# SPDX-License-Identifier: GPL-2.0-only
"""What TCP knows about a connection: ``struct tcp_info``.

Source: tcp(7), include/uapi/linux/tcp.h.
"""

from __future__ import annotations

import socket as host
import struct
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["TcpInfo"]

_SIZE = 512
_FIXED = struct.Struct("=8B")
_US, _MS = 1e-6, 1e-3
# In the order of the structure: name, format, unit of times in seconds.
_ROWS: tuple[tuple[str, str, float], ...] = (
    ("rto", "I", _US),
    ("ato", "I", _US),
    ("snd_mss", "I", 1),
    ("rcv_mss", "I", 1),
    ("unacked", "I", 1),
    ("sacked", "I", 1),
    ("lost", "I", 1),
    ("retrans", "I", 1),
    ("fackets", "I", 1),
    ("last_data_sent", "I", _MS),
    ("last_ack_sent", "I", _MS),
    ("last_data_recv", "I", _MS),
    ("last_ack_recv", "I", _MS),
    ("pmtu", "I", 1),
    ("rcv_ssthresh", "I", 1),
    ("rtt", "I", _US),
    ("rttvar", "I", _US),
    ("snd_ssthresh", "I", 1),
    ("snd_cwnd", "I", 1),
    ("advmss", "I", 1),
    ("reordering", "I", 1),
    ("rcv_rtt", "I", _US),
    ("rcv_space", "I", 1),
    ("total_retrans", "I", 1),
    ("pacing_rate", "Q", 1),
    ("max_pacing_rate", "Q", 1),
    ("bytes_acked", "Q", 1),
    ("bytes_received", "Q", 1),
    ("segs_out", "I", 1),
    ("segs_in", "I", 1),
    ("notsent_bytes", "I", 1),
    ("min_rtt", "I", _US),
    ("data_segs_in", "I", 1),
    ("data_segs_out", "I", 1),
    ("delivery_rate", "Q", 1),
    ("busy_time", "Q", _US),
    ("rwnd_limited", "Q", _US),
    ("sndbuf_limited", "Q", _US),
    ("delivered", "I", 1),
    ("delivered_ce", "I", 1),
    ("bytes_sent", "Q", 1),
    ("bytes_retrans", "Q", 1),
    ("dsack_dups", "I", 1),
    ("reord_seen", "I", 1),
    ("rcv_ooopack", "I", 1),
    ("snd_wnd", "I", 1),
    ("rcv_wnd", "I", 1),
    ("rehash", "I", 1),
)
_REST = struct.Struct("=" + "".join(row[1] for row in _ROWS))
_STATES = (
    *("unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait"),
    *("close", "close-wait", "last-ack", "listen", "closing", "new-syn-recv", "bound-inactive"),
)
_CA_STATES = ("open", "disorder", "cwr", "recovery", "loss")
_OPTIONS = ((1, "timestamps"), (2, "sack"), (4, "wscale"), (8, "ecn"), (16, "ecn-seen"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """The state of a TCP connection, as ``ss -ti`` shows it.

    Times are seconds, rates bytes a second, windows of congestion segments; the names are
    those of ``struct tcp_info`` without ``tcpi_``.

    Example:
        >>> TcpInfo.of(client).rtt  # doctest: +SKIP
        0.100042
    """

    state: str
    ca_state: str
    retransmits: int
    probes: int
    backoff: int
    options: frozenset[str]
    snd_wscale: int
    rcv_wscale: int
    delivery_rate_app_limited: bool
    rto: float
    ato: float
    snd_mss: int
    rcv_mss: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    fackets: int
    last_data_sent: float
    last_ack_sent: float
    last_data_recv: float
    last_ack_recv: float
    pmtu: int
    rcv_ssthresh: int
    rtt: float
    rttvar: float
    snd_ssthresh: int
    snd_cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: float
    rcv_space: int
    total_retrans: int
    pacing_rate: int
    max_pacing_rate: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    notsent_bytes: int
    min_rtt: float
    data_segs_in: int
    data_segs_out: int
    delivery_rate: int
    busy_time: float
    rwnd_limited: float
    sndbuf_limited: float
    delivered: int
    delivered_ce: int
    bytes_sent: int
    bytes_retrans: int
    dsack_dups: int
    reord_seen: int
    rcv_ooopack: int
    snd_wnd: int
    rcv_wnd: int
    rehash: int

    @classmethod
    def of(cls, sock: Any) -> Self:
        """Ask a TCP socket, of a library kernel or of the host.

        Raises:
            OSError: ENOPROTOOPT or EOPNOTSUPP if it is none.
        """
        return cls.from_bytes(sock.getsockopt(host.IPPROTO_TCP, host.TCP_INFO, _SIZE))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Take the structure apart; what an older kernel did not fill in is 0."""
        data = data.ljust(_FIXED.size + _REST.size, b"\0")
        state, ca, retransmits, probes, backoff, options, scales, bits = _FIXED.unpack_from(data)
        values: dict[str, Any] = {}
        rest = _REST.unpack_from(data, _FIXED.size)
        for (name, _, unit), value in zip(_ROWS, rest, strict=True):
            # Rounded to what the kernel counts in, so that 100042 us is 0.100042 s.
            values[name] = value if unit == 1 else round(value * unit, 6)
        return cls(
            state=state_name(state),
            ca_state=_CA_STATES[ca] if ca < len(_CA_STATES) else str(ca),
            retransmits=retransmits,
            probes=probes,
            backoff=backoff,
            options=frozenset(name for bit, name in _OPTIONS if options & bit),
            snd_wscale=scales & 15,
            rcv_wscale=scales >> 4,
            delivery_rate_app_limited=bool(bits & 1),
            **values,
        )


def state_name(state: int) -> str:
    """A TCP state's name, as ``ss`` writes it."""
    return _STATES[state] if state < len(_STATES) else str(state)
