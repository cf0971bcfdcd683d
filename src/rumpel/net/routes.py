# SPDX-License-Identifier: GPL-2.0-only
"""Routes, rules and neighbours.

Source: ip-route(8), ip-rule(8), ip-neighbour(8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rumpel.net.client import (
    AF_INET,
    AF_INET6,
    Address,
    Client,
    Network,
    address,
    family_of,
    network,
)
from rumpel.net.links import Interface, index_of

__all__ = ["Neighbour", "Neighbours", "Route", "Routes", "Rule", "Rules"]

_TABLES = {"default": 253, "main": 254, "local": 255}
_ANYWHERE = {AF_INET: network("0.0.0.0/0"), AF_INET6: network("::/0")}
_RTM_F_CLONED, _RTM_F_LOOKUP_TABLE = 0x200, 0x1000
_LINK_SCOPE, _HOST_SCOPE = 253, 254
_FRA_TABLE_ACTION = 1
_STATES = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}


@dataclass(frozen=True, slots=True)
class Route:
    """A route.

    Attributes:
        destination: a network; 0.0.0.0/0 and ::/0 are the default routes.
        via: the gateway.
        dev: the interface.
        table: the number of the routing table; 254 is main.
        source: the address that packets get.
        metric: of two routes to the same destination the lower one counts.
        type: ``unicast``, ``local``, ``blackhole`` and so on.
    """

    destination: Network
    via: Address | None
    dev: str | None
    table: int
    source: Address | None
    metric: int
    type: str


class Routes:
    """The routes of the calling thread's network namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __iter__(self) -> Iterator[Route]:
        return iter(self.table("main"))

    def table(self, table: int | str) -> list[Route]:
        """The routes of a table, by number or ``main``, ``local`` or ``default``."""
        wanted = table_number(table)
        with self._client.rtnl(f"table {table}") as ipr:
            messages = [m for f in _ANYWHERE for m in ipr.route("dump", family=f)]
        return [
            self._route(m)
            for m in messages
            if (m.get("table") or m["table"]) == wanted and not m["flags"] & _RTM_F_CLONED
        ]

    def _route(self, message: Any) -> Route:
        from pyroute2.netlink.rtnl import rt_type

        to = message.get("dst")
        family = message["family"]
        default = str(_ANYWHERE[family].network_address)
        via, source = message.get("gateway"), message.get("prefsrc")
        return Route(
            destination=network(f"{to or default}/{message['dst_len']}"),
            via=address(via) if via else None,
            dev=self._client.name(message.get("oif")),
            table=message.get("table") or message["table"],
            source=address(source) if source else None,
            metric=message.get("priority") or 0,
            type=str(rt_type.get(message["type"], message["type"])),
        )

    def get(self, destination: str | Address, *, mark: int | None = None) -> Route:
        """Ask which way a packet would go.

        Raises:
            OSError: ENETUNREACH if there is none.
        """
        to = address(destination)
        options = {"flags": _RTM_F_LOOKUP_TABLE}
        if mark is not None:
            options["mark"] = mark
        with self._client.rtnl(str(to)) as ipr:
            return self._route(ipr.route("get", dst=str(to), family=family_of(to), **options)[0])

    def add(
        self,
        destination: str | Network | Address,
        *,
        via: str | Address | None = None,
        dev: str | Interface | None = None,
        table: int | str = "main",
        source: str | Address | None = None,
        metric: int | None = None,
        type: str = "unicast",
        nexthops: Sequence[Mapping[str, Any]] = (),
        encap: Mapping[str, Any] | None = None,
        mtu: int | None = None,
    ) -> None:
        """Add a route.

        Args:
            destination: a network, an address, or ``"default"``.
            via: the gateway.
            dev: the interface; found by the gateway if it is not given.
            table: number, or ``main``, ``local`` or ``default``.
            source: the address that packets get.
            metric: the lower, the better.
            type: ``unicast``, ``blackhole``, ``unreachable``, ``prohibit``, ``throw``.
            nexthops: several ways at once: dictionaries of ``via``, ``dev``, ``weight``.
            encap: what packets are put into, as pyroute2 takes it, such as
                ``{"type": "mpls", "labels": "100/200"}`` or
                ``{"type": "seg6", "mode": "encap", "segs": "fd00::5,fd00::6"}``.
            mtu: of the way.

        Raises:
            OSError: EEXIST if there is one, ENETUNREACH if the gateway is not near.
            ValueError: if an address is none.
        """
        self._change("add", locals())

    def replace(self, destination: str | Network | Address, **options: Any) -> None:
        """Add a route instead of the one that is there; arguments are those of :meth:`add`."""
        self._change("replace", {"destination": destination, **options})

    def remove(self, destination: str | Network | Address, **options: Any) -> None:
        """Remove a route; arguments are those of :meth:`add`.

        Raises:
            OSError: ESRCH if there is none.
        """
        self._change("del", {"destination": destination, "type": None, **options})

    def flush(self, table: int | str) -> None:
        """Remove all routes of a table."""
        with self._client.rtnl(f"table {table}") as ipr:
            for family in _ANYWHERE:
                ipr.flush_routes(family=family, table=table_number(table))

    def _change(self, command: str, options: dict[str, Any]) -> None:
        options.pop("self", None)
        destination = options.pop("destination")
        request = self._request(destination, **options)
        with self._client.rtnl(str(destination)) as ipr:
            ipr.route(command, **request)

    def _request(
        self,
        destination: str | Network | Address,
        via: str | Address | None = None,
        dev: str | Interface | None = None,
        table: int | str = "main",
        source: str | Address | None = None,
        metric: int | None = None,
        type: str | None = "unicast",
        nexthops: Sequence[Mapping[str, Any]] = (),
        encap: Mapping[str, Any] | None = None,
        mtu: int | None = None,
    ) -> dict[str, Any]:
        gateways = [via, *(hop.get("via") for hop in nexthops)]
        near = [address(g, "gateway") for g in gateways if g is not None]
        if destination == "default":
            family = family_of(near[0]) if near else AF_INET
            to = _ANYWHERE[family]
        else:
            to = network(destination, "destination")
            family = family_of(to)
        request: dict[str, Any] = {
            "family": family,
            "dst": str(to.network_address),
            "dst_len": to.prefixlen,
            "table": table_number(table),
        }
        if type is not None:
            request["type"] = type
            if type == "unicast" and not near:
                request["scope"] = _LINK_SCOPE
        if via is not None:
            request.update(self._gateway(family, via))
        if dev is not None:
            request["oif"] = index_of(self._client, dev)
        if source is not None:
            request["prefsrc"] = str(address(source, "address of the source"))
        if metric is not None:
            request["priority"] = metric
        if nexthops:
            request["multipath"] = [self._hop(family, hop) for hop in nexthops]
        if encap is not None:
            request["encap"] = dict(encap)
        if mtu is not None:
            request["metrics"] = {"mtu": mtu}
        return request

    def _gateway(self, family: int, via: str | Address) -> dict[str, Any]:
        near = address(via, "gateway")
        if family_of(near) == family:
            return {"gateway": str(near)}
        return {"via": {"family": family_of(near), "addr": str(near)}}

    def _hop(self, family: int, hop: Mapping[str, Any]) -> dict[str, Any]:
        unknown = hop.keys() - {"via", "dev", "weight"}
        if unknown:
            raise TypeError(f"a next hop has via, dev and weight, not {', '.join(unknown)}")
        request: dict[str, Any] = {"hops": hop.get("weight", 1) - 1}
        if "via" in hop:
            request.update(self._gateway(family, hop["via"]))
        if "dev" in hop:
            request["oif"] = index_of(self._client, hop["dev"])
        return request


