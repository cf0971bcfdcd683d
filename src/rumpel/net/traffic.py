# SPDX-License-Identifier: GPL-2.0-only
"""Traffic control: ``kernel.net.qdisc``.

Source: tc(8), include/uapi/linux/rtnetlink.h.
"""

from __future__ import annotations

import socket as host
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rumpel.net.client import Address, Client, Network, network
from rumpel.net.disciplines import class_options, discipline_options, handle
from rumpel.net.links import Interface, index_of
from rumpel.netlink import Rtnetlink, attribute, attributes

__all__ = ["Class", "Qdisc", "Qdiscs"]

_TCMSG = struct.Struct("=BxxxiIII")
_NEWQDISC, _DELQDISC, _GETQDISC = 36, 37, 38
_NEWCLASS, _DELCLASS, _GETCLASS = 40, 41, 42
_NEWFILTER, _DELFILTER = 44, 45
_CREATE, _EXCL, _REPLACE, _DUMP = 0x400, 0x200, 0x100, 0x300
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_ETH_P_ALL = 3
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_PORTS = {"tcp": (6, 18, 19), "udp": (17, 20, 21)}
"""The protocol, and the attributes of flower for the port that it comes from and goes to."""


@dataclass(frozen=True, slots=True)
class Qdisc:
    """A queueing discipline, or a class of one.

    Attributes:
        dev: the interface.
        kind: ``netem``, ``fq_codel``, ...
        handle: such as ``1:``, and ``1:10`` for a class.
        parent: the class that it hangs on, or ``root`` or ``ingress``.
        bytes: sent so far.
        packets: sent so far.
        drops: dropped so far.
        overlimits: how often something had to wait.
        backlog: bytes that wait now.
        qlen: packets that wait now.
    """

    dev: str
    kind: str
    handle: str
    parent: str
    bytes: int
    packets: int
    drops: int
    overlimits: int
    backlog: int
    qlen: int


class Class(Qdisc):
    """A class of a queueing discipline."""

    __slots__ = ()


