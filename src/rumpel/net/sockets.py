# SPDX-License-Identifier: GPL-2.0-only
"""The sockets of a kernel: ``kernel.net.sockets()``, what ``ss`` shows.

Source: sock_diag(7), include/uapi/linux/inet_diag.h.
"""

from __future__ import annotations

import socket as host
import struct
from dataclasses import dataclass

from rumpel.net.client import Client
from rumpel.net.tcpinfo import TcpInfo, state_name
from rumpel.netlink import Netlink, attributes

__all__ = ["SocketInfo", "sockets"]

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP = 4, 20, 0x300
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "mptcp": 262, "raw": 255}
_SOCKID = "2s2s16s16sI8x"
_REQUEST = struct.Struct("=BBBxI48s")
_MESSAGE = struct.Struct("=BBBB" + _SOCKID + "IIIII")
_INFO, _CONG, _PROTOCOL, _MARK = 2, 4, 10, 15
_EXTENSIONS = 1 << (_INFO - 1) | 1 << (_CONG - 1)
_ALL_STATES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """A socket of IPv4 or IPv6.

    Attributes:
        protocol: ``tcp``, ``udp`` and so on.
        state: such as ``established`` or ``listen``.
        local: its address and port.
        remote: of the peer, 0 if there is none.
        inode: as fstat says.
        uid: who made it.
        recv_queue: bytes that wait to be read; for a listener, connections to be accepted.
        send_queue: bytes that are not acknowledged; for a listener, its backlog.
        dev: the interface that it is bound to.
        mark: of the packets that it sends; None if the kernel does not say.
        congestion: the name of the congestion control, of TCP.
        tcp: all that TCP knows.
    """

    protocol: str
    state: str
    local: tuple[str, int]
    remote: tuple[str, int]
    inode: int
    uid: int
    recv_queue: int
    send_queue: int
    dev: str | None
    mark: int | None
    congestion: str | None
    tcp: TcpInfo | None


def sockets(client: Client, protocol: str) -> list[SocketInfo]:
    """See :meth:`rumpel.net.Net.sockets`."""
    if protocol not in _PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}, but {', '.join(_PROTOCOLS)}")
    number = _PROTOCOLS[protocol]
    found = []
    with Netlink(client.kernel.os, _NETLINK_SOCK_DIAG) as netlink:
        for family in (host.AF_INET, host.AF_INET6):
            payload = _REQUEST.pack(family, number & 0xFF, _EXTENSIONS, _ALL_STATES, bytes(48))
            if number > 0xFF:
                payload += struct.pack("=HHI", 8, 3, number)  # INET_DIAG_REQ_PROTOCOL
            answers = netlink.request(_SOCK_DIAG_BY_FAMILY, _DUMP, payload, protocol)
            found += [_socket(client, protocol, body) for body in answers]
    return found


def _socket(client: Client, protocol: str, body: bytes) -> SocketInfo:
    family, state, _, _, sport, dport, src, dst, dev, _, receive, send, uid, inode = (
        _MESSAGE.unpack_from(body)
    )
    given = attributes(body[_MESSAGE.size :])
    size = 4 if family == host.AF_INET else 16
    congestion, info, mark = given.get(_CONG), given.get(_INFO), given.get(_MARK)

    def address(packed: bytes, port: bytes) -> tuple[str, int]:
        return host.inet_ntop(family, packed[:size]), int.from_bytes(port, "big")

    return SocketInfo(
        protocol=protocol,
        state=state_name(state),
        local=address(src, sport),
        remote=address(dst, dport),
        inode=inode,
        uid=uid,
        recv_queue=receive,
        send_queue=send,
        dev=client.name(dev),
        mark=int.from_bytes(mark, "little") if mark else None,
        congestion=congestion.rstrip(b"\0").decode() if congestion else None,
        tcp=TcpInfo.from_bytes(info) if info and protocol == "tcp" else None,
    )
