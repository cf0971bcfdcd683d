# SPDX-License-Identifier: GPL-2.0-only
"""Packet sockets: a kernel on one end of a veth, the host in a namespace on the other."""

from __future__ import annotations

import errno
import os
import socket as host
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rumpel import Kernel, PacketNic
from tests.api.test_tap import to_host, to_kernel
from tests.cputime import cpu_time_of_others
from tests.netns import Namespace, namespace

__all__ = ["namespace"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]

Boot = Callable[..., Kernel]


def neighbours(
    boot: Boot, namespace: Namespace, mtu: int = 1500, **options: Any
) -> tuple[Kernel, PacketNic]:
    """10.0.0.1 is the host, behind a veth; 10.0.0.2 the kernel on the veth's other end."""
    namespace.ip(f"link add wire mtu {mtu} type veth peer name far mtu {mtu}")
    namespace.ip("link set wire up")
    namespace.address("far", "10.0.0.1/24")
    nic = PacketNic("wire", netns=namespace.name, **options)
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.2/24")
    return kernel, nic


def test_tcp_both_ways(boot: Boot, namespace: Namespace) -> None:
    """In frames larger than the MTU."""
    kernel, nic = neighbours(boot, namespace)
    data = os.urandom(1 << 20)
    to_host(kernel, namespace, data, 8)
    to_kernel(kernel, namespace, data, 8)
    stats = nic.stats
    assert stats.errors == stats.dropped == 0
    assert stats.sent_bytes / stats.sent > 3000
    assert stats.received_bytes / stats.received > 3000


def test_without_offloads(boot: Boot, namespace: Namespace) -> None:
    """Checksums that the host left open are filled in."""
    kernel, nic = neighbours(boot, namespace, offloads=False)
    assert " 0 received" not in namespace.run("ping", "-n", "-c", "3", "-i", "0.01", "10.0.0.2")
    with (
        namespace.socket(host.AF_INET, host.SOCK_DGRAM) as there,
        kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as here,
    ):
        here.bind(("10.0.0.2", 7))
        here.settimeout(10)
        for size in (0, 1, 999, 1472, 5000):
            there.sendto(b"x" * size, ("10.0.0.2", 7))
            assert len(here.recv(10_000)) == size
    to_host(kernel, namespace, os.urandom(1 << 20), 1)
    assert nic.stats.sent_bytes / nic.stats.sent <= 1514


def test_mtu(boot: Boot, namespace: Namespace) -> None:
    """That of the host's interface, up to the largest."""
    kernel, _ = neighbours(boot, namespace, mtu=65535)
    with kernel.open("/sys/class/net/eth0/mtu") as file:
        assert file.read() == "65535\n"
    said = namespace.run("ping", "-n", "-c", "2", "-M", "do", "-s", "65507", "10.0.0.2")
    assert " 0 received" not in said


@contextmanager
def raw(namespace: Namespace, interface: str) -> Iterator[host.socket]:
    """Frames on an interface of the host."""
    with namespace.socket(host.AF_PACKET, host.SOCK_RAW, host.htons(3)) as sock:
        sock.bind((interface, 3))
        sock.settimeout(10)
        yield sock


BROADCAST = b"\xff" * 6 + b"\2\0\0\0\0\7"


def test_vlan_tags(boot: Boot, namespace: Namespace) -> None:
    """The host takes them off its frames; the kernel sees them where they were."""
    kernel, _ = neighbours(boot, namespace)
    with (
        raw(namespace, "far") as sender,
        kernel.socket.socket(host.AF_PACKET, host.SOCK_RAW, host.htons(3)) as receiver,
    ):
        receiver.setsockopt(263, 8, 1)  # PACKET_AUXDATA
        receiver.settimeout(10)
        sender.send(BROADCAST + b"\x81\x00\x30\x07\x88\xb5" + b"tagged")
        while True:
            data, control, _, _ = receiver.recvmsg(2000, 200)
            if data.endswith(b"tagged"):
                break
        assert data == BROADCAST + b"\x88\xb5tagged"
        tci, tpid = struct.unpack_from("=16xHH", control[0][2])
        assert (tci, tpid) == (0x3007, 0x8100)


def test_what_the_host_sends_is_not_seen(boot: Boot, namespace: Namespace) -> None:
    """Only what comes from the other end."""
    kernel, _ = neighbours(boot, namespace)
    with (
        raw(namespace, "wire") as here,
        raw(namespace, "far") as there,
        kernel.socket.socket(host.AF_PACKET, host.SOCK_RAW, host.htons(0x88B5)) as receiver,
    ):
        receiver.settimeout(10)
        here.send(BROADCAST + b"\x88\xb5" + b"of the host")
        there.send(BROADCAST + b"\x88\xb5" + b"of another")
        assert receiver.recv(2000).endswith(b"of another")


def test_an_interface_that_is_down_and_up(boot: Boot, namespace: Namespace) -> None:
    kernel, _ = neighbours(boot, namespace)
    namespace.ip("link set wire down")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        for _ in range(20):
            sock.sendto(b"x", ("10.0.0.1", 9))
    namespace.ip("link set wire up")
    to_host(kernel, namespace, os.urandom(1 << 20), 1)
    to_kernel(kernel, namespace, os.urandom(1 << 20), 1)


def test_an_interface_that_is_deleted(boot: Boot, namespace: Namespace) -> None:
    """Nobody spins, calls go on, the kernel halts."""
    kernel, _ = neighbours(boot, namespace)
    namespace.ip("link delete wire")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        for _ in range(20):
            sock.sendto(b"x", ("10.0.0.1", 9))
    assert cpu_time_of_others() < 0.15
    assert kernel.os.getpid() == 1
    kernel.halt()


def test_mistakes(namespace: Namespace) -> None:
    with pytest.raises(OSError, match="none") as caught:
        PacketNic("none", netns=namespace.name)
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="No such device"):
        PacketNic("a name that is too long", netns=namespace.name)
    namespace.ip("tuntap add mode tun name tun0")
    with pytest.raises(OSError, match="tun0") as caught:
        PacketNic("tun0", netns=namespace.name)
    assert caught.value.errno == errno.EPROTOTYPE
    with pytest.raises(ValueError, match="not a MAC address"):
        PacketNic("lo", mac="x")
