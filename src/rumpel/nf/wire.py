# SPDX-License-Identifier: GPL-2.0-only
"""The ports of a kernel, and how they are joined at the level of Ethernet.

With few netlink messages of its own, since to import pyroute2 takes longer than a stage
may take to start.

Source: rtnetlink(7), include/uapi/linux/ethtool.h.
"""

from __future__ import annotations

import _socket as socket  # which is quick to import
import _struct as struct
import errno

from rumpel import _native
from rumpel.netlink import Calls, Rtnetlink, attribute, attributes
from rumpel.nf.stage import LEFT, RIGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rumpel.kernel import Kernel

__all__ = [
    "IFINFO",
    "IFLA_ADDRESS",
    "MTU",
    "MTU_MOST",
    "NEWLINK",
    "add_link",
    "bridge",
    "described",
    "ethtool",
    "name_ports",
    "passed",
    "plain",
    "up",
    "waiting",
    "widen",
]

NEWLINK = 16
_GETLINK, _SETLINK, _GETNEIGH, _GETQDISC = 18, 19, 30, 38
_CREATE, _EXCL, _DUMP = 0x400, 0x200, 0x300
IFINFO = struct.Struct("=BxHiII")
IFLA_ADDRESS = 1
_IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_TXQLEN = 3, 4, 5, 10, 13
_IFLA_LINKINFO, _IFLA_STATS64, _IFLA_NET_NS_FD, _IFLA_MAX_MTU = 18, 23, 28, 51
_IFLA_PROTINFO, _IFLA_BRPORT_LEARNING, _IFLA_BRPORT_ISOLATED = 0x800C, 8, 33
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_BR_MCAST_SNOOPING = 1, 2, 23
_NETKIT = b"netkit\0"
"""What is between two stages of a fused chain, as good as a device."""
_QUEUE = (1 << 15) - 1
"""Frames that wait for a port, as many as Linux allows. What comes from a pipe is held up before
there are so many, but what has waited for a neighbour's address comes at once."""
MTU_MOST = 65535
"""What a port may be set to."""
MTU = 1500
"""Of ports, unless what passes only passes: then it is as long as it comes."""
_LIMIT = "queues/tx-0/byte_queue_limits/limit_min"
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NUD_INCOMPLETE = 1
_TCMSG = struct.Struct("=BxxxiIII")
_TCA_STATS2, _TCA_STATS_QUEUE = 7, 3
_SIOCETHTOOL, _ETHTOOL_VALUE = 0x8946, struct.Struct("=II")
ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x1F, 0x24, 0x2C


def name_ports(k: Kernel, ports: Sequence[str], into: Sequence[int] = ()) -> None:
    """Give eth0, eth1 and so on the names of the ports, and to left and right an Ethernet's MTU.

    into: descriptors of the namespaces to which they go, if they do.
    """
    calls = Calls(k)
    # A list. The usual one is an array with room for all that may ever wait.
    calls.set("net/core/default_qdisc", "pfifo")
    with Rtnetlink(calls) as netlink:
        for number, port in enumerate(ports):
            index = netlink.index(f"eth{number}")
            # As many bytes at once as there is room for: what comes in is held up when that is
            # full, not when Linux finds that less will do, and the queue before it runs over.
            calls.put(f"/sys/class/net/eth{number}/{_LIMIT}", 1 << 30)
            payload = IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_IFNAME, port.encode() + b"\0")
            if into:
                payload += attribute(_IFLA_NET_NS_FD, struct.pack("=i", into[number]))
            payload += attribute(_IFLA_TXQLEN, struct.pack("=I", _QUEUE))
            if port in (LEFT, RIGHT):
                payload += attribute(_IFLA_MTU, struct.pack("=I", MTU))
            netlink.request(NEWLINK, 0, payload, port)


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


def add_link(
    k: Kernel, name: str, kind: str, data: bytes, lower: str | None = None, mtu: int | None = None
) -> None:
    """Make an interface of a kind. data: its attributes. lower: on which it stands."""
    with Rtnetlink(Calls(k)) as netlink:
        info = attribute(_IFLA_INFO_KIND, kind.encode()) + attribute(_IFLA_INFO_DATA, data)
        payload = IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
        payload += attribute(_IFLA_LINKINFO, info)
        if lower is not None:
            payload += attribute(_IFLA_LINK, struct.pack("=I", netlink.index(lower)))
        if mtu is not None:
            payload += attribute(_IFLA_MTU, struct.pack("=I", mtu))
        netlink.request(NEWLINK, _CREATE | _EXCL, payload, name)


def up(k: Kernel, port: str) -> None:
    """Set an interface up that has no addresses and says nothing."""
    Calls(k).set(f"net/ipv6/conf/{port}/disable_ipv6", 1)
    with Rtnetlink(Calls(k)) as netlink:
        netlink.link(port, netlink.index(port), None)


def bridge(
    k: Kernel, ports: Sequence[str], isolated: Collection[str] = (), *, learns: bool = False
) -> None:
    """Make the bridge ``br0`` of these ports. It has no address and sends nothing itself.

    Args:
        k: the kernel.
        ports: interfaces.
        isolated: ports that hear nothing of each other.
        learns: it finds out who is where. Of two ports there is nothing to be learned: what
            comes from one goes to the other.
    """
    # Its own address would be looked for on the link.
    Calls(k).set("net/ipv6/conf/default/disable_ipv6", 1)
    # Frames are for the rules of the bridge, not for those of IP, which would take them away.
    for family in ("ip", "ip6", "arp"):
        Calls(k).set(f"net/bridge/bridge-nf-call-{family}tables", 0)
    add_link(k, "br0", "bridge", attribute(_IFLA_BR_MCAST_SNOOPING, b"\0"))
    with Rtnetlink(Calls(k)) as netlink:
        own = netlink.index("br0")
        netlink.link("br0", own, None)
        for port in ports:
            index = netlink.index(port)
            Calls(k).set(f"net/ipv6/conf/{port}/disable_ipv6", 1)
            payload = IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_MASTER, struct.pack("=I", own)) + _longest(netlink, index)
            netlink.request(NEWLINK, 0, payload, port)
            payload = IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0)
            data = attribute(_IFLA_BRPORT_LEARNING, bytes([learns]))
            data += attribute(_IFLA_BRPORT_ISOLATED, bytes([port in isolated]))
            payload += attribute(_IFLA_PROTINFO, data)
            netlink.request(_SETLINK, 0, payload, port)
            netlink.link(port, index, None)


def _longest(netlink: Rtnetlink, index: int) -> bytes:
    """Let a device take the longest frames that it can. Linux drops longer ones silently."""
    found = attributes(described(netlink, index))
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, _NETKIT)
    if kind != _NETKIT:  # of this kernel's own making: what is below it sets a limit
        return b""
    return attribute(_IFLA_MTU, found[_IFLA_MAX_MTU])


def widen(k: Kernel, port: str) -> None:
    """The same for a port that is in no bridge itself."""
    with Rtnetlink(Calls(k)) as netlink:
        index = netlink.index(port)
        payload = IFINFO.pack(0, 0, index, 0, 0) + _longest(netlink, index)
        netlink.request(NEWLINK, 0, payload, port)


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
        found = (attributes(described(netlink, netlink.index(port))) for port in ports)
        return [each[_IFLA_STATS64] for each in found]


def described(netlink: Rtnetlink, index: int) -> bytes:
    """What there is to know of an interface: its attributes."""
    return netlink.request(_GETLINK, 0, IFINFO.pack(0, 0, index, 0, 0), f"#{index}")[0][
        IFINFO.size :
    ]
