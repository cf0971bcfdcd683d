# SPDX-License-Identifier: GPL-2.0-only
"""Which of a host's addresses to try first.

Source: RFC 6724 with the tables of the GNU C library (gai.conf(5)). The rules about
deprecated and mobile addresses are left out.
"""

from __future__ import annotations

import ipaddress
import socket as host
from collections.abc import Callable, Iterable

__all__ = ["preferred"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LINK, _SITE, _GLOBAL = 2, 5, 14


def _table(rows: str) -> list[tuple[ipaddress.IPv6Network, int]]:
    """Networks and numbers, the longest prefix first."""
    pairs = (row.split() for row in rows.splitlines() if row)
    table = [(ipaddress.IPv6Network(network), int(number)) for network, number in pairs]
    return sorted(table, key=lambda row: -row[0].prefixlen)


_LABELS = _table("""
::1/128 0
::/0 1
2002::/16 2
::/96 3
::ffff:0:0/96 4
fec0::/10 5
fc00::/7 6
2001::/32 7
""")
_PRECEDENCES = _table("""
::1/128 50
::/0 40
2002::/16 30
::/96 20
::ffff:0:0/96 10
""")


def _look_up(table: list[tuple[ipaddress.IPv6Network, int]], address: _Address) -> int:
    if isinstance(address, ipaddress.IPv4Address):
        address = ipaddress.IPv6Address(f"::ffff:{address}")
    return next(number for network, number in table if address in network)


def _scope(address: _Address) -> int:
    if address.is_loopback or address.is_link_local:
        return _LINK
    if isinstance(address, ipaddress.IPv6Address):
        if address.is_multicast:
            return address.packed[1] & 15
        if address.is_site_local:
            return _SITE
    return _GLOBAL


def _common_bits(a: _Address, b: _Address) -> int:
    """How long a prefix two addresses share; for IPv4 it says nothing."""
    if isinstance(a, ipaddress.IPv4Address) or isinstance(b, ipaddress.IPv4Address):
        return 0
    return 128 - (int(a) ^ int(b)).bit_length()


def preferred(
    rows: Iterable[tuple[int, bytes, int]],
    source: Callable[[int, bytes, int], bytes | None],
) -> list[tuple[int, bytes, int]]:
    """Sort addresses: the best first, equally good ones as they were.

    Args:
        rows: family, address and scope of each.
        source: finds the address that this host would use to reach one; None if it
            cannot.

    Example:
        >>> here = {4: bytes([10, 0, 0, 1]), 16: None}
        >>> six, four = bytes([0x20, 1, 0xd, 0xb8]) + bytes(12), bytes([10, 0, 0, 9])
        >>> rows = [(10, six, 0), (2, four, 0)]
        >>> [row[0] for row in preferred(rows, lambda family, address, scope: here[len(address)])]
        [2, 10]
    """

    def key(row: tuple[int, bytes, int]) -> tuple[int, ...]:
        family, packed, _ = row
        target = ipaddress.ip_address(packed)
        found = source(*row)
        if found is None:
            return (1, 0, 0, -_look_up(_PRECEDENCES, target), _scope(target), 0)
        own = ipaddress.ip_address(found)
        return (
            0,
            _scope(target) != _scope(own),
            _look_up(_LABELS, target) != _look_up(_LABELS, own),
            -_look_up(_PRECEDENCES, target),
            _scope(target),
            -_common_bits(target, own) if family == host.AF_INET6 else 0,
        )

    return sorted(rows, key=key)
