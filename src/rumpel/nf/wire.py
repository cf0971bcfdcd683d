# SPDX-License-Identifier: GPL-2.0-only
"""How the ports of a kernel are joined.

With few netlink messages of its own, since to import pyroute2 takes longer than a stage
may take to start.

Source: rtnetlink(7), include/uapi/linux/fib_rules.h, Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rumpel.netlink import Rtnetlink, attribute, attributes, parse_address

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["add_address", "address", "bridge", "name_ports", "route", "up"]

_NEWLINK, _GETLINK, _SETLINK, _NEWROUTE, _NEWRULE = 16, 18, 19, 24, 32
_CREATE, _EXCL, _REPLACE = 0x400, 0x200, 0x100
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO = 1, 3, 10, 0x800C, 18
_IFLA_BRPORT_LEARNING = 8
_IFF_NOARP = 0x80
_WIRE = bytes.fromhex("026e66000001")
"""The address of both ends of a wire that has one direction."""
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_BR_MCAST_SNOOPING = 1, 2, 23
_IFINFO = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_OIF = 1, 4
_RTPROT_BOOT, _RT_SCOPE_LINK, _RTN_UNICAST = 3, 253, 1
_RT_TABLE_MAIN = 254
_RULE = struct.Struct("=BBBBBxxBI")
_FRA_IIFNAME, _FRA_PRIORITY = 3, 6
_FR_ACT_TO_TBL = 1
_TABLES = {"left": 100, "right": 101}
"""For what comes in on a port: the table that sends it to the other one."""


def name_ports(k: Kernel, ports: Sequence[str]) -> None:
    """Give eth0, eth1 and so on the names of the ports."""
    with Rtnetlink(k.os) as netlink:
        for number, port in enumerate(ports):
            index = netlink.index(f"eth{number}")
            payload = _IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_IFNAME, port.encode() + b"\0")
            netlink.request(_NEWLINK, 0, payload, port)


def up(k: Kernel, *ports: str) -> None:
    """Set ports up."""
    with Rtnetlink(k.os) as netlink:
        for port in ports:
            netlink.link(port, netlink.index(port), None)


def address(k: Kernel, port: str, text: str, one_way: bool) -> None:
    """Give a port an address, and let everybody be behind it: the port is set up."""
    family, _, bits = parse_address(text)
    with Rtnetlink(k.os) as netlink:
        index = netlink.index(port)
        # It would look for routers.
        _set(k, f"net/ipv6/conf/{port}/disable_ipv6", family == socket.AF_INET)
        if one_way:
            _ask_nobody(netlink, port, index)
        netlink.link(port, index, None)
        netlink.address(index, text if "/" in text else f"{text}/{bits}")
        _default(netlink, family, index, _RT_TABLE_MAIN)


def add_address(k: Kernel, port: str, text: str) -> None:
    """Give a port an address of its own, with nobody else on its network."""
    _, _, bits = parse_address(text)
    with Rtnetlink(k.os) as netlink:
        netlink.address(netlink.index(port), text if "/" in text else f"{text}/{bits}")


def _default(netlink: Rtnetlink, family: int, index: int, table: int) -> None:
    payload = _ROUTE.pack(family, 0, 0, 0, table, _RTPROT_BOOT, _RT_SCOPE_LINK, _RTN_UNICAST, 0)
    payload += attribute(_RTA_OIF, struct.pack("=i", index))
    netlink.request(_NEWROUTE, _CREATE | _REPLACE, payload, "default route")


def bridge(k: Kernel, ports: Sequence[str]) -> None:
    """Make the bridge ``br0`` of these ports. It has no address and sends nothing itself."""
    # Its own address would be looked for on the link.
    _set(k, "net/ipv6/conf/default/disable_ipv6", 1)
    with Rtnetlink(k.os) as netlink:
        data = attribute(_IFLA_BR_MCAST_SNOOPING, b"\0")
        info = attribute(_IFLA_INFO_KIND, b"bridge") + attribute(_IFLA_INFO_DATA, data)
        payload = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, b"br0\0")
        payload += attribute(_IFLA_LINKINFO, info)
        netlink.request(_NEWLINK, _CREATE | _EXCL, payload, "br0")
        own = netlink.index("br0")
        netlink.link("br0", own, None)
        for port in ports:
            index = netlink.index(port)
            _set(k, f"net/ipv6/conf/{port}/disable_ipv6", 1)
            payload = _IFINFO.pack(0, 0, index, 0, 0)
            payload += attribute(_IFLA_MASTER, struct.pack("=I", own))
            netlink.request(_NEWLINK, 0, payload, port)
            # What comes from one side goes to the other: there is nothing to be learned.
            payload = _IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0)
            payload += attribute(_IFLA_PROTINFO, attribute(_IFLA_BRPORT_LEARNING, b"\0"))
            netlink.request(_SETLINK, 0, payload, port)
            netlink.link(port, index, None)


def _ask_nobody(netlink: Rtnetlink, port: str, index: int) -> None:
    """Without address resolution Linux sends to the interface's own address."""
    payload = _IFINFO.pack(0, 0, index, _IFF_NOARP, _IFF_NOARP) + attribute(_IFLA_ADDRESS, _WIRE)
    netlink.request(_NEWLINK, 0, payload, port)


