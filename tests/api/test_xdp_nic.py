# SPDX-License-Identifier: GPL-2.0-only
"""AF_XDP: a kernel in the place of the host on one end of a veth, the host at its other end."""

from __future__ import annotations

import errno
import os
import signal
import socket as host
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from rumpel import Kernel, XdpNic
from rumpel.devices.netns import inside
from tests.api.test_fork import in_child
from tests.api.test_tap import to_host, to_kernel
from tests.cputime import cpu_time_of_others
from tests.netns import Namespace, namespace

__all__ = ["namespace"]

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

Boot = Callable[..., Kernel]


@pytest.fixture
def cable(namespace: Namespace) -> Namespace:
    """10.0.0.1 is the host at the end ``far``; ``wire`` is for the kernel."""
    try:
        host.socket(44, host.SOCK_RAW).close()  # AF_XDP
    except OSError as error:
        pytest.skip(f"this host has no AF_XDP: {error}")
    namespace.ip("link add wire type veth peer name far")
    namespace.ip("link set wire up")
    namespace.address("far", "10.0.0.1/24")
    return namespace


def neighbours(boot: Boot, cable: Namespace, **options: Any) -> tuple[Kernel, XdpNic]:
    """10.0.0.2 is the kernel, which has taken ``wire`` over."""
    nic = XdpNic("wire", netns=cable.name, **options)
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.2/24")
    return kernel, nic


def program(cable: Namespace) -> bool:
    """Is there a program of XDP?"""
    return "prog/xdp" in cable.ip("link show wire")


def running(kernel: Kernel, fd: int) -> bool:
    """Has its interface a carrier? IFF_RUNNING by SIOCGIFFLAGS, netdevice(7)."""
    request = struct.pack("16sH22x", b"eth0", 0)
    (flags,) = struct.unpack_from("16xH", kernel.fcntl.ioctl(fd, 0x8913, request))
    return bool(flags & 0x40)


def answers(cable: Namespace, address: str = "10.0.0.2", *options: str) -> bool:
    """Does anybody answer the host's ping, in one of three attempts?"""
    said = cable.run(
        "ping", "-n", "-c", "3", "-i", "0.01", "-W", "20", *options, address, check=False
    )
    return "bytes from" in said


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("offloads", [True, False])
def test_tcp_both_ways(
    boot: Boot, cable: Namespace, mode: Literal["native", "generic"], offloads: bool
) -> None:
    """Nothing is lost or damaged, in frames of the MTU, though the sender leaves out checksums.

    A generic program gets the sender's segments as they are, so it has to make small ones.
    """
    if mode == "generic":
        cable.run("ethtool", "-K", "far", "tso", "off", "gso", "off")
    kernel, nic = neighbours(boot, cable, mode=mode, offloads=offloads)
    assert nic.mode == mode
    data = os.urandom(1 << 20)
    to_host(kernel, cable, data, 8)
    stats = nic.stats  # before it sends mere acknowledgements
    assert 1000 < stats.sent_bytes / stats.sent <= 1514
    to_kernel(kernel, cable, data, 8)
    stats = nic.stats
    assert stats.errors == stats.dropped == 0
    assert stats.received_bytes / stats.received <= 1514


@pytest.mark.parametrize("offloads", [True, False])
def test_datagrams(boot: Boot, cable: Namespace, offloads: bool) -> None:
    """Of all sizes, over IPv4 and IPv6, also in fragments."""
    kernel, _ = neighbours(boot, cable, offloads=offloads)
    cable.address("far", "fd00::1/64")
    kernel.ifup("eth0", "fd00::2/64")
    families = ((host.AF_INET, "10.0.0.2"), (host.AF_INET6, "fd00::2"))
    for family, address in families:
        assert answers(cable, address)
        with (
            cable.socket(family, host.SOCK_DGRAM) as there,
            kernel.socket.socket(family, host.SOCK_DGRAM) as here,
        ):
            there.settimeout(10)
            here.settimeout(10)
            here.bind((address, 7))
            for size in (0, 1, 999, 1452, 1472, 5000):
                there.sendto(os.urandom(size), (address, 7))
                data, sender = here.recvfrom(10_000)
                assert len(data) == size
                here.sendto(data, sender)
                assert there.recv(10_000) == data