def table_number(table: int | str) -> int:
    """The number of a routing table that may be given by name."""
    if isinstance(table, int):
        return table
    if table not in _TABLES:
        raise ValueError(f"no routing table {table!r}: give its number, or {', '.join(_TABLES)}")
    return _TABLES[table]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that chooses a routing table.

    Attributes:
        priority: rules are asked in this order.
        source: a network that packets come from, or None for any.
        destination: a network that they go to.
        table: where to look; None if the rule does something else.
        mark: of the packet, and a mask.
        iif: the interface that it came from.
        oif: the interface that its socket is bound to.
        family: AF_INET or AF_INET6.
    """

    priority: int
    source: Network | None
    destination: Network | None
    table: int | None
    mark: tuple[int, int] | None
    iif: str | None
    oif: str | None
    family: int


class Rules:
    """The routing rules of the calling thread's network namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __iter__(self) -> Iterator[Rule]:
        with self._client.rtnl("rules") as ipr:
            messages = [m for f in _ANYWHERE for m in ipr.rule("dump", family=f)]
        return iter([self._rule(m) for m in messages])

    def _rule(self, message: Any) -> Rule:
        def side(name: str) -> Network | None:
            length = message[f"{name}_len"]
            return network(f"{message.get(name)}/{length}") if length else None

        mark = message.get("fwmark")
        return Rule(
            priority=message.get("priority") or 0,
            source=side("src"),
            destination=side("dst"),
            table=message.get("table") if message["action"] == _FRA_TABLE_ACTION else None,
            mark=(mark, message.get("fwmask")) if mark is not None else None,
            iif=message.get("iifname"),
            oif=message.get("oifname"),
            family=message["family"],
        )

    def add(
        self,
        table: int | str,
        *,
        priority: int | None = None,
        source: str | Network | Address | None = None,
        destination: str | Network | Address | None = None,
        mark: int | None = None,
        mask: int | None = None,
        iif: str | None = None,
        oif: str | None = None,
        family: int | None = None,
    ) -> None:
        """Add a rule: what fits looks in a table.

        Args:
            table: number or name.
            priority: lower is asked first; 32000 by default.
            source: only what comes from there.
            destination: only what goes there.
            mark: only packets with this mark.
            mask: the bits of the mark that count.
            iif: only what came in there.
            oif: only what is from sockets bound to this interface.
            family: AF_INET, unless an address says otherwise.
        """
        self._change("add", locals())

    def remove(self, table: int | str, **options: Any) -> None:
        """Remove a rule; arguments are those of :meth:`add`.

        Raises:
            OSError: ENOENT if there is none.
        """
        self._change("del", {"table": table, **options})

    def _change(self, command: str, options: dict[str, Any]) -> None:
        options.pop("self", None)
        request: dict[str, Any] = {"table": table_number(options.pop("table"))}
        family = options.pop("family", None)
        for name, key in (("source", "src"), ("destination", "dst")):
            value = options.pop(name, None)
            if value is not None:
                side = network(value, name)
                request[key], request[f"{key}_len"] = str(side.network_address), side.prefixlen
                family = family_of(side)
        request["family"] = family or AF_INET
        keys = {"priority": "priority", "mark": "fwmark", "mask": "fwmask"}
        keys.update(iif="iifname", oif="oifname")
        for name, value in options.items():
            if name not in keys:
                raise TypeError(f"a rule has no {name!r}")
            if value is not None:
                request[keys[name]] = value
        with self._client.rtnl(f"rule for table {request['table']}") as ipr:
            ipr.rule(command, **request)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the neighbour table: what ARP or neighbour discovery found.

    Attributes:
        address: of the neighbour.
        mac: its hardware address, if it is known.
        dev: the interface that it is behind.
        state: ``reachable``, ``stale``, ``permanent`` and so on.
    """

    address: Address
    mac: str | None
    dev: str | None
    state: str


class Neighbours:
    """The neighbour tables of the calling thread's network namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __iter__(self) -> Iterator[Neighbour]:
        with self._client.rtnl("neighbours") as ipr:
            messages = [m for f in _ANYWHERE for m in ipr.neigh("dump", family=f)]
        found = [
            Neighbour(
                address=address(m.get("dst")),
                mac=m.get("lladdr"),
                dev=self._client.name(m["ifindex"]),
                state=_STATES.get(m["state"], str(m["state"])),
            )
            for m in messages
        ]
        return iter(found)

    def add(self, neighbour: str | Address, mac: str, dev: str | Interface) -> None:
        """Add a permanent entry, or replace what is there."""
        self._change("replace", neighbour, dev, lladdr=mac)

    def remove(self, neighbour: str | Address, dev: str | Interface) -> None:
        """Remove an entry.

        Raises:
            OSError: ENOENT if there is none.
        """
        self._change("del", neighbour, dev)

    def _change(
        self, command: str, neighbour: str | Address, dev: str | Interface, **options: Any
    ) -> None:
        near = address(neighbour)
        index = index_of(self._client, dev)
        with self._client.rtnl(str(near)) as ipr:
            ipr.neigh(command, dst=str(near), ifindex=index, family=family_of(near), **options)
