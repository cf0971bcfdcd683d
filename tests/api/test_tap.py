# SPDX-License-Identifier: GPL-2.0-only
"""TAP devices: two kernels that are neighbours, this one and the host's in a namespace."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket as host
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel, Tap
from tests.api.traffic import send_to
from tests.cputime import cpu_time_of_others
from tests.netns import Namespace, namespace

__all__ = ["namespace"]

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def neighbours(
    boot: Boot, namespace: Namespace, mtu: int | None = None, **options: Any
) -> tuple[Kernel, Tap]:
    """10.0.0.1 is the host, 10.0.0.2 the kernel."""
    tap = Tap("tap0", netns=namespace.name, mtu=mtu, **options)
    namespace.address("tap0", "10.0.0.1/24", mtu)
    kernel = boot(nics=[tap])
    kernel.ifup("eth0", "10.0.0.2/24", mtu=mtu)
    return kernel, tap


def to_host(kernel: Kernel, namespace: Namespace, data: bytes, times: int) -> None:
    """Send data from the kernel to the host; it must arrive unchanged."""
    with namespace.server(("10.0.0.1", 5000)) as server:
        send_to(kernel, ("10.0.0.1", 5000), server, data, times)


def to_kernel(kernel: Kernel, namespace: Namespace, data: bytes, times: int) -> None:
    """The other way."""
    digest = hashlib.sha256()
    with kernel.socket.create_server(("10.0.0.2", 5001)) as server:

        def send() -> None:
            with namespace.connect(("10.0.0.2", 5001)) as peer:
                for _ in range(times):
                    peer.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        with server.accept()[0] as peer:
            while part := peer.recv(1 << 20):
                digest.update(part)
        thread.join(10)
    assert digest.digest() == hashlib.sha256(data * times).digest()


@pytest.mark.parametrize("offloads", [True, False])
def test_tcp_both_ways(boot: Boot, namespace: Namespace, offloads: bool) -> None:
    """With offloads frames are larger than the MTU, without they are not."""
    kernel, tap = neighbours(boot, namespace, offloads=offloads)
    data = os.urandom(1 << 20)
    to_host(kernel, namespace, data, 16)
    to_kernel(kernel, namespace, data, 16)
    stats = tap.stats
    assert stats.errors == stats.dropped == 0
    assert (stats.sent_bytes / stats.sent > 3000) == offloads
    assert (stats.received_bytes / stats.received > 3000) == offloads


@pytest.mark.parametrize("offloads", [True, False])
def test_ping(boot: Boot, namespace: Namespace, offloads: bool) -> None:
    """By the host's ping, large ones in fragments, over IPv4 and IPv6.

    It gives up on its last replies after two round trips, so one reply is enough.
    """
    kernel, _ = neighbours(boot, namespace, offloads=offloads)
    namespace.address("tap0", "fd00::1/64")
    kernel.ifup("eth0", "fd00::2/64")
    for address in ("10.0.0.2", "fd00::2"):
        for size in ("16", "1472", "5000"):
            said = namespace.run("ping", "-n", "-c", "3", "-i", "0.01", "-s", size, address)
            assert " 0 received" not in said


@pytest.mark.parametrize("mtu", [68, 9000, 65521])
def test_mtu(boot: Boot, namespace: Namespace, mtu: int) -> None:
    """65,521 is the largest that a TAP device has; the interface may have 65,535."""
    kernel, _ = neighbours(boot, namespace, mtu=mtu)
    size = mtu - 28
    said = namespace.run(
        "ping", "-n", "-c", "2", "-i", "0.01", "-M", "do", "-s", str(size), "10.0.0.2"
    )
    assert " 0 received" not in said
    if mtu >= 576:
        to_host(kernel, namespace, os.urandom(1 << 20), 4)
        to_kernel(kernel, namespace, os.urandom(1 << 20), 4)


def test_udp_segments(boot: Boot, namespace: Namespace) -> None:
    """UDP_SEGMENT: the host cuts what the kernel sends at once, or gets it cut."""
    kernel, _ = neighbours(boot, namespace)
    with (
        namespace.socket(host.AF_INET, host.SOCK_DGRAM) as there,
        kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as here,
    ):
        there.bind(("10.0.0.1", 7))
        there.settimeout(10)
        here.setsockopt(host.SOL_UDP, 103, 1000)
        here.sendto(b"x" * 10_500, ("10.0.0.1", 7))
        assert [len(there.recv(20_000)) for _ in range(11)] == [1000] * 10 + [500]


def test_the_tap_decides_the_mtu(boot: Boot, namespace: Namespace) -> None:
    namespace.ip("tuntap add mode tap name tap0 vnet_hdr")
    namespace.ip("link set tap0 mtu 4321")
    kernel, _ = neighbours(boot, namespace)
    with kernel.open("/sys/class/net/eth0/mtu") as file:
        assert file.read() == "4321\n"


@pytest.mark.parametrize("queues", ["", "multi_queue"])
def test_persistent_devices(boot: Boot, namespace: Namespace, queues: str) -> None:
    """One that was there stays; one of our own stays if that is wanted."""
    namespace.ip(f"tuntap add mode tap name tap7 {queues}")
    tap = Tap("tap7", netns=namespace.name)
    if not queues:
        with pytest.raises(OSError, match="tap7") as caught:
            Tap("tap7", netns=namespace.name)
        assert caught.value.errno == errno.EBUSY
    boot(nics=[tap]).close()
    assert "tap7" in namespace.ip("link")
    boot(nics=[Tap("p%d", netns=namespace.name, persist=True)]).close()
    boot(nics=[Tap("q%d", netns=namespace.name)]).close()
    assert "p0" in namespace.ip("link")
    assert "q0" not in namespace.ip("link")


def test_a_descriptor(boot: Boot, namespace: Namespace) -> None:
    """Of a TAP device that somebody else opened, with and without virtio's header."""
    import fcntl

    from rumpel.devices.netns import inside

    for flags, offloads in ((0x1002, False), (0x5002, True)):
        with inside(namespace.name):
            fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"mine", flags))
        tap = Tap(fd=fd)
        assert tap.name == "mine"
        os.close(fd)
        namespace.address("mine", "10.0.0.1/24")
        kernel = boot(nics=[tap])
        kernel.ifup("eth0", "10.0.0.2/24")
        to_host(kernel, namespace, os.urandom(1 << 20), 2)
        to_kernel(kernel, namespace, os.urandom(1 << 20), 2)
        assert (tap.stats.sent_bytes / tap.stats.sent > 3000) == offloads
        kernel.close()


