# SPDX-License-Identifier: GPL-2.0-only
"""Interfaces: ``kernel.net.links``, and how they are made.

Source: ip-link(8), ip-address(8), rtnetlink(7).
"""

from __future__ import annotations

import errno
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from os import strerror
from typing import TYPE_CHECKING, Any, Self

from rumpel.net.client import Client

if TYPE_CHECKING:
    from rumpel.net.namespaces import Namespace

__all__ = ["Interface", "Links", "Statistics"]

InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
_IFF_UP, _IFF_RUNNING = 1, 0x40
_IFA_F_NODAD, _IFA_F_TENTATIVE = 2, 0x40


@dataclass(frozen=True, slots=True)
class Statistics:
    """What went through an interface (struct rtnl_link_stats64)."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Interface:
    """An interface of a kernel. What is read is asked of the kernel each time.

    It is known by its number, so it stays the same when its name changes.

    Attributes:
        index: its number.
    """

    def __init__(self, client: Client, index: int) -> None:
        self._client = client
        self.index = index

    # ---- what it is ----

    def _message(self) -> Any:
        with self._client.rtnl(f"interface {self.index}") as ipr:
            return ipr.link("get", index=self.index)[0]

    def _set(self, **what: Any) -> Self:
        with self._client.rtnl(self._label) as ipr:
            ipr.link("set", index=self.index, **what)
        return self

    def _label(self) -> str:
        return self._client.name(self.index) or f"interface {self.index}"

    @property
    def name(self) -> str:
        """Such as ``eth0``. It can be set while the interface is down."""
        return str(self._message().get("ifname"))

    @name.setter
    def name(self, value: str) -> None:
        self._set(ifname=value)

    @property
    def kind(self) -> str:
        """``bridge``, ``veth`` and so on; empty for a device."""
        info = self._message().get("linkinfo")
        return str((info and info.get("kind")) or "")

    @property
    def mac(self) -> str:
        """Its hardware address. It can be set."""
        return str(self._message().get("address") or "")

    @mac.setter
    def mac(self, value: str) -> None:
        self._set(address=value)

    @property
    def mtu(self) -> int:
        """The largest packet. It can be set."""
        return int(self._message().get("mtu"))

    @mtu.setter
    def mtu(self, value: int) -> None:
        self._set(mtu=value)

    @property
    def master(self) -> str | None:
        """The bridge, bond or VRF that it is a port of. It can be set, None leaves it."""
        return self._client.name(self._message().get("master"))

    @master.setter
    def master(self, value: str | Interface | None) -> None:
        self._set(master=0 if value is None else index_of(self._client, value))

    @property
    def is_up(self) -> bool:
        """Was it set up?"""
        return bool(self._message()["flags"] & _IFF_UP)

    @property
    def is_running(self) -> bool:
        """Can it send: is it up, and has it a carrier?"""
        return bool(self._message()["flags"] & _IFF_RUNNING)

    @property
    def statistics(self) -> Statistics:
        """The counters."""
        counters = self._message().get("stats64")
        return Statistics(**{name: counters[name] for name in Statistics.__slots__})

    @property
    def addresses(self) -> list[InterfaceAddress]:
        """Its addresses, with the lengths of their prefixes."""
        with self._client.rtnl(self._label) as ipr:
            found = [m for m in ipr.addr("dump") if m["index"] == self.index]
        return [
            ipaddress.ip_interface(f"{m.get('local') or m.get('address')}/{m['prefixlen']}")
            for m in found
        ]

    # ---- what is done to it ----

    def up(self) -> Self:
        """Set it up."""
        return self._set(state="up")

    def down(self) -> Self:
        """Set it down."""
        return self._set(state="down")

    def add_address(
        self, address: str | InterfaceAddress, *, peer: str | None = None, dad: bool = False
    ) -> Self:
        """Give it an address.

        Args:
            address: with the length of the network's prefix, such as ``"10.0.0.1/24"``.
            peer: the address of the other end of a point-to-point link.
            dad: look for duplicates of an IPv6 address first, which takes a second.

        Raises:
            OSError: EEXIST if it has it already.
            ValueError: if it is no address.
        """
        given = interface_address(address)
        options: dict[str, Any] = {"local": str(given.ip), "address": peer or str(given.ip)}
        if given.version == 4 and given.network.prefixlen < 31 and peer is None:
            options["broadcast"] = str(given.network.broadcast_address)
        if given.version == 6 and not dad:
            options["flags"] = _IFA_F_NODAD
        with self._client.rtnl(str(given)) as ipr:
            ipr.addr("add", index=self.index, prefixlen=given.network.prefixlen, **options)
        return self

    def remove_address(self, address: str | InterfaceAddress) -> Self:
        """Take an address away.

        Raises:
            OSError: EADDRNOTAVAIL if it has it not.
        """
        given = interface_address(address)
        with self._client.rtnl(str(given)) as ipr:
            ipr.addr(
                "del", index=self.index, address=str(given.ip), prefixlen=given.network.prefixlen
            )
        return self

    def is_tentative(self, address: str | InterfaceAddress) -> bool:
        """Is an IPv6 address still being looked for on the link?"""
        given = interface_address(address)
        with self._client.rtnl(str(given)) as ipr:
            for message in ipr.addr("dump"):
                if message["index"] == self.index and message.get("address") == str(given.ip):
                    return bool((message.get("flags") or 0) & _IFA_F_TENTATIVE)
        raise OSError(errno.EADDRNOTAVAIL, strerror(errno.EADDRNOTAVAIL), str(given))

    def move_to(self, namespace: Namespace) -> None:
        """Move it to another network namespace, where it is down and has no addresses."""
        with namespace._descriptor() as fd:
            self._set(net_ns_fd=fd)

    def delete(self) -> None:
        """Remove it, with its peer if it is a veth."""
        with self._client.rtnl(self._label) as ipr:
            ipr.link("del", index=self.index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interface):
            return NotImplemented
        return self.index == other.index and self._client.kernel is other._client.kernel

    def __hash__(self) -> int:
        return hash(self.index)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._label()}>"


def interface_address(text: str | InterfaceAddress) -> InterfaceAddress:
    """Parse an address with the length of its network's prefix."""
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"not an address: {text!r} (write 10.0.0.1/24 or fd00::1/64)") from None