def test_the_host_has_it_back(boot: Boot, cable: Namespace) -> None:
    """Meanwhile it sees nothing of what comes; afterwards there is no trace."""
    cable.ip("address add 10.0.0.3/24 dev wire")
    with inside(cable.name), host.socket(host.AF_PACKET, host.SOCK_RAW, 0) as ear:
        ear.bind(("wire", 0x0806))
        kernel, _ = neighbours(boot, cable)
        assert program(cable)
        assert answers(cable)
        ear.setblocking(False)
        with pytest.raises(BlockingIOError):
            ear.recv(2000)
    kernel.halt()
    kernel.close()
    assert not program(cable)
    assert "promiscuity 0" in cable.ip("-d link show wire")
    with (
        cable.socket(host.AF_PACKET, host.SOCK_RAW, host.htons(0x88B5)) as ear,
        cable.socket(host.AF_PACKET, host.SOCK_RAW, 0) as mouth,
    ):
        ear.bind(("wire", 0x88B5))
        ear.settimeout(10)
        mouth.bind(("far", 0))
        mouth.send(b"\xff" * 6 + b"\2\0\0\0\0\7\x88\xb5" + b"again")
        assert ear.recv(2000).endswith(b"again")


def test_a_process_that_dies(cable: Namespace) -> None:
    """Its program goes with it, whatever it dies of."""
    code = f"import rumpel; n = rumpel.XdpNic('wire', netns={cable.name!r}); print(n.mode); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"native\n"
        assert program(cable)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    while program(cable):  # a link is taken apart by a worker of the host
        time.sleep(0.01)
    assert XdpNic("wire", netns=cable.name).mode == "native"


def test_taken(boot: Boot, cable: Namespace) -> None:
    """Who comes second is told, and the first one does not notice."""
    kernel, _ = neighbours(boot, cable)
    attempts: list[dict[str, Any]] = [{}, {"mode": "generic"}, {"queue": 1}]
    for options in attempts:
        with pytest.raises(OSError, match="XDP program already") as caught:
            XdpNic("wire", netns=cable.name, **options)
        assert caught.value.errno == errno.EBUSY
    assert answers(cable)
    kernel.halt()
    kernel.close()
    neighbours(boot, cable)
    cable.ip("neigh flush dev far")
    assert answers(cable)


def test_again_at_once(cable: Namespace) -> None:
    """Who gives an interface back may take it again at once, though the host is slower."""
    for _ in range(15):
        assert XdpNic("wire", netns=cable.name).mode == "native"


def test_more_at_once_than_it_holds(boot: Boot, cable: Namespace) -> None:
    """A flood in either direction may lose datagrams, but holds up nobody for good."""
    kernel, nic = neighbours(boot, cable)
    assert answers(cable)
    with (
        cable.socket(host.AF_INET, host.SOCK_DGRAM) as there,
        kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as here,
    ):
        here.bind(("10.0.0.2", 7))

        def flood() -> None:
            for _ in range(20_000):
                there.sendto(b"x", ("10.0.0.2", 7))

        thread = threading.Thread(target=flood)
        thread.start()
        for _ in range(20_000):
            here.sendto(b"x", ("10.0.0.1", 9))
        thread.join(60)
    assert nic.stats.sent > 4096
    to_host(kernel, cable, os.urandom(1 << 20), 2)
    to_kernel(kernel, cable, os.urandom(1 << 20), 2)


def test_mtu(boot: Boot, cable: Namespace) -> None:
    """That of the host's interface, up to what a frame of AF_XDP has room for."""
    for name in ("wire", "far"):
        cable.ip(f"link set {name} mtu 3498")  # the most that a veth has with XDP
    kernel, _ = neighbours(boot, cable)
    assert answers(cable, "10.0.0.2", "-M", "do", "-s", str(3498 - 28))
    to_host(kernel, cable, os.urandom(1 << 20), 2)
    kernel.halt()
    kernel.close()
    for name in ("wire", "far"):
        cable.ip(f"link set {name} mtu 9000")
    with pytest.raises(OSError, match="3,818") as caught:
        XdpNic("wire", netns=cable.name)
    assert caught.value.errno == errno.EMSGSIZE
    assert XdpNic("wire", netns=cable.name, mtu=3818).mode == "generic"


