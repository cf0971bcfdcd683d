# SPDX-License-Identifier: GPL-2.0-only
"""How the ports of a kernel are joined.

With few netlink messages of its own, since to import pyroute2 takes longer than a stage
may take to start.

Source: rtnetlink(7), include/uapi/linux/fib_rules.h, include/uapi/linux/ethtool.h,
Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import _socket as socket  # which is quick to import
import _struct as struct
import errno

from rumpel import _native
from rumpel.netlink import Calls, Rtnetlink, attribute, attributes, parse_address
from rumpel.nf.neighbours import answer_for_all, report_nothing, take_all
from rumpel.nf.stage import LEFT, RIGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rumpel.kernel import Kernel

__all__ = [
    "MTU",
    "MTU_MOST",
    "Way",
    "add_address",
    "add_link",
    "address",
    "bridge",
    "ethtool",
    "everything",
    "forward",
    "name_ports",
    "passed",
    "plain",
    "reach",
    "route",
    "route_between",
    "send",
    "steer",
    "steer_marked",
    "up",
    "waiting",
    "widen",
    "wire",
]

_NEWLINK, _GETLINK, _SETLINK, _NEWROUTE, _GETNEIGH, _NEWRULE, _GETQDISC = 16, 18, 19, 24, 30, 32, 38
_CREATE, _EXCL, _REPLACE, _DUMP = 0x400, 0x200, 0x100, 0x300
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO = 1, 3, 10, 0x800C, 18
_IFLA_MTU, _IFLA_LINK, _IFLA_STATS64, _IFLA_NET_NS_FD, _IFLA_MAX_MTU = 4, 5, 23, 28, 51
_NETKIT = b"netkit\0"
"""What is between two stages of a fused chain, as good as a device."""
_IFLA_BRPORT_LEARNING, _IFLA_BRPORT_ISOLATED = 8, 33
_IFLA_TXQLEN, _QUEUE = 13, 16384
"""Frames that wait for a port: what comes from a pipe is held up before there are so many."""
MTU_MOST = 65535
"""What a port may be set to."""
MTU = 1500
"""Of ports, unless what passes only passes: then it is as long as it comes."""
_IFF_NOARP = 0x80
_LIMIT = "queues/tx-0/byte_queue_limits/limit_min"
_WIRE = bytes.fromhex("026e66000001")
"""The address of both ends of a wire that has one direction."""
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_BR_MCAST_SNOOPING = 1, 2, 23
_IFINFO = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 3, 0, 253, 1
_RT_TABLE_MAIN = 254
_RULE = struct.Struct("=BBBBBxxBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NUD_INCOMPLETE = 1
_TCMSG = struct.Struct("=BxxxiIII")
_TCA_STATS2, _TCA_STATS_QUEUE = 7, 3
_SIOCETHTOOL, _ETHTOOL_VALUE = 0x8946, struct.Struct("=II")
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK = 3, 6, 10
_FR_ACT_TO_TBL, _FR_ACT_BLACKHOLE = 1, 6


_UNRESOLVED = 32 << 20
"""Bytes that wait for a neighbour's address. By default few packets do, and the rest of a flood
is lost before the first one is answered."""


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


def name_ports(k: Kernel, ports: Sequence[str], into: Sequence[int] = ()) -> None:
    """Give eth0, eth1 and so on the names of the ports, and to left and right an Ethernet's MTU.

    into: descriptors of the namespaces to which they go, if they do.
    """
    calls = Calls(k)
    with Rtnetlink(calls) as netlink:
        for number, port in enumerate(ports):
            index = netlink.index(f"eth{number}")
            # As many bytes at once as there is room for: what comes in is held up when that is
            # full, not when Linux finds that less will do, and the queue before it runs over.
            calls.put(f"/sys/class/net/eth{number}/{_LIMIT}", 1 << 30)
            payload = _IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_IFNAME, port.encode() + b"\0")
            if into:
                payload += attribute(_IFLA_NET_NS_FD, struct.pack("=i", into[number]))
            payload += attribute(_IFLA_TXQLEN, struct.pack("=I", _QUEUE))
            if port in (LEFT, RIGHT):
                payload += attribute(_IFLA_MTU, struct.pack("=I", MTU))
            netlink.request(_NEWLINK, 0, payload, port)


def plain(k: Kernel, ports: Collection[str]) -> None:
    """Let what is sent there be as on a wire: segments are cut, and have their checksums."""
    with k.socket.socket(k.socket.AF_INET, k.socket.SOCK_DGRAM) as sock:
        for port in ports:
            for command in (ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO):
                try:
                    ethtool(k, sock.fileno(), port, command, on=False)
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:  # it never was on
                        raise


def ethtool(k: Kernel, fd: int, port: str, command: int, *, on: bool) -> None:
    """Switch something on or off that a card does. fd: of any socket."""
    # Where it lies, which takes no module for buffers.
    pinned = _native.Vector([bytearray(_ETHTOOL_VALUE.pack(command, on))], writable=True)
    request = struct.pack("=16sQ16x", port.encode(), struct.unpack("=QQ", pinned)[0])
    k.syscall("ioctl", fd, _SIOCETHTOOL, request)


def address(k: Kernel, port: str, text: str, one_way: bool) -> None:
    """Give a port an address, and let everybody be behind it: the port is set up."""
    family, _, bits = parse_address(text)
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        # It would look for routers.
        _set(k, f"net/ipv6/conf/{port}/disable_ipv6", family == socket.AF_INET)
        if one_way:
            _ask_nobody(k, netlink, port, index)
        netlink.link(port, index, None)
        netlink.address(index, text if "/" in text else f"{text}/{bits}")
        _way(netlink, _RT_TABLE_MAIN, index, family)
    # As it has them with a gigabyte of memory: who talks is woken less often.
    _set(k, "net/ipv4/tcp_rmem", "4096 131072 6291456")
    _set(k, "net/ipv4/tcp_wmem", "4096 16384 4194304")


def add_address(k: Kernel, port: str, text: str) -> None:
    """Give a port an address of its own, with nobody else on its network."""
    _, _, bits = parse_address(text)
    with Rtnetlink(Calls(k)) as netlink:
        netlink.address(netlink.index(port), text if "/" in text else f"{text}/{bits}")


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


def add_link(
    k: Kernel, name: str, kind: str, data: bytes, lower: str | None = None, mtu: int | None = None
) -> None:
    """Make an interface of a kind. data: its attributes. lower: on which it stands."""
    with Rtnetlink(Calls(k)) as netlink:
        info = attribute(_IFLA_INFO_KIND, kind.encode()) + attribute(_IFLA_INFO_DATA, data)
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
        payload += attribute(_IFLA_LINKINFO, info)
        if lower is not None:
            payload += attribute(_IFLA_LINK, struct.pack("=I", netlink.index(lower)))
        if mtu is not None:
            payload += attribute(_IFLA_MTU, struct.pack("=I", mtu))
        netlink.request(_NEWLINK, _CREATE | _EXCL, payload, name)


def up(k: Kernel, port: str) -> None:
    """Set an interface up that has no addresses and says nothing."""
    _set(k, f"net/ipv6/conf/{port}/disable_ipv6", 1)
    with Rtnetlink(Calls(k)) as netlink:
        netlink.link(port, netlink.index(port), None)


def bridge(k: Kernel, ports: Sequence[str], isolated: Collection[str] = ()) -> None:
    """Make the bridge ``br0`` of these ports. It has no address and sends nothing itself.

    isolated: ports that hear nothing of each other.
    """
    # Its own address would be looked for on the link.
    _set(k, "net/ipv6/conf/default/disable_ipv6", 1)
    # Frames are for the rules of the bridge, not for those of IP, which would take them away.
    for family in ("ip", "ip6", "arp"):
        _set(k, f"net/bridge/bridge-nf-call-{family}tables", 0)
    add_link(k, "br0", "bridge", attribute(_IFLA_BR_MCAST_SNOOPING, b"\0"))
    with Rtnetlink(Calls(k)) as netlink:
        own = netlink.index("br0")
        netlink.link("br0", own, None)
        for port in ports:
            index = netlink.index(port)
            _set(k, f"net/ipv6/conf/{port}/disable_ipv6", 1)
            payload = _IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_MASTER, struct.pack("=I", own)) + _longest(netlink, index)
            netlink.request(_NEWLINK, 0, payload, port)
            # What comes from one side goes to the other: there is nothing to be learned.
            payload = _IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0)
            data = attribute(_IFLA_BRPORT_LEARNING, b"\0")
            data += attribute(_IFLA_BRPORT_ISOLATED, bytes([port in isolated]))
            payload += attribute(_IFLA_PROTINFO, data)
            netlink.request(_SETLINK, 0, payload, port)
            netlink.link(port, index, None)


def _longest(netlink: Rtnetlink, index: int) -> bytes:
    """Let a device take the longest frames that it can. Linux drops longer ones silently."""
    found = attributes(_link(netlink, index))
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, _NETKIT)
    if kind != _NETKIT:  # of this kernel's own making: what is below it sets a limit
        return b""
    return attribute(_IFLA_MTU, found[_IFLA_MAX_MTU])


def widen(k: Kernel, port: str) -> None:
    """The same for a port that is in no bridge itself."""
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        payload = _IFINFO.pack(0, 0, index, 0, 0) + _longest(netlink, index)
        netlink.request(_NEWLINK, 0, payload, port)


def _ask_nobody(k: Kernel, netlink: Rtnetlink, port: str, index: int) -> None:
    """Without address resolution Linux sends to the interface's own address.

    What comes may be for anybody: a capture is of other stations.
    """
    payload = _IFINFO.pack(0, 0, index, _IFF_NOARP, _IFF_NOARP) + attribute(_IFLA_ADDRESS, _WIRE)
    netlink.request(_NEWLINK, 0, payload, port)
    if port == LEFT:
        take_all(k, index)


def _link(netlink: Rtnetlink, index: int) -> bytes:
    """What there is to know of an interface: its attributes."""
    return netlink.request(_GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), f"#{index}")[0][
        _IFINFO.size :
    ]


def _mac(netlink: Rtnetlink, index: int) -> bytes:
    return attributes(_link(netlink, index))[_IFLA_ADDRESS]


def wire(k: Kernel, port: str, one_way: bool) -> None:
    """Set up a port, and answer there for everybody who is elsewhere.

    For IPv4 that is proxy ARP, for IPv6 see :mod:`rumpel.nf.neighbours`.
    """
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        mac = _mac(netlink, index)
        _set(k, f"net/ipv4/conf/{port}/proxy_arp", 1)
        _set(k, f"net/ipv4/conf/{port}/rp_filter", 0)
        _set(k, f"net/ipv4/conf/{port}/send_redirects", 0)
        # Answers at once: nobody else would.
        _set(k, f"net/ipv4/neigh/{port}/proxy_delay", 0)
        if not one_way:
            for family in ("ipv4", "ipv6"):
                _set(k, f"net/{family}/neigh/{port}/unres_qlen_bytes", _UNRESOLVED)
        # Nobody else has our addresses.
        _set(k, f"net/ipv6/conf/{port}/accept_dad", 0)
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


def reach(k: Kernel, port: str, own: str, other: str, one_way: bool) -> None:
    """Set up a port with an address of its own, to reach one other."""
    family, _, bits = parse_address(own)
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        _set(k, f"net/ipv6/conf/{port}/disable_ipv6", family == socket.AF_INET)
        _set(k, f"net/ipv6/conf/{port}/accept_dad", 0)
        report_nothing(k, index)
        if one_way:
            _ask_nobody(k, netlink, port, index)
        netlink.link(port, index, None)
        netlink.address(index, f"{own}/{bits}")
    send(k, [Way(port, other)])


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


def forward(k: Kernel) -> None:
    """Be a router: before any port is up, which would look for routers."""
    _set(k, "net/ipv4/ip_forward", 1)
    _set(k, "net/ipv6/conf/all/forwarding", 1)
    _set(k, "net/ipv4/conf/all/rp_filter", 0)
    # Where a packet came from is not looked up as well: who is where nobody told it.
    _set(k, "net/ipv4/conf/all/accept_local", 1)
    # Nor whether it is for a connection of its own: nearly none is.
    _set(k, "net/ipv4/ip_early_demux", 0)


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
        _set(k, f"net/ipv6/conf/{tunnel}/accept_dad", 0)
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


def waiting(k: Kernel, ports: Collection[str]) -> int:
    """Count the packets that wait in queues of ports, and neighbours that are looked for."""
    with Rtnetlink(Calls(k)) as netlink:
        indexes = {netlink.index(port) for port in ports}
        count = 0
        for answer in netlink.request(_GETQDISC, _DUMP, _TCMSG.pack(0, 0, 0, 0, 0), "queues"):
            if _TCMSG.unpack_from(answer)[1] in indexes:
                stats = attributes(attributes(answer[_TCMSG.size :])[_TCA_STATS2])
                count += int.from_bytes(stats[_TCA_STATS_QUEUE][:4], "little")
        ask = _NEIGHBOUR.pack(0, 0, 0, 0, 0)
        for answer in netlink.request(_GETNEIGH, _DUMP, ask, "neighbours"):
            _, index, state, _, _ = _NEIGHBOUR.unpack_from(answer)
            count += index in indexes and state == _NUD_INCOMPLETE
        return count


def passed(k: Kernel, ports: Collection[str]) -> list[bytes]:
    """Get the counters of ports, which change while packets pass."""
    with Rtnetlink(Calls(k)) as netlink:
        found = (attributes(_link(netlink, netlink.index(port))) for port in ports)
        return [each[_IFLA_STATS64] for each in found]


def _set(k: Kernel, name: str, value: int | str) -> None:
    Calls(k).set(name, value)