class Qdiscs:
    """The queueing disciplines of the calling thread's network namespace.

    ``parent`` is the handle of a class, ``root`` or ``ingress``. Options are those of
    ``tc``, with times in seconds, probabilities as fractions of one, rates in bits a second
    and sizes in bytes:

    ========  =====================================================================
    netem     delay, jitter, loss, duplicate, corrupt, reorder, gap, limit (packets),
              rate_bps, ecn, seed; delay_correlation, loss_correlation and so on
    tbf       rate_bps, burst, latency or limit, peak_bps, mtu
    htb       default (a class), r2q; classes: rate_bps, ceil_bps, burst, cburst, prio,
              quantum, overhead
    fq_codel  target, interval, limit, flows, quantum, ecn, ce_threshold, memory_limit
    codel     target, interval, limit, ecn, ce_threshold
    fq        limit, flow_limit, quantum, initial_quantum, pacing, maxrate_bps
    cake      bandwidth_bps, rtt, target, overhead, mpu, nat, wash, ack_filter, ...
    pfifo     limit (packets); bfifo: limit (bytes)
    sfq       quantum, perturb, limit, flows; prio: bands, priomap
    ========  =====================================================================

    Other kinds: ``k.iproute().tc()``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __iter__(self) -> Iterator[Qdisc]:
        return iter(self._dump(_GETQDISC, 0, Qdisc))

    def classes(self, dev: str | Interface) -> list[Class]:
        """The classes of an interface."""
        return self._dump(_GETCLASS, index_of(self._client, dev), Class)

    def add(
        self,
        dev: str | Interface,
        kind: str,
        *,
        parent: str = "root",
        handle: str | None = None,
        **options: Any,
    ) -> None:
        """Add a queueing discipline where there is none.

        Raises:
            OSError: EEXIST if there is one.
            TypeError: if the kind has no such option.
            ValueError: if an option is out of range.
        """
        self._discipline(_CREATE | _EXCL, dev, kind, parent, handle, options)

    def replace(
        self,
        dev: str | Interface,
        kind: str,
        *,
        parent: str = "root",
        handle: str | None = None,
        **options: Any,
    ) -> None:
        """Put a queueing discipline in the place of the one that is there.

        If it is of the same kind it is changed: what waits in it stays.

        Example:
            >>> k.net.qdisc.replace("eth0", "netem", delay=0.05, loss=0.01)  # doctest: +SKIP
        """
        self._discipline(_CREATE | _REPLACE, dev, kind, parent, handle, options)

    def remove(self, dev: str | Interface, *, parent: str = "root") -> None:
        """Remove a queueing discipline: the interface has its default again.

        Raises:
            OSError: ENOENT if there is only the default one.
        """
        self._request(_DELQDISC, 0, dev, 0, _parent(parent), b"")

    def add_class(
        self,
        dev: str | Interface,
        kind: str,
        classid: str,
        *,
        parent: str,
        **options: Any,
    ) -> None:
        """Add a class to a queueing discipline, or change it.

        Args:
            dev: the interface.
            kind: of the discipline.
            classid: such as ``1:10``.
            parent: the discipline, or a class of it.
            options: rate_bps and so on.
        """
        data = attribute(_KIND, kind.encode() + b"\0")
        data += attribute(_OPTIONS, class_options(kind, options))
        number = handle(classid)
        self._request(_NEWCLASS, _CREATE | _REPLACE, dev, number, handle(parent), data)

    def remove_class(self, dev: str | Interface, classid: str) -> None:
        """Remove a class."""
        self._request(_DELCLASS, 0, dev, handle(classid), 0, b"")

    def add_filter(
        self,
        dev: str | Interface,
        classid: str,
        *,
        parent: str,
        priority: int = 1,
        protocol: str | None = None,
        source: str | Network | Address | None = None,
        destination: str | Network | Address | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
    ) -> None:
        """Send packets to a class: those that fit all that is given.

        Args:
            dev: the interface.
            classid: where they go.
            parent: the discipline whose class it is.
            priority: filters are asked in this order.
            protocol: ``tcp`` or ``udp``; ports need it.
            source: a network that they come from.
            destination: a network that they go to.
            source_port: of TCP or UDP.
            destination_port: the same.
        """
        data, ethertype = _flower(protocol, source, destination, source_port, destination_port)
        data = attribute(1, struct.pack("=I", handle(classid))) + data
        data = attribute(_KIND, b"flower\0") + attribute(_OPTIONS, data)
        info = priority << 16 | host.htons(ethertype)
        self._request(_NEWFILTER, _CREATE | _EXCL, dev, 0, handle(parent), data, info)

    def remove_filters(self, dev: str | Interface, *, parent: str) -> None:
        """Remove all filters of a discipline."""
        self._request(_DELFILTER, 0, dev, 0, handle(parent), b"")

    # ---- messages ----

    def _discipline(
        self,
        flags: int,
        dev: str | Interface,
        kind: str,
        parent: str,
        own: str | None,
        options: dict[str, Any],
    ) -> None:
        data = attribute(_KIND, kind.encode() + b"\0")
        encoded = discipline_options(kind, options)
        if encoded:
            data += attribute(_OPTIONS, encoded)
        number = 0 if own is None else handle(own)
        if kind in ("ingress", "clsact"):
            number, parent = 0xFFFF0000, "ingress"
        self._request(_NEWQDISC, flags, dev, number, _parent(parent), data)

    def _request(
        self,
        kind: int,
        flags: int,
        dev: str | Interface,
        own: int,
        parent: int,
        data: bytes,
        info: int = 0,
    ) -> None:
        index = index_of(self._client, dev)
        payload = _TCMSG.pack(0, index, own, parent, info) + data
        with Rtnetlink(self._client.kernel.os) as netlink:
            netlink.request(kind, flags, payload, self._client.name(index) or "")

    def _dump(self, kind: int, index: int, cls: Any) -> list[Any]:
        with Rtnetlink(self._client.kernel.os) as netlink:
            answers = netlink.request(kind, _DUMP, _TCMSG.pack(0, index, 0, 0, 0), "qdisc")
            names = dict(netlink.interfaces())
        found = []
        for body in answers:
            _, index, own, parent, _ = _TCMSG.unpack_from(body)
            given = attributes(body[_TCMSG.size :])
            counters = attributes(given.get(_STATS2, b""))
            size, packets = struct.unpack_from("=QI", counters.get(1, bytes(12)))
            queue = struct.unpack_from("=IIIII", counters.get(3, bytes(20)))
            found.append(
                cls(
                    dev=names.get(index, ""),
                    kind=given[_KIND].rstrip(b"\0").decode(),
                    handle=_text(own),
                    parent=_text(parent),
                    bytes=size,
                    packets=packets,
                    drops=queue[2],
                    overlimits=queue[4],
                    backlog=queue[1],
                    qlen=queue[0],
                )
            )
        return found


def _parent(text: str) -> int:
    return {"root": _ROOT, "ingress": _INGRESS}.get(text) or handle(text)


def _text(number: int) -> str:
    if number in (_ROOT, _INGRESS):
        return "root" if number == _ROOT else "ingress"
    minor = number & 0xFFFF
    return f"{number >> 16:x}:{minor:x}" if minor else f"{number >> 16:x}:"


def _flower(
    protocol: str | None,
    source: str | Network | Address | None,
    destination: str | Network | Address | None,
    source_port: int | None,
    destination_port: int | None,
) -> tuple[bytes, int]:
    """Attributes of the filter flower, and the kind of frames."""
    sides = [None if s is None else network(s) for s in (source, destination)]
    versions = {side.version for side in sides if side is not None}
    if len(versions) > 1:
        raise ValueError("source and destination are of different families")
    data, ethertype = b"", _ETH_P_ALL
    if versions or protocol is not None:
        version = versions.pop() if versions else 4
        ethertype = _ETHERTYPES[version]
        data += attribute(8, struct.pack("=H", host.htons(ethertype)))
        for side, key in zip(sides, (10, 12) if version == 4 else (14, 16), strict=True):
            if side is not None:
                data += attribute(key, side.network_address.packed)
                data += attribute(key + 1, side.netmask.packed)
    ports = source_port, destination_port
    if protocol is None:
        if ports != (None, None):
            raise ValueError("ports need a protocol: tcp or udp")
        return data, ethertype
    if protocol not in _PORTS:
        raise ValueError(f"the protocol is tcp or udp, not {protocol!r}")
    number, *keys = _PORTS[protocol]
    data += attribute(9, bytes([number]))
    for port, key in zip(ports, keys, strict=True):
        if port is not None:
            data += attribute(key, port.to_bytes(2, "big"))
    return data, ethertype
