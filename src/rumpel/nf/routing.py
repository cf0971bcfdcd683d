# SPDX-License-Identifier: GPL-2.0-only
"""How the ports of a kernel are joined at the level of IP: addresses, and ways between ports.

Source: rtnetlink(7), include/uapi/linux/fib_rules.h, Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import _socket as socket  # which is quick to import
import _struct as struct

from rumpel.netlink import Calls, Rtnetlink, attribute, attributes, parse_address
from rumpel.nf.neighbours import answer_for_all, report_nothing, take_all
from rumpel.nf.stage import LEFT
from rumpel.nf.wire import IFINFO, IFLA_ADDRESS, NEWLINK, described

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rumpel.kernel import Kernel

__all__ = [
    "Way",
    "add_address",
    "address",
    "everything",
    "forward",
    "reach",
    "route",
    "route_between",
    "send",
    "steer",
    "steer_marked",
    "wire",
]

_NEWROUTE, _NEWRULE = 24, 32
_CREATE, _EXCL, _REPLACE = 0x400, 0x200, 0x100
_IFF_NOARP = 0x80
_WIRE = bytes.fromhex("026e66000001")
"""The address of both ends of a wire that has one direction."""
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 3, 0, 253, 1
_RT_TABLE_MAIN = 254
_RULE = struct.Struct("=BBBBBxxBI")
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK = 3, 6, 10
_FR_ACT_TO_TBL, _FR_ACT_BLACKHOLE = 1, 6
_UNRESOLVED = 24 << 20
"""Bytes that wait for a neighbour's address: of the smallest packets as many as a port's queue has
room for (wire._QUEUE). By default few do, and the rest of a flood is lost before the first one is
answered."""


class Way:
    """A way out of a kernel.

    Args:
        port: the interface.
        to: a network that is there, or the family (AF_INET, AF_INET6) whose default it is.
        gateway: who sends it on, if they are not all on the link.
    """

    def __init__(self, port: str, to: str | int, gateway: str | None = None) -> None:
        self.port = port
        self.to = to
        self.gateway = gateway


def address(k: Kernel, port: str, text: str, one_way: bool) -> None:
    """Give a port an address, and let everybody be behind it: the port is set up."""
    family, _, bits = parse_address(text)
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        # It would look for routers.
        Calls(k).set(f"net/ipv6/conf/{port}/disable_ipv6", family == socket.AF_INET)
        if one_way:
            _ask_nobody(k, netlink, port, index)
        netlink.link(port, index, None)
        netlink.address(index, text if "/" in text else f"{text}/{bits}")
        _way(netlink, _RT_TABLE_MAIN, index, family)
    # As it has them with a gigabyte of memory: who talks is woken less often.
    Calls(k).set("net/ipv4/tcp_rmem", "4096 131072 6291456")
    Calls(k).set("net/ipv4/tcp_wmem", "4096 16384 4194304")


def add_address(k: Kernel, port: str, text: str) -> None:
    """Give a port an address of its own, with nobody else on its network."""
    _, _, bits = parse_address(text)
    with Rtnetlink(Calls(k)) as netlink:
        netlink.address(netlink.index(port), text if "/" in text else f"{text}/{bits}")


def wire(k: Kernel, port: str, one_way: bool) -> None:
    """Set up a port, and answer there for everybody who is elsewhere.

    For IPv4 that is proxy ARP, for IPv6 see :mod:`rumpel.nf.neighbours`.
    """
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        mac = attributes(described(netlink, index))[IFLA_ADDRESS]
        Calls(k).set(f"net/ipv4/conf/{port}/proxy_arp", 1)
        Calls(k).set(f"net/ipv4/conf/{port}/rp_filter", 0)
        Calls(k).set(f"net/ipv4/conf/{port}/send_redirects", 0)
        # Answers at once: nobody else would.
        Calls(k).set(f"net/ipv4/neigh/{port}/proxy_delay", 0)
        if not one_way:
            for family in ("ipv4", "ipv6"):
                Calls(k).set(f"net/{family}/neigh/{port}/unres_qlen_bytes", _UNRESOLVED)
        # Nobody else has our addresses.
        Calls(k).set(f"net/ipv6/conf/{port}/accept_dad", 0)
        report_nothing(k, index)
        if one_way:
            _ask_nobody(k, netlink, port, index)
        else:
            answer_for_all(k, index, mac)
        netlink.link(port, index, None)
        # To ask for others it takes an address: nobody answers those who have none. These
        # are of the link (RFC 3927), and unique local ones, which reports of errors come from.
        netlink.address(index, f"169.254.{mac[4] % 254 + 1}.{mac[5]}/32")
        netlink.address(index, f"fd6e:66::{mac[4]:x}:{mac[5]:x}/128")


def _ask_nobody(k: Kernel, netlink: Rtnetlink, port: str, index: int) -> None:
    """Without address resolution Linux sends to the interface's own address.

    What comes may be for anybody: a capture is of other stations.
    """
    payload = IFINFO.pack(0, 0, index, _IFF_NOARP, _IFF_NOARP) + attribute(IFLA_ADDRESS, _WIRE)
    netlink.request(NEWLINK, 0, payload, port)
    if port == LEFT:
        take_all(k, index)


def reach(k: Kernel, port: str, own: str, other: str, one_way: bool) -> None:
    """Set up a port with an address of its own, to reach one other."""
    family, _, bits = parse_address(own)
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        Calls(k).set(f"net/ipv6/conf/{port}/disable_ipv6", family == socket.AF_INET)
        Calls(k).set(f"net/ipv6/conf/{port}/accept_dad", 0)
        report_nothing(k, index)
        if one_way:
            _ask_nobody(k, netlink, port, index)
        netlink.link(port, index, None)
        netlink.address(index, f"{own}/{bits}")
    send(k, [Way(port, other)])


def forward(k: Kernel) -> None:
    """Be a router: before any port is up, which would look for routers."""
    Calls(k).set("net/ipv4/ip_forward", 1)
    Calls(k).set("net/ipv6/conf/all/forwarding", 1)
    Calls(k).set("net/ipv4/conf/all/rp_filter", 0)
    # Where a packet came from is not looked up as well: who is where nobody told it.
    Calls(k).set("net/ipv4/conf/all/accept_local", 1)
    # Nor whether it is for a connection of its own: nearly none is.
    Calls(k).set("net/ipv4/ip_early_demux", 0)


def steer(k: Kernel, port: str, ways: Sequence[Way], table: int) -> None:
    """Send what comes in on a port out on others; without any way, nowhere.

    Args:
        k: the kernel.
        port: where it comes in.
        ways: where it goes.
        table: the number of a routing table of its own.
    """
    with Rtnetlink(Calls(k)) as netlink:
        for way in ways:
            _way(netlink, table, netlink.index(way.port), way.to, way.gateway)
        action = _FR_ACT_TO_TBL if ways else _FR_ACT_BLACKHOLE
        for family in (socket.AF_INET, socket.AF_INET6):
            payload = _RULE.pack(family, 0, 0, 0, table, action, 0)
            payload += attribute(_FRA_IIFNAME, port.encode() + b"\0")
            payload += attribute(_FRA_PRIORITY, struct.pack("=I", table))
            netlink.request(_NEWRULE, _CREATE | _EXCL, payload, port)


def steer_marked(k: Kernel, mark: int, port: str, family: int, table: int) -> None:
    """Send packets of the kernel's own that have a mark out on a port, whoever they are for."""
    with Rtnetlink(Calls(k)) as netlink:
        _way(netlink, table, netlink.index(port), family)
        payload = _RULE.pack(family, 0, 0, 0, table, _FR_ACT_TO_TBL, 0)
        payload += attribute(_FRA_FWMARK, struct.pack("=I", mark))
        payload += attribute(_FRA_PRIORITY, struct.pack("=I", table))
        netlink.request(_NEWRULE, _CREATE | _EXCL, payload, port)


