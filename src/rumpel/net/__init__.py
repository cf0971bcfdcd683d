# SPDX-License-Identifier: GPL-2.0-only
"""The network of a library kernel: ``kernel.net``, ``kernel.iproute()``, ``kernel.pyroute2``.

``transport`` puts the classes of pyroute2 on a kernel and ``module`` gathers them. On top
of it is a short layer with the names of the field: ``links``, ``wireguard``, ``routes``,
``mptcp``, ``namespaces``. ``traffic`` (with ``disciplines``) and ``sockets`` (with
``tcpinfo``) speak netlink themselves: the kernel has more options and fields there than
pyroute2 knows. ``nft`` lets the program of that name work on the kernel.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from rumpel.net.client import Client

if TYPE_CHECKING:
    from rumpel.kernel import Kernel
    from rumpel.net.links import Interface, Links, Statistics
    from rumpel.net.mptcp import IPPROTO_MPTCP, Endpoint, Limits, Mptcp
    from rumpel.net.namespaces import Namespace, Namespaces
    from rumpel.net.routes import Neighbour, Neighbours, Route, Routes, Rule, Rules
    from rumpel.net.sockets import SocketInfo
    from rumpel.net.tcpinfo import TcpInfo
    from rumpel.net.traffic import Class, Qdisc, Qdiscs
    from rumpel.net.wireguard import Peer, WireGuard

__all__ = [
    "IPPROTO_MPTCP",
    "Class",
    "Endpoint",
    "Interface",
    "Limits",
    "Namespace",
    "Neighbour",
    "Net",
    "Peer",
    "Qdisc",
    "Route",
    "Rule",
    "SocketInfo",
    "Statistics",
    "TcpInfo",
    "WireGuard",
]


_MODULES = {
    "IPPROTO_MPTCP": "mptcp",
    "Class": "traffic",
    "Endpoint": "mptcp",
    "Interface": "links",
    "Limits": "mptcp",
    "Namespace": "namespaces",
    "Neighbour": "routes",
    "Peer": "wireguard",
    "Qdisc": "traffic",
    "Route": "routes",
    "Rule": "routes",
    "SocketInfo": "sockets",
    "Statistics": "links",
    "TcpInfo": "tcpinfo",
    "WireGuard": "wireguard",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a part when it is used: all of them take longer than a kernel to start."""
        module = _MODULES.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"rumpel.net.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})


