# SPDX-License-Identifier: GPL-2.0-only
"""Network interfaces that are Python objects: responders, a switch, mistakes."""

from __future__ import annotations

import errno
import os
import socket as host
import threading
from collections.abc import Callable
from typing import Any

import dpkt
import pytest

from rumpel import KernelClosed, PythonNic, VirtualClock
from tests.api.responder import Responder, echo, wait_for
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_a_responder(boot: Boot) -> None:
    """Written with dpkt; its checksums and the kernel's are right, or nothing would arrive."""
    nic = Responder()
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    assert echo(kernel, b"hello") == b"hello"
    data = os.urandom(1400)
    assert [echo(kernel, data) for _ in range(20)] == [data] * 20
    with kernel.socket.socket(host.AF_INET, host.SOCK_RAW, host.IPPROTO_ICMP) as sock:
        sock.settimeout(10)
        ping = bytes(dpkt.icmp.ICMP(type=8, data=dpkt.icmp.ICMP.Echo(id=1, seq=1, data=b"x" * 99)))
        sock.sendto(ping, ("10.0.0.9", 0))
        answer = dpkt.ip.IP(sock.recv(2000)).data
        assert (answer.type, answer.data.data) == (0, b"x" * 99)
    stats = nic.stats
    assert stats.sent >= stats.received >= 23
    assert stats.errors == stats.dropped == 0


@pytest.mark.parametrize("mtu", [576, 9000, 65535])
def test_mtu(boot: Boot, mtu: int) -> None:
    kernel = boot(nics=[Responder(mtu=mtu)])
    kernel.ifup("eth0", "10.0.0.1/24")
    data = os.urandom(min(mtu, 65535) - 28)
    assert echo(kernel, data) == data


class Port(PythonNic):
    """A port of a switch."""

    def __init__(self, switch: Switch) -> None:
        super().__init__(mtu=9000)
        self.switch = switch

    def transmit(self, frames: list[bytes]) -> None:
        for frame in frames:
            self.switch.forward(self, frame)


class Switch:
    """Learns where addresses are, as any switch."""

    def __init__(self, ports: int, now: Callable[[], float] = lambda: 0.0) -> None:
        self.table: dict[bytes, Port] = {}
        self.trace: list[tuple[float, bytes]] = []
        self.now = now
        self.ports = [Port(self) for _ in range(ports)]

    def forward(self, port: Port, frame: bytes) -> None:
        self.trace.append((self.now(), frame))
        self.table[frame[6:12]] = port
        to = self.table.get(frame[:6])
        for other in [to] if to else self.ports:
            if other is not port:
                other.receive([frame])


def test_a_switch(boot: Boot) -> None:
    """Between three kernels, each with TCP to the next."""
    switch = Switch(3)
    kernels = [boot(nics=[port]) for port in switch.ports]
    for number, kernel in enumerate(kernels):
        kernel.ifup("eth0", f"10.0.0.{number + 1}/24")
    data = os.urandom(1 << 20)
    for number in range(3):
        to = (f"10.0.0.{number + 1}", 80)
        server = kernels[number].socket.create_server(to)
        got = bytearray()

        def take(server: Any = server, got: bytearray = got) -> None:
            with server, server.accept()[0] as peer:
                while part := peer.recv(1 << 16):
                    got += part

        thread = threading.Thread(target=take)
        thread.start()
        with kernels[(number + 1) % 3].socket.create_connection(to, timeout=20) as client:
            client.sendall(data)
        thread.join(20)
        assert got == data
    assert len(switch.table) == 3


def run_on_a_virtual_clock(boot: Boot) -> list[tuple[float, bytes]]:
    """Two kernels and a switch, in one thread."""
    clock = VirtualClock()
    switch = Switch(2, lambda: clock.now)
    a, b = (boot(nics=[port], clock=clock) for port in switch.ports)
    a.ifup("eth0", "10.0.0.1/24")
    b.ifup("eth0", "10.0.0.2/24")
    server = b.socket.create_server(("10.0.0.2", 80))
    client = a.socket.create_connection(("10.0.0.2", 80))
    peer, _ = server.accept()
    client.sendall(b"x" * 10_000)
    assert peer.recv(10_000, host.MSG_WAITALL) == b"x" * 10_000
    a.sleep(10)
    for sock in (client, peer, server):
        sock.close()
    b.sleep(100)
    a.close()
    b.close()
    return switch.trace