def test_an_interface_that_is_down_and_up(boot: Boot, cable: Namespace) -> None:
    """What is sent meanwhile is lost, and nothing has to be done when it is up again."""
    kernel, nic = neighbours(boot, cable)
    cable.ip("link set wire down")
    with kernel.socket.socket(host.AF_PACKET, host.SOCK_RAW, 0) as sock:
        sock.bind(("eth0", 0x88B5))
        for _ in range(3000):
            sock.send(b"\xff" * 6 + b"\2\0\0\0\0\7\x88\xb5" + b"into the void")
        assert nic.stats.dropped > 1000
    cable.ip("link set wire up")
    to_host(kernel, cable, os.urandom(1 << 20), 1)
    to_kernel(kernel, cable, os.urandom(1 << 20), 1)


def test_an_interface_that_is_deleted(boot: Boot, cable: Namespace) -> None:
    """The carrier goes, nobody spins, calls go on, the kernel halts."""
    nic = XdpNic("wire", netns=cable.name)
    nic.link_up = True
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.2/24")
    cable.ip("link delete wire")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        while running(kernel, sock.fileno()):
            time.sleep(0.01)
        sock.sendto(b"x", ("10.0.0.2", 9))
    assert cpu_time_of_others() < 0.15
    assert kernel.os.getpid() == 1
    kernel.halt()


def test_fork(boot: Boot, cable: Namespace) -> None:
    """The interface stays with the parent's kernel; the child's has a dead one."""
    kernel, _ = neighbours(boot, cable)
    assert answers(cable)

    def child() -> None:
        with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
            for _ in range(100):
                sock.sendto(b"x", ("10.0.0.1", 9))
        kernel.halt()
        kernel.close()

    in_child(child)
    assert program(cable)
    to_host(kernel, cable, os.urandom(1 << 20), 1)
    to_kernel(kernel, cable, os.urandom(1 << 20), 1)


def test_without_privileges(cable: Namespace) -> None:
    """It is said what is missing, and what does with less."""

    def child() -> None:
        with inside(cable.name):
            os.seteuid(65534)
            with pytest.raises(PermissionError, match=r"CAP_BPF.*PacketNic"):
                XdpNic("wire")
            os.seteuid(0)

    in_child(child)


def test_mistakes(cable: Namespace) -> None:
    """Each says what is wrong, and leaves nothing behind."""
    with pytest.raises(OSError, match="none") as caught:
        XdpNic("none", netns=cable.name)
    assert caught.value.errno == errno.ENODEV
    with pytest.raises(OSError, match="No such device"):
        XdpNic("a name that is too long", netns=cable.name)
    cable.ip("tuntap add mode tun name tun0")
    with pytest.raises(OSError, match="Ethernet") as caught:
        XdpNic("tun0", netns=cable.name)
    assert caught.value.errno == errno.EPROTOTYPE
    with pytest.raises(OSError, match="no such queue") as caught:
        XdpNic("wire", queue=5, netns=cable.name)
    assert caught.value.errno == errno.ECHRNG
    cable.ip("link add name bridge type bridge")
    with pytest.raises(OSError, match="its driver has no XDP") as caught:
        XdpNic("bridge", mode="native", netns=cable.name)
    assert caught.value.errno == errno.EOPNOTSUPP
    assert "prog/xdp" not in cable.ip("link show")
    with pytest.raises(ValueError, match="'fast' is neither"):
        XdpNic("wire", mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not the number of a queue"):
        XdpNic("wire", queue=-1)
    with pytest.raises(ValueError, match="not a MAC address"):
        XdpNic("wire", mac="x", netns=cable.name)