class Net:
    """The network of a kernel, in the network namespace of the calling thread.

    Errors of the kernel are OSErrors, with its own explanation where it gives one.

    Example:
        >>> k.net.add_link("br0", kind="bridge").add_address("10.0.0.1/24").up()  # doctest: +SKIP
        >>> k.net.link("eth0").up().master = "br0"  # doctest: +SKIP
        >>> k.net.routes.add("default", via="10.0.0.254")  # doctest: +SKIP
    """

    def __init__(self, kernel: Kernel) -> None:
        self._client = Client(kernel)

    @cached_property
    def links(self) -> Links:
        """The interfaces, a mapping by name."""
        from rumpel.net.links import Links

        return Links(self._client)

    @cached_property
    def routes(self) -> Routes:
        """The routes of the table main; others by ``routes.table(number)``."""
        from rumpel.net.routes import Routes

        return Routes(self._client)

    @cached_property
    def rules(self) -> Rules:
        """The rules that choose a table."""
        from rumpel.net.routes import Rules

        return Rules(self._client)

    @cached_property
    def neighbours(self) -> Neighbours:
        """What ARP and neighbour discovery found."""
        from rumpel.net.routes import Neighbours

        return Neighbours(self._client)

    @cached_property
    def qdisc(self) -> Qdiscs:
        """Queueing disciplines, their classes and filters."""
        from rumpel.net.traffic import Qdiscs

        return Qdiscs(self._client)

    @cached_property
    def mptcp(self) -> Mptcp:
        """The addresses that take part in MPTCP."""
        from rumpel.net.mptcp import Mptcp

        return Mptcp(self._client)

    @cached_property
    def namespaces(self) -> Namespaces:
        """The named network namespaces."""
        from rumpel.net.namespaces import Namespaces

        return Namespaces(self._client.kernel)

    def link(self, name: str) -> Interface:
        """Find an interface.

        Raises:
            OSError: ENODEV if there is none.
        """
        return self.links.link(name)

    def add_link(
        self,
        name: str,
        kind: str,
        *,
        link: str | Interface | None = None,
        peer: str | None = None,
        peer_namespace: Namespace | None = None,
        master: str | Interface | None = None,
        mac: str | None = None,
        mtu: int | None = None,
        **options: Any,
    ) -> Interface:
        """Make an interface. It is down and has no addresses.

        Args:
            name: of the interface.
            kind: ``bridge``, ``veth``, ``vlan``, ``vxlan``, ``gre``, ``wireguard``, ``vrf``,
                ``dummy``, ``bond``, ``macvlan`` and so on.
            link: the interface that it stands on, as a VLAN does.
            peer: the name of the other end of a veth.
            peer_namespace: where that end is.
            master: the bridge, bond or VRF that it is a port of.
            mac: its hardware address.
            mtu: in bytes.
            options: of the kind, such as ``id`` of a VLAN or VXLAN, ``local``, ``remote`` and
                ``ttl`` of tunnels, ``table`` of a VRF.

        Returns:
            The interface; a :class:`WireGuard` if it is one.

        Raises:
            OSError: EEXIST if there is one of that name, EOPNOTSUPP if the kernel does not
                know the kind.
            TypeError: if the kind has no such option; the message names those that it has.

        Example:
            >>> k.net.add_link("v0", kind="veth", peer="v1")  # doctest: +SKIP
            >>> k.net.add_link("eth0.7", kind="vlan", link="eth0", id=7)  # doctest: +SKIP
        """
        common = {"master": master, "address": mac, "mtu": mtu}
        given = {key: value for key, value in common.items() if value is not None}
        return self.links.add(name, kind, link, peer, peer_namespace, given, options)

    def namespace(self, name: str) -> Namespace:
        """A named namespace; ENOENT shows when it is used and there is none."""
        from rumpel.net.namespaces import Namespace

        return Namespace(self._client.kernel, name)

    def add_namespace(self, name: str) -> Namespace:
        """Make a network namespace. Its loopback interface is up.

        Raises:
            OSError: EEXIST if there is one of that name.
        """
        return self.namespaces.add(name)

    def sockets(self, protocol: str = "tcp") -> list[SocketInfo]:
        """The sockets of a protocol, in the calling thread's network namespace.

        Args:
            protocol: ``tcp``, ``udp``, ``sctp``, ``mptcp`` or ``raw``.

        Example:
            >>> [(s.remote, s.tcp.rtt) for s in k.net.sockets() if s.tcp]  # doctest: +SKIP
            [(('10.0.0.2', 80), 0.100042)]
        """
        from rumpel.net.sockets import sockets

        return sockets(self._client, protocol)

    def nft(self, commands: str, *, json: bool = False) -> str:
        """Give nftables commands, in its own language.

        The host's program ``nft`` (Debian's package nftables) reads them; it works on the
        kernel's tables, in the calling thread's network namespace. All commands of a call
        are one transaction. ``nft monitor`` and interactive use are not possible.

        Args:
            commands: such as are in a file of nft, or ``list ruleset``.
            json: print JSON, for the commands that print something.

        Returns:
            What nft prints.

        Raises:
            OSError: if the kernel refuses something, with the words of nft.
            RumpelError: if there is no program nft.
            ValueError: if it does not understand the commands.

        Example:
            >>> k.net.nft('''
            ... table ip nat {
            ...     chain postrouting {
            ...         type nat hook postrouting priority srcnat
            ...         oifname "eth1" masquerade
            ...     }
            ... }''')  # doctest: +SKIP
            ''
        """
        from rumpel.net.nft import nft

        return nft(self._client.kernel, commands, json=json)
