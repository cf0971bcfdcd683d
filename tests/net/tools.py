# SPDX-License-Identifier: GPL-2.0-only
"""What the tests of networks do on kernels."""

from __future__ import annotations

import socket as host
import struct
from collections.abc import Callable
from typing import Any

from rumpel import Kernel, Link, VirtualClock

Boot = Callable[..., Kernel]


def checksum(data: bytes) -> int:
    """The Internet's checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(kernel: Kernel, address: str, *, size: int = 56, timeout: float = 10) -> float:
    """Send an echo request and wait for its reply; the time on the kernel's clock.

    Raises:
        TimeoutError: if there is none.
        OSError: if there is no way.
    """
    version = 6 if ":" in address else 4
    family, proto = (
        (host.AF_INET, host.IPPROTO_ICMP) if version == 4 else (host.AF_INET6, host.IPPROTO_ICMPV6)
    )
    request, reply = (8, 0) if version == 4 else (128, 129)
    body = struct.pack(">HH", 0x1234, 1) + bytes(size)
    data = struct.pack(">BBH", request, 0, checksum(struct.pack(">BBH", request, 0, 0) + body))
    with kernel.socket.socket(family, host.SOCK_RAW, proto) as sock:
        sock.settimeout(timeout)
        begin = kernel.clock.now_ns
        sock.sendto(data + body, (address, 0))
        while True:
            got, where = sock.recvfrom(65536)
            if version == 4:
                got = got[(got[0] & 15) * 4 :]
            if got[0] == reply and got[4:8] == body[:4] and where[0] == address:
                return (kernel.clock.now_ns - begin) / 1e9


def unreachable(kernel: Kernel, address: str) -> bool:
    """Is there no answer, or no way? In virtual time, where an answer cannot be too late."""
    assert isinstance(kernel.clock, VirtualClock)
    try:
        ping(kernel, address)
    except OSError:
        return True
    return False


def pair(boot: Boot, **options: Any) -> tuple[Kernel, Kernel]:
    """Two kernels with a cable: 10.0.0.1 and 10.0.0.2."""
    a, b = Link(**options.pop("link", {}))
    left, right = boot(nics=[a], **options), boot(nics=[b], **options)
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    return left, right


def virtual_pair(boot: Boot, **link: Any) -> tuple[Kernel, Kernel, VirtualClock]:
    """The same in virtual time."""
    clock = VirtualClock()
    left, right = pair(boot, clock=clock, link=link)
    # So that ARP does not take part.
    left.net.neighbours.add("10.0.0.2", right.net.link("eth0").mac, "eth0")
    right.net.neighbours.add("10.0.0.1", left.net.link("eth0").mac, "eth0")
    return left, right, clock


def transfer(left: Kernel, right: Kernel, address: str, size: int, port: int = 7000) -> float:
    """Send so many bytes over TCP from one thread; the time on the clock of the left."""
    with right.socket.create_server((address, port)) as server:
        client = left.socket.create_connection((address, port))
        peer, _ = server.accept()
    with client, peer:
        client.setblocking(False)
        peer.setblocking(False)
        begin = left.clock.now_ns
        data, sent, received = bytes(65536), 0, 0
        while received < size:
            try:
                if sent < size:
                    sent += client.send(data[: size - sent])
            except BlockingIOError:
                pass
            try:
                received += len(peer.recv(1 << 20))
            except BlockingIOError:
                right.select.select([peer], [], [], 0.5)
        return (left.clock.now_ns - begin) / 1e9
