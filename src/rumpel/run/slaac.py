# SPDX-License-Identifier: GPL-2.0-only
"""Wait for IPv6 addresses: the library kernel makes them from what routers advertise.

    python -I -S slaac.py INTERFACE...

It is executed, not imported, and knows nothing of rumpel. What it is told of names, which the
kernel does not keep, it prints as resolv.conf(5) has it. See RFC 4861, 4862 and 8106.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time

PATIENCE = 15
"""Seconds; as often as :data:`AGAIN` somebody is asked."""
AGAIN = 1.0

_SOLICIT, _ADVERTISE, _RDNSS = 133, 134, 25
_ALL_ROUTERS = "ff02::2"
_ICMP6_FILTER = 1
_GLOBAL, _TENTATIVE = 0x00, 0x40
"""As /proc/net/if_inet6 has them: scope and flags."""


def main(*interfaces: str) -> None:
    """Wait until all have an address, or say in one line why not."""
    for interface in interfaces:
        try:
            names = advertised(interface)
        except OSError as error:
            sys.exit(f"{interface}: ip=slaac: {error.strerror}")
        for name in names:
            print("nameserver", name)


def advertised(interface: str) -> list[str]:
    """Ask, and wait for an answer and for what the kernel makes of it.

    Args:
        interface: its name.

    Returns:
        Name servers.
    """
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        passes = bytearray(b"\xff" * 32)
        passes[_ADVERTISE // 8] ^= 1 << _ADVERTISE % 8
        # Bits that are set are blocked: RFC 3542; the words are the machine's.
        s.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(passes))
        index = socket.if_nametoindex(interface)
        deadline = time.monotonic() + PATIENCE
        names: list[str] | None = None
        asks = 0.0
        while (now := time.monotonic()) < deadline:
            if names is None and now >= asks:
                asks = now + AGAIN
                _ask(s, index)
            if select.select([s], [], [], 0.02)[0]:
                names = name_servers(s.recv(65536), interface)
            if names is not None and has_address(interface):
                return names
    nobody = "no router advertises itself"
    sys.exit(f"{interface}: ip=slaac: {nobody if names is None else 'a router, but no prefix'}")


def _ask(s: socket.socket, index: int) -> None:
    # There may be no address of the link yet: again in a moment.
    with contextlib.suppress(OSError):
        s.sendto(struct.pack("!BBHI", _SOLICIT, 0, 0, 0), (_ALL_ROUTERS, 0, 0, index))


def name_servers(message: bytes, interface: str) -> list[str]:
    """Those in a router's advertisement; addresses of the link need the interface's name."""
    found: list[str] = []
    options = message[16:]
    while len(options) >= 8 and (length := options[1] * 8):
        if options[0] == _RDNSS:
            addresses = options[8:length]
            for i in range(0, len(addresses) - 15, 16):
                name = socket.inet_ntop(socket.AF_INET6, addresses[i : i + 16])
                found.append(f"{name}%{interface}" if name.startswith("fe80:") else name)
        options = options[length:]
    return found


def has_address(interface: str) -> bool:
    """Is there one that is more than the link's, and may be used?"""
    with open("/proc/net/if_inet6") as file:
        rows = [line.split() for line in file]
    return any(
        row[5] == interface and int(row[3], 16) == _GLOBAL and not int(row[4], 16) & _TENTATIVE
        for row in rows
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