def index_of(client: Client, interface: str | Interface) -> int:
    """The number of an interface that may be given by name."""
    return interface.index if isinstance(interface, Interface) else client.index(interface)


class Links(Mapping[str, Interface]):
    """The interfaces of the calling thread's network namespace, by name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getitem__(self, name: str) -> Interface:
        try:
            return self.link(name)
        except OSError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter([name for _, name in self._client.kernel.socket.if_nameindex()])

    def __len__(self) -> int:
        return len(self._client.kernel.socket.if_nameindex())

    def __repr__(self) -> str:
        return f"<Links {', '.join(self)}>"

    def link(self, name: str) -> Interface:
        """See :meth:`rumpel.net.Net.link`."""
        return self._make(self._client.index(name))

    def _make(self, index: int, kind: str | None = None) -> Interface:
        interface = Interface(self._client, index)
        if (interface.kind if kind is None else kind) == "wireguard":
            from rumpel.net.wireguard import WireGuard

            return WireGuard(self._client, index)
        return interface

    def add(
        self,
        name: str,
        kind: str,
        link: str | Interface | None,
        peer: str | None,
        peer_namespace: Namespace | None,
        common: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Interface:
        """See :meth:`rumpel.net.Net.add_link`."""
        request: dict[str, Any] = {"ifname": name, "kind": kind, **common}
        if isinstance(request.get("master"), str | Interface):
            request["master"] = index_of(self._client, request["master"])
        if link is not None:
            key = {"vxlan": "vxlan_link", "geneve": "link"}.get(kind, "link")
            request[key] = index_of(self._client, link)
        for key, value in options.items():
            option = _option(kind, key)
            request[option] = index_of(self._client, value) if _is_link(option, value) else value
        with ExitStack() as stack:
            if peer is not None:
                end: dict[str, Any] = {"ifname": peer}
                if peer_namespace is not None:
                    end["net_ns_fd"] = stack.enter_context(peer_namespace._descriptor())
                request["peer"] = end
            with self._client.rtnl(name) as ipr:
                ipr.link("add", **request)
        return self._make(self._client.index(name), kind)


def _is_link(option: str, value: object) -> bool:
    return option.endswith("_link") and isinstance(value, str | Interface)


def _option(kind: str, key: str) -> str:
    """The name that pyroute2 has for an option of a kind of interface.

    Raises:
        TypeError: if there is none; the message names all.
    """
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    data = ifinfmsg.ifinfo.data_map.get(kind)
    if data is None:
        raise TypeError(f"no options are known for interfaces of the kind {kind!r}")
    # IFLA_VLAN_ID, IFLA_BR_FORWARD_DELAY: the second word is the kind, or short for it.
    names = {row[0].removeprefix("IFLA_").lower() for row in data.nla_map}
    short = {name.partition("_")[2]: name for name in names}
    found = key if key in names else short.get(key)
    if found is None or found.endswith("unspec"):
        known = ", ".join(sorted(s for s in short if s and s != "unspec"))
        raise TypeError(f"interfaces of the kind {kind!r} have no option {key!r}, but {known}")
    return found
