# SPDX-License-Identifier: GPL-2.0-only
"""Where the stages of a fused chain are: network namespaces of one kernel, and what joins them.

Two neighbours are joined by a pair of netkit devices, as veth would do; but what it hands
over may be longer than the receiver's MTU, as on the cables and pipes between kernels.

Source: network_namespaces(7), setns(2), drivers/net/netkit.c,
Documentation/admin-guide/sysctl/net.rst.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

from rumpel.errors import RumpelError
from rumpel.netlink import Calls, Rtnetlink, attribute, attributes
from rumpel.nf.stage import StageError

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Namespace", "Namespaces", "join", "named", "wait_for_links"]

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
_DELNEIGH, _GETNEIGH, _NUD_INCOMPLETE = 29, 30, 1
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NO_NEIGHBOUR = bytes(_NEIGHBOUR.size)
_FIRST = 100
"""The first number of an interface. Others have lower ones."""
_PAUSE = 1e-6
_BACKLOG = 1 << 16
"""Packets that wait to be received by the next namespace. By default a burst of a thousand is
too much."""
_BIAS = 1 << 10
"""Times as many of them as of a device's are received in turn: they are on their way already."""


class Namespaces:
    """The network namespaces of a kernel, for stages. It is prepared for them.

    Args:
        k: the kernel.
    """

    def __init__(self, k: Kernel) -> None:
        self._k = k
        self._home = self._own()
        self._here = threading.local()
        # Of these a kernel has only one, which the first namespace has.
        calls = Calls(k)
        calls.set("net/core/netdev_max_backlog", _BACKLOG)
        calls.set("net/core/dev_weight_rx_bias", _BIAS)
        # Nobody has asked for tunl0, gre0 and eight more: half of the time that a namespace takes.
        calls.set("net/core/fb_tunnels_only_for_init_net", 1)
        # Rules of filters log there, too.
        calls.set("net/netfilter/nf_log_all_netns", 1)
        # See rumpel.nf.stages.nat.
        calls.set("net/core/gro_normal_batch", 1)

    def add(self, name: str = "") -> Namespace:
        """Make a namespace, in which only ``lo`` is up. name: of the stage that is there."""
        self._k.syscall("unshare", _CLONE_NEWNET)
        try:
            with Rtnetlink(Calls(self._k)) as netlink:
                netlink.link("lo", _LO, None)
            return Namespace(self, self._own(), name)
        finally:
            self._move(self._home)

    def enter(self, fd: int) -> None:
        """Let the calling thread be in a namespace."""
        self._move(fd)
        self._stack.append(fd)

    def leave(self) -> None:
        """Let it be again where it was."""
        self._stack.pop()
        if self._k.state == "running":
            self._move(self._stack[-1])

    @property
    def _stack(self) -> list[int]:
        stack: list[int] = self._here.__dict__.setdefault("stack", [self._home])
        return stack

    def _move(self, fd: int) -> None:
        self._k.syscall("setns", fd, _CLONE_NEWNET)

    def _own(self) -> int:
        return self._k.syscall("openat", -100, _OWN, os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """A network namespace. As a context manager: the calling thread is in it.

    Asynchronous calls go on there as well, since sockets are where they were made
    (:class:`rumpel.net.Namespace` refuses them).

    Attributes:
        fd: of the kernel, for others that name it.
        name: of the stage that is there.
    """

    def __init__(self, namespaces: Namespaces, fd: int, name: str) -> None:
        self._all = namespaces
        self.fd = fd
        self.name = name

    def __enter__(self) -> Self:
        self._all.enter(self.fd)
        return self

    def __exit__(self, *exc: object) -> None:
        self._all.leave()


@contextlib.contextmanager
def named(namespace: Namespace) -> Iterator[None]:
    """Say which stage of a chain it was, whatever is wrong with what it does."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, RumpelError)
        if known and not isinstance(error, StageError):
            raise
        what = str(error) if known else f"{type(error).__name__}: {error}"
        if isinstance(error, KeyError) and str(error.args[0]).startswith("net."):
            what = (
                f"{error.args[0]} is no setting of a network namespace: it is of the whole"
                " kernel, which the stages of this chain share"
            )
        raise StageError(f"{namespace.name}: {what}") from (None if known else error)


def join(k: Kernel, number: int, ends: tuple[tuple[Namespace, str], tuple[Namespace, str]]) -> None:
    """Make interfaces in two namespaces of what one sends and the other receives.

    Args:
        k: the kernel.
        number: of the pair, from which its hardware addresses are made.
        ends: where, and what they are called there.
    """
    (namespace, name), (other, peer) = ends

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
    with namespace, Rtnetlink(Calls(k)) as netlink:
        netlink.request(_NEWLINK, _CREATE | _EXCL, payload, name)


def wait_for_links(k: Kernel, namespaces: Sequence[Namespace]) -> None:
    """Until all interfaces send whose both ends are up: Linux finds out a little later.

    Who has been asked for an address meanwhile, of interfaces that have just come up, may not
    have heard it, and would be asked again a second later: that is forgotten.
    """
    for namespace in namespaces:
        with namespace, Rtnetlink(Calls(k)) as netlink:
            while not all(map(_is_ready, netlink.request(_GETLINK, _DUMP, _NO_LINK, "links"))):
                Calls(k).sleep(_PAUSE)
    for namespace in namespaces:
        with namespace, Rtnetlink(Calls(k)) as netlink:
            for neighbour in netlink.request(_GETNEIGH, _DUMP, _NO_NEIGHBOUR, "neighbours"):
                if _NEIGHBOUR.unpack_from(neighbour)[2] == _NUD_INCOMPLETE:
                    with contextlib.suppress(FileNotFoundError):  # it has just gone
                        netlink.request(_DELNEIGH, 0, neighbour, "neighbour")


def _is_ready(link: bytes) -> bool:
    found = attributes(link[_IFINFO.size :])
    kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND)
    has_carrier = found[_IFLA_CARRIER] == b"\x01"
    return kind != b"netkit\0" or not has_carrier or found[_IFLA_OPERSTATE][0] == _IF_OPER_UP