def test_a_deleted_device(boot: Boot, namespace: Namespace) -> None:
    """Nobody spins, calls go on, the kernel halts."""
    kernel, _ = neighbours(boot, namespace)
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.0.0.1", 9))
        namespace.ip("link delete tap0")
        time.sleep(0.05)
        for _ in range(20):
            sock.sendto(b"x", ("10.0.0.1", 9))
    assert cpu_time_of_others() < 0.15
    with kernel.socket.create_server(("127.0.0.1", 80)) as server:
        kernel.socket.create_connection(("127.0.0.1", 80)).close()
        server.accept()[0].close()
    kernel.halt()


def tun_descriptors() -> set[int]:
    """Those of this process."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # iterdir's own
            if entry.readlink() == Path("/dev/net/tun"):
                found.add(int(entry.name))
    return found


def test_a_descriptor_that_is_closed_under_it(boot: Boot, namespace: Namespace) -> None:
    """By a program with a bug: nobody spins, calls go on, the kernel halts."""
    before = tun_descriptors()
    kernel, _ = neighbours(boot, namespace)
    (fd,) = tun_descriptors() - before
    os.close(fd)
    try:
        with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
            for _ in range(20):
                sock.sendto(b"x", ("10.0.0.1", 9))
        assert cpu_time_of_others() < 0.15
        with kernel.socket.create_server(("127.0.0.1", 80)) as server:
            kernel.socket.create_connection(("127.0.0.1", 80)).close()
            server.accept()[0].close()
    finally:
        # The device closes the number once more, which must not be another's then.
        null = os.open("/dev/null", os.O_RDWR)
        if null != fd:
            os.dup2(null, fd)
            os.close(null)
    kernel.halt()


def test_a_deleted_device_is_no_carrier(boot: Boot, namespace: Namespace) -> None:
    """For a driver that looks for the link's state."""
    tap = Tap("tap0", netns=namespace.name)
    tap.link_up = True
    namespace.address("tap0", "10.0.0.1/24")
    kernel = boot(nics=[tap])
    kernel.ifup("eth0", "10.0.0.2/24")
    wait_for_carrier(kernel, "1\n")
    namespace.ip("link delete tap0")
    wait_for_carrier(kernel, "0\n")