def test_every_run_on_a_virtual_clock_is_the_same(boot: Boot) -> None:
    """The frames, made-up addresses in them, and their times."""
    first = run_on_a_virtual_clock(boot)
    assert len(first) > 15
    assert run_on_a_virtual_clock(boot) == first


@pytest.mark.parametrize("virtual", [False, True])
def test_an_exception_is_reported_and_the_kernel_goes_on(
    boot: Boot, unraisable: list[Any], virtual: bool
) -> None:
    class Faulty(Responder):
        calls = 0

        def transmit(self, frames: list[bytes]) -> None:
            self.calls += 1
            if self.calls == 2:
                raise ZeroDivisionError("second batch")
            super().transmit(frames)

    nic = Faulty()
    kernel = boot(nics=[nic], clock=VirtualClock() if virtual else None)
    kernel.ifup("eth0", "10.0.0.1/24")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        for number in range(10):
            sock.sendto(b"%d" % number, ("10.0.0.9", 7))
            sock.settimeout(0.2)
            try:
                assert sock.recv(100)
            except TimeoutError:
                continue
    assert [str(error) for error, _ in unraisable] == ["second batch"]
    assert "transmit() of <" in unraisable[0][1]
    assert echo(kernel, b"again") == b"again"


def test_without_transmit(boot: Boot, unraisable: list[Any]) -> None:
    """The class itself is no interface: it says what is missing."""
    kernel = boot(nics=[PythonNic()])
    kernel.ifup("eth0", "10.0.0.1/24")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.0.0.9", 7))
    wait_for(lambda: bool(unraisable))
    assert "PythonNic has no transmit()" in str(unraisable[0][0])


def test_a_slow_one_holds_up_nobody(boot: Boot) -> None:
    """Neither calls of that kernel nor another interface of it."""
    going, released = threading.Event(), threading.Event()

    class Slow(PythonNic):
        batches: list[int] = []  # noqa: RUF012

        def transmit(self, frames: list[bytes]) -> None:
            going.set()
            released.wait(20)
            self.batches.append(len(frames))

    kernel = boot(nics=[Slow(), Responder()])
    kernel.ifup("eth0", "10.1.0.1/24")
    kernel.ifup("eth1", "10.0.0.1/24")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.setsockopt(host.SOL_SOCKET, host.SO_BROADCAST, 1)
        sock.sendto(b"x", ("10.1.0.255", 7))
        assert going.wait(10)
        for _ in range(600):
            sock.sendto(b"x", ("10.1.0.255", 7))
        assert echo(kernel, b"meanwhile") == b"meanwhile"
    assert Slow.batches == []
    released.set()
    # What waited in the queue comes, in batches.
    wait_for(lambda: sum(Slow.batches) >= 300)
    assert max(Slow.batches) > 50


def test_receive(boot: Boot) -> None:
    """What is no frame is not taken; when the kernel is not there, an exception tells."""
    nic = Responder()
    with pytest.raises(OSError, match="down") as caught:
        nic.receive([bytes(60)])
    assert caught.value.errno == errno.ENETDOWN
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    assert nic.receive([]) == 0
    frames: list[Any] = [
        bytes(13),
        bytes(14),
        bytearray(100),
        memoryview(bytes(65557)),
        bytes(65558),
    ]
    assert nic.receive(frames) == 3
    with pytest.raises(TypeError, match="bytes-like"):
        nic.receive(b"one frame")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        nic.receive(["text"])  # type: ignore[list-item]
    kernel.close()
    with pytest.raises(KernelClosed):
        nic.receive([bytes(60)])


def test_more_than_there_is_room_for(boot: Boot) -> None:
    """As with any card, the rest is lost, and counted."""
    nic = Responder()
    kernel = boot(nics=[nic], housekeeper=False)
    kernel.ifup("eth0", "10.0.0.1/24")
    many = [bytes(60_000)] * 500
    taken = nic.receive(many)
    assert 250 < taken < 500
    assert nic.stats.dropped >= 500 - taken
