# SPDX-License-Identifier: GPL-2.0-only
"""Where the stages of a fused chain are: network namespaces of one kernel, and what joins them.

Two neighbours are joined by a pair of netkit devices, as veth would do; but what it hands
over may be longer than the receiver's MTU, as on the cables and pipes between kernels.

Source: network_namespaces(7), setns(2), drivers/net/netkit.c,
Documentation/admin-guide/sysctl/net.rst.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Self

from rumpel.netlink import Calls, Rtnetlink, attribute, attributes

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Place", "join", "prepare", "wait_for_links"]

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_LO = 1
_NEWLINK, _GETLINK = 16, 18
_CREATE, _EXCL, _DUMP = 0x400, 0x200, 0x300
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_OPERSTATE, _IFLA_LINKINFO = 1, 3, 16, 18
_IFLA_NET_NS_FD, _IFLA_CARRIER = 28, 33
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_IFLA_NETKIT_PEER_INFO, _IFLA_NETKIT_MODE, _NETKIT_L2 = 1, 5, 0
_IF_OPER_UP = 6
_IFINFO = struct.Struct("=BxHiII")
_NO_LINK = bytes(_IFINFO.size)
_FIRST = 100
"""The first number of an interface. Others have lower ones."""
_PAUSE = 1e-6
_BACKLOG = 1 << 16
"""Packets that wait to be received by the next namespace. By default a burst of a thousand is
too much."""
_BIAS = 1 << 10
"""Times as many of them as of a device's are received in turn: they are on their way already."""


class Place:
    """A network namespace for a stage. As a context manager: the calling thread is in it.

    A thread may enter it that is in another one; it is not asked for asynchronous calls,
    which go by the sockets that they are about (as :class:`rumpel.net.Namespace` would).

    Args:
        k: the kernel.
    """

    def __init__(self, k: Kernel) -> None:
        self._k = k
        self._home = self._open()
        k.syscall("unshare", _CLONE_NEWNET)
        self.fd = self._open()
        with Rtnetlink(Calls(k)) as netlink:
            netlink.link("lo", _LO, None)
        self.__exit__()

    def __enter__(self) -> Self:
        self._k.syscall("setns", self.fd, _CLONE_NEWNET)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._k.state == "running":
            self._k.syscall("setns", self._home, _CLONE_NEWNET)

    def _open(self) -> int:
        return self._k.syscall("openat", -100, _OWN, os.O_RDONLY | os.O_CLOEXEC)


def prepare(k: Kernel) -> None:
    """Set what a kernel has only one of, before there are any places."""
    calls = Calls(k)
    calls.set("net/core/netdev_max_backlog", _BACKLOG)
    calls.set("net/core/dev_weight_rx_bias", _BIAS)
    # See rumpel.nf.stages.nat.
    calls.set("net/core/gro_normal_batch", 1)


def join(k: Kernel, number: int, ends: tuple[tuple[Place, str], tuple[Place, str]]) -> None:
    """Make interfaces in two places of what one sends and the other receives.

    Args:
        k: the kernel.
        number: of the pair, from which its hardware addresses are made.
        ends: where, and what they are called there.
    """
    (place, name), (other, peer) = ends

    def described(name: str, end: int) -> bytes:
        # Numbers that differ: of equal ones Linux would think that nothing is behind it, and
        # take up to a second to see that it is up.
        head = _IFINFO.pack(0, 0, _FIRST + 2 * number + end, 0, 0)
        mac = struct.pack("!HHH", 0x026E, 0x6700 | number >> 8, (number & 0xFF) << 8 | end)
        return head + attribute(_IFLA_IFNAME, name.encode() + b"\0") + attribute(_IFLA_ADDRESS, mac)

    there = described(peer, 2) + attribute(_IFLA_NET_NS_FD, struct.pack("=i", other.fd))
    data = attribute(_IFLA_NETKIT_MODE, struct.pack("=I", _NETKIT_L2))
    data += attribute(_IFLA_NETKIT_PEER_INFO, there)
    info = attribute(_IFLA_INFO_KIND, b"netkit") + attribute(_IFLA_INFO_DATA, data)
    payload = described(name, 1) + attribute(_IFLA_LINKINFO, info)
    with place, Rtnetlink(Calls(k)) as netlink:
        netlink.request(_NEWLINK, _CREATE | _EXCL, payload, name)


def wait_for_links(k: Kernel, place: Place) -> None:
    """Until all interfaces send whose both ends are up: Linux finds out a little later."""
    with place, Rtnetlink(Calls(k)) as netlink:
        while not all(map(_is_ready, netlink.request(_GETLINK, _DUMP, _NO_LINK, "links"))):
            Calls(k).sleep(_PAUSE)


def _is_ready(link: bytes) -> bool:
    found = attributes(link[_IFINFO.size :])
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND)
    has_carrier = found[_IFLA_CARRIER] == b"\x01"
    return kind != b"netkit\0" or not has_carrier or found[_IFLA_OPERSTATE][0] == _IF_OPER_UP