def send(k: Kernel, ways: Sequence[Way]) -> None:
    """Say where the kernel sends what it sends itself."""
    with Rtnetlink(Calls(k)) as netlink:
        for way in ways:
            _way(netlink, _RT_TABLE_MAIN, netlink.index(way.port), way.to, way.gateway)


def everything(port: str) -> list[Way]:
    """Of both families, whoever it is for."""
    return [Way(port, socket.AF_INET), Way(port, socket.AF_INET6)]


def route_between(k: Kernel, port: str, tunnel: str, one_way: bool) -> None:
    """The same as :func:`route` with a tunnel for IP, which has no neighbours, on one side."""
    wire(k, port, one_way)
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(tunnel)
        Calls(k).set(f"net/ipv6/conf/{tunnel}/accept_dad", 0)
        report_nothing(k, index, ethernet=False)
        netlink.link(tunnel, index, None)
    steer(k, port, everything(tunnel), 100)
    steer(k, tunnel, everything(port), 101)
    send(k, everything(port))


def route(k: Kernel, one_way: Collection[str], left: str = "left", right: str = "right") -> None:
    """Route what comes in on one port out on the other, whatever the addresses are.

    The kernel answers for everybody on the other side, so neither side has to know that
    there is a router. What the kernel sends itself goes to the left, where connections come
    from, unless it has a better route.
    """
    forward(k)
    for port in (left, right):
        wire(k, port, port in one_way)
    steer(k, left, everything(right), 100)
    steer(k, right, everything(left), 101)
    send(k, everything(left))


def _way(
    netlink: Rtnetlink, table: int, index: int, to: str | int, gateway: str | None = None
) -> None:
    """Add a route. to: a network, or the family whose default it is."""
    if isinstance(to, int):
        family, bits, packed = to, 0, b""
    else:
        address, _, length = to.partition("/")
        family, packed, most = parse_address(address)
        bits = int(length) if length else most
    scope = _RT_SCOPE_LINK if gateway is None else _RT_SCOPE_UNIVERSE
    payload = _ROUTE.pack(family, bits, 0, 0, table, _RTPROT_BOOT, scope, _RTN_UNICAST, 0)
    if bits:
        payload += attribute(_RTA_DST, packed)
    if gateway is not None:
        payload += attribute(_RTA_GATEWAY, parse_address(gateway)[1])
    payload += attribute(_RTA_OIF, struct.pack("=i", index))
    netlink.request(_NEWROUTE, _CREATE | _REPLACE, payload, "route")
