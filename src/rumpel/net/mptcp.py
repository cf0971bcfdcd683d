# SPDX-License-Identifier: GPL-2.0-only
"""Which addresses take part in the MPTCP connections of a kernel: ``kernel.net.mptcp``.

A connection begins as one subflow; the kernel adds more over the endpoints that it is
told here, as ``ip mptcp`` does on a host. The socket's protocol is IPPROTO_MPTCP.

Source: ip-mptcp(8), include/uapi/linux/mptcp_pm.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rumpel.net.client import Address, Client, address
from rumpel.net.links import Interface, index_of

__all__ = ["IPPROTO_MPTCP", "Endpoint", "Limits", "Mptcp"]

IPPROTO_MPTCP = 262
_FLAGS = {"signal": 1, "subflow": 2, "backup": 4, "fullmesh": 8}


class Limits(NamedTuple):
    """What a connection may have.

    Attributes:
        subflows: how many besides the first.
        add_addr_accepted: how many of the addresses that a peer announces are used.
    """

    subflows: int
    add_addr_accepted: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that takes part.

    Attributes:
        id: its number in the protocol.
        address: its own.
        flags: some of ``signal``, ``subflow``, ``backup``, ``fullmesh``.
    """

    id: int
    address: Address
    flags: frozenset[str]


class Mptcp:
    """The endpoints, and limits. Iteration gives the endpoints."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __iter__(self) -> Iterator[Endpoint]:
        with self._client.open("MPTCP", "MPTCP endpoints") as mptcp:
            found = [m.get("addr") for m in mptcp.endpoint("show")]
        return iter(
            [
                Endpoint(
                    id=each.get("id"),
                    address=address(each.get("addr4") or each.get("addr6")),
                    flags=frozenset(n for n, bit in _FLAGS.items() if each.get("flags") & bit),
                )
                for each in found
            ]
        )

    def add(
        self,
        endpoint: str | Address,
        *,
        signal: bool = False,
        subflow: bool = False,
        backup: bool = False,
        fullmesh: bool = False,
        dev: str | Interface | None = None,
        id: int | None = None,
    ) -> None:
        """Let an address of the kernel take part in its connections.

        Args:
            endpoint: the address.
            signal: announce it to peers.
            subflow: connect from it to peers.
            backup: use it only if there is no other way.
            fullmesh: connect from it to all addresses of peers.
            dev: the interface for what is sent from it.
            id: its number; the kernel finds one.

        Raises:
            OSError: as the kernel says.
            ValueError: if it is no address.
        """
        own = address(endpoint)
        given = {"signal": signal, "subflow": subflow, "backup": backup, "fullmesh": fullmesh}
        options: dict[str, object] = {
            f"addr{own.version}": str(own),
            "flags": sum(_FLAGS[name] for name, value in given.items() if value),
        }
        if dev is not None:
            options["if_idx"] = struct.pack("=i", index_of(self._client, dev))
        if id is not None:
            options["id"] = id
        with self._client.open("MPTCP", str(own)) as mptcp:
            mptcp.endpoint("add", **options)

    def remove(self, id: int) -> None:
        """Take an endpoint out by its number; its subflows are closed."""
        with self._client.open("MPTCP", f"MPTCP endpoint {id}") as mptcp:
            mptcp.endpoint("del", id=id)

    @property
    def limits(self) -> Limits:
        """What connections may have. 8 is the kernel's own limit for each.

        It can be set, to a :class:`Limits` or a pair of numbers.
        """
        with self._client.open("MPTCP", "MPTCP limits") as mptcp:
            (answer,) = mptcp.limits("show")
        return Limits(answer.get("subflows"), answer.get("rcv_add_addrs"))

    @limits.setter
    def limits(self, value: Limits | tuple[int, int]) -> None:
        subflows, add_addr_accepted = value
        with self._client.open("MPTCP", "MPTCP limits") as mptcp:
            mptcp.limits("set", subflows=subflows, rcv_add_addrs=add_addr_accepted)