def _link_local(netlink: Rtnetlink, index: int) -> str:
    """An address of the link (RFC 3927) made of the interface's MAC address."""
    answer = netlink.request(_GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0), f"#{index}")[0]
    mac = attributes(answer[_IFINFO.size :])[_IFLA_ADDRESS]
    return f"169.254.{mac[4] % 254 + 1}.{mac[5]}"


def route(k: Kernel, one_way: Collection[str]) -> None:
    """Route what comes in on one port out on the other, whatever the IPv4 addresses are.

    The kernel answers for everybody on the other side (proxy ARP), so neither side has to
    know that there is a router. What the kernel sends itself goes to the left, where
    connections come from, unless it has a better route. Linux has no such thing for IPv6,
    which is not routed.
    """
    _set(k, "net/ipv4/ip_forward", 1)
    _set(k, "net/ipv4/conf/all/rp_filter", 0)
    with Rtnetlink(k.os) as netlink:
        indexes = {port: netlink.index(port) for port in ("left", "right")}
        for port, index in indexes.items():
            _set(k, f"net/ipv6/conf/{port}/disable_ipv6", 1)
            _set(k, f"net/ipv4/conf/{port}/proxy_arp", 1)
            _set(k, f"net/ipv4/conf/{port}/rp_filter", 0)
            _set(k, f"net/ipv4/conf/{port}/send_redirects", 0)
            # Answers at once: nobody else would.
            _set(k, f"net/ipv4/neigh/{port}/proxy_delay", 0)
            if port in one_way:
                _ask_nobody(netlink, port, index)
            netlink.link(port, index, None)
            # To ask for others it takes an address: nobody answers those who have none.
            netlink.address(index, f"{_link_local(netlink, index)}/32")
        for port, other in (("left", "right"), ("right", "left")):
            table = _TABLES[port]
            _default(netlink, socket.AF_INET, indexes[other], table)
            payload = _RULE.pack(socket.AF_INET, 0, 0, 0, table, _FR_ACT_TO_TBL, 0)
            payload += attribute(_FRA_IIFNAME, port.encode() + b"\0")
            payload += attribute(_FRA_PRIORITY, struct.pack("=I", table))
            netlink.request(_NEWRULE, _CREATE | _EXCL, payload, port)
        _default(netlink, socket.AF_INET, indexes["left"], _RT_TABLE_MAIN)


def _set(k: Kernel, name: str, value: int) -> None:
    fd = k.os.open(f"/proc/sys/{name}", k.os.O_WRONLY)
    try:
        k.os.write(fd, b"%d" % value)
    finally:
        k.os.close(fd)