def wait_for_carrier(kernel: Kernel, wanted: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        with kernel.open("/sys/class/net/eth0/carrier") as file:
            if file.read() == wanted:
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_device_that_is_down(boot: Boot, namespace: Namespace) -> None:
    """What is sent is lost; when it is up again all goes on."""
    kernel, _ = neighbours(boot, namespace)
    namespace.ip("link set tap0 down")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        for _ in range(20):
            sock.sendto(b"x", ("10.0.0.1", 9))
    namespace.ip("link set tap0 up")
    to_host(kernel, namespace, os.urandom(1 << 20), 1)


def test_many_interfaces(boot: Boot, namespace: Namespace) -> None:
    """Each with a network of its own; one of them between two kernels over a bridge."""
    namespace.ip("link add br0 type bridge")
    namespace.ip("link set br0 up")
    kernels = []
    for number in (1, 2):
        taps = [Tap(f"k{number}n{i}", netns=namespace.name) for i in range(3)]
        for tap in taps:
            namespace.ip(f"link set {tap.name} up")
        namespace.ip(f"link set {taps[2].name} master br0")
        kernel = boot(nics=taps)
        for i in range(2):
            namespace.ip(f"address add 10.{number}.{i}.1/24 dev {taps[i].name}")
            kernel.ifup(f"eth{i}", f"10.{number}.{i}.2/24")
            assert "1 received" in namespace.run("ping", "-n", "-c", "1", f"10.{number}.{i}.2")
        kernel.ifup("eth2", f"10.9.9.{number}/24")
        kernels.append(kernel)
    with (
        kernels[0].socket.create_server(("10.9.9.1", 80)) as server,
        kernels[1].socket.create_connection(("10.9.9.1", 80), timeout=20) as client,
        server.accept()[0] as peer,
    ):
        client.sendall(b"over the bridge")
        assert peer.recv(100) == b"over the bridge"


def test_mistakes(namespace: Namespace) -> None:
    with pytest.raises(ValueError, match="longer than the 15 bytes"):
        Tap("a" * 16, netns=namespace.name)
    with pytest.raises(OSError, match="no-such-namespace") as caught:
        Tap(netns="no-such-namespace")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(ValueError, match="bad arguments of a TAP device"):
        Tap("lo", netns=namespace.name)
    with pytest.raises(ValueError, match="a descriptor has a name"):
        Tap("x", fd=0)
    with open("/dev/null") as null, pytest.raises(OSError, match="rotocol") as caught:
        Tap(fd=null)
    assert caught.value.errno == errno.EPROTOTYPE
    with pytest.raises(OSError, match="Bad file descriptor"):
        Tap(fd=1000)


def test_nothing_is_left(namespace: Namespace) -> None:
    """Of devices that no kernel took."""
    Tap(netns=namespace.name)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        Tap(netns=namespace.name)
    assert len(os.listdir("/proc/self/fd")) <= before  # those of earlier tests may go
    assert "tap" not in namespace.ip("link")
