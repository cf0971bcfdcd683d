# SPDX-License-Identifier: GPL-2.0-only
"""Network interfaces that are Python objects: responders, a switch, mistakes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import socket as host
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import dpkt
import pytest

from rumpel import Kernel, KernelClosed, MemoryDisk, PythonNic, VirtualClock

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]

MAC = b"\2\0\0\0\0\x99"
ADDRESS = host.inet_aton("10.0.0.9")


class Responder(PythonNic):
    """A neighbour at 10.0.0.9 that answers ARP, pings, and UDP with what it got."""

    def transmit(self, frames: list[bytes]) -> None:
        answers = [self.answer(dpkt.ethernet.Ethernet(frame)) for frame in frames]
        self.receive([bytes(answer) for answer in answers if answer is not None])

    def answer(self, frame: dpkt.ethernet.Ethernet) -> dpkt.ethernet.Ethernet | None:
        packet = frame.data
        if isinstance(packet, dpkt.arp.ARP) and packet.tpa == ADDRESS:
            reply: Any = dpkt.arp.ARP(op=2, sha=MAC, spa=ADDRESS, tha=packet.sha, tpa=packet.spa)
        elif isinstance(packet, dpkt.ip.IP) and packet.dst == ADDRESS:
            if isinstance(packet.data, dpkt.icmp.ICMP):
                packet.data.type, packet.data.sum = 0, 0
            elif isinstance(packet.data, dpkt.udp.UDP):
                udp = packet.data
                udp.sport, udp.dport, udp.sum = udp.dport, udp.sport, 0
            reply = packet
            reply.src, reply.dst, reply.sum = packet.dst, packet.src, 0
        else:
            return None
        return dpkt.ethernet.Ethernet(dst=frame.src, src=MAC, type=frame.type, data=reply)


def echo(kernel: Kernel, data: bytes) -> bytes:
    """Send data to the responder's UDP port 7."""
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.sendto(data, ("10.0.0.9", 7))
        return bytes(sock.recv(70_000))


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


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was reported to sys.unraisablehook: exceptions, and of what."""
    caught: list[Any] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda u: caught.append((u.exc_value, repr(u.object)))
    )
    return caught


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


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


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


def test_calls_of_kernels_inside(boot: Boot, unraisable: list[Any]) -> None:
    """In real time they are fine; on a virtual clock they would never end."""
    said: list[Any] = []

    class Curious(PythonNic):
        kernel: Kernel

        def transmit(self, frames: list[bytes]) -> None:
            try:
                said.append(self.kernel.os.getpid())
            except RuntimeError as error:
                said.append(error)

    for clock in (None, VirtualClock()):
        nic = Curious()
        nic.kernel = boot(nics=[nic], clock=clock)
        nic.kernel.ifup("eth0", "10.0.0.1/24")
        with nic.kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
            said.clear()
            sock.sendto(b"x", ("10.0.0.9", 7))
        wait_for(lambda: bool(said))
        assert said[0] == 1 if clock is None else "virtual clock waits" in str(said[0])
    assert not unraisable


def test_the_kernel_may_be_closed_inside(boot: Boot) -> None:
    """By a thread that it would otherwise wait for."""
    closed = threading.Event()

    class Closer(PythonNic):
        kernel: Kernel

        def transmit(self, frames: list[bytes]) -> None:
            self.kernel.close()
            closed.set()

    nic = Closer()
    nic.kernel = boot(nics=[nic])
    nic.kernel.ifup("eth0", None)
    with pytest.raises(KernelClosed):
        for _ in range(1000):
            nic.kernel.ifup("eth0", "10.0.0.1/24")
            with nic.kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
                sock.sendto(b"x", ("10.0.0.9", 7))
            time.sleep(0.01)
    assert closed.wait(10)


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


def test_async(boot: Boot) -> None:
    """It runs on the loop, one batch after the other."""
    active: list[int] = []
    loop: Any = None

    class Async(Responder):
        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            assert asyncio.get_running_loop() is loop
            assert not active
            active.append(1)
            await asyncio.sleep(0.01)
            active.clear()
            super().transmit(frames)

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        kernel = boot(nics=[Async()])
        kernel.ifup("eth0", "10.0.0.1/24")
        assert await asyncio.to_thread(echo, kernel, b"one") == b"one"
        both = asyncio.gather(*(asyncio.to_thread(echo, kernel, b"%d" % n) for n in range(5)))
        assert await both == [b"%d" % n for n in range(5)]

    asyncio.run(main())


def test_async_exceptions_are_the_loops(boot: Boot) -> None:
    class Faulty(Responder):
        calls = 0

        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            self.calls += 1
            if self.calls == 1:
                raise ZeroDivisionError
            super().transmit(frames)

    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, c: reported.append(c))
        kernel = boot(nics=[Faulty()])
        kernel.ifup("eth0", "10.0.0.1/24")
        assert await asyncio.to_thread(echo, kernel, b"x") == b"x"
        assert isinstance(reported[0]["exception"], ZeroDivisionError)
        assert "transmit() of <" in reported[0]["message"]

    asyncio.run(main())


class Slow(Responder):
    """It answers after a while, from a coroutine."""

    async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
        await asyncio.sleep(0.001)
        super().transmit(frames)


def test_async_without_a_loop(boot: Boot, unraisable: list[Any]) -> None:
    """Made where no loop runs it has one of its own, which ends with the kernel."""
    nic = Slow()
    kernel = boot(nics=[nic])
    kernel.ifup("eth0", "10.0.0.1/24")
    for number in range(5):
        assert echo(kernel, b"%d" % number) == b"%d" % number

    async def main() -> None:
        assert await asyncio.to_thread(echo, kernel, b"here") == b"here"

    asyncio.run(main())
    assert any(thread.name == "rumpel-nic-loop" for thread in threading.enumerate())
    own = nic._own
    assert own is not None
    kernel.halt()
    wait_for(lambda: not own.thread.is_alive())
    assert not unraisable


def test_async_on_a_virtual_clock(boot: Boot, unraisable: list[Any]) -> None:
    """The loop that drives the kernel runs it, in virtual time; else it is run at once."""
    clock = VirtualClock()

    class Later(Responder):
        async def transmit(self, frames: list[bytes]) -> None:  # type: ignore[override]
            if driven:
                await asyncio.sleep(3600)
            super().transmit(frames)

    driven = False
    kernel = boot(nics=[Later()], clock=clock)
    kernel.ifup("eth0", "10.0.0.1/24")
    before = clock.now
    assert echo(kernel, b"at once") == b"at once"
    assert clock.now - before < 1
    driven = True

    async def main() -> float:
        sock = kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM)
        with sock:
            await kernel.aio.sock_sendto(sock, b"later", ("10.0.0.9", 7))
            began = clock.now
            assert await kernel.aio.sock_recv(sock, 100) == b"later"
            return clock.now - began

    real = time.monotonic()
    assert kernel.aio.run(main()) >= 3600
    assert time.monotonic() - real < 60
    assert not unraisable


def test_async_with_a_loop_that_is_closed(boot: Boot, unraisable: list[Any]) -> None:
    loop = asyncio.new_event_loop()
    kernel = boot(nics=[Slow(loop=loop)])
    loop.close()
    kernel.ifup("eth0", "10.0.0.1/24")
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.0.0.9", 7))
    wait_for(lambda: bool(unraisable))
    assert "is closed" in str(unraisable[0][0])


def test_nothing_is_left(boot: Boot) -> None:
    """Interfaces that no kernel took, and those of kernels that are gone."""
    threads = len(os.listdir("/proc/self/task"))

    def run() -> Iterator[Any]:
        yield weakref.ref(PythonNic())
        nic = Responder()
        kernel = boot(nics=[nic])
        kernel.ifup("eth0", "10.0.0.1/24")
        echo(kernel, b"x")
        kernel.close()
        yield weakref.ref(nic)

    left = list(run())
    gc.collect()
    wait_for(lambda: len(os.listdir("/proc/self/task")) <= threads)
    assert left[0]() is None


class Caller(PythonNic):
    """Does something when the first frame comes, once it is told what."""

    kernel: Kernel
    action: Callable[[], object] | None = None

    def transmit(self, frames: list[bytes]) -> None:
        action, self.action = self.action, None
        if action is not None:
            action()


def send_one(kernel: Kernel) -> None:
    with kernel.socket.socket(host.AF_INET, host.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("10.0.0.9", 7))


def test_a_virtual_clock_refuses_all_that_would_run_it(boot: Boot) -> None:
    """Whatever a callback tries: an error, and the kernel and its clock go on."""
    clock, nic = VirtualClock(), Caller()
    kernel = nic.kernel = boot(nics=[nic], clock=clock)
    kernel.ifup("eth0", "10.0.0.1/24")
    native, task = kernel._native, kernel._native.task()
    getpid = task.bind(39, "getpid", least=0, most=0)
    disk = MemoryDisk(1 << 20)
    attempts: list[Callable[[], object]] = [
        lambda: task.submit(getpid),
        lambda: native.run(0),
        lambda: kernel.plug(disk),
        lambda: kernel.halt(),
        lambda: kernel.close(),
        lambda: task.close(),
        lambda: native.task(),
        lambda: clock.advance(1),
    ]
    said: list[BaseException] = []

    def try_all() -> None:
        for attempt in attempts:
            try:
                attempt()
            except (RuntimeError, OSError) as error:
                said.append(error)

    nic.action = try_all
    send_one(kernel)
    assert len(said) == len(attempts), said
    assert kernel.os.getpid() == 1
    now = clock.now_ns
    clock.advance(1)
    assert clock.now_ns == now + 10**9


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("frame", [1, 2])
def test_a_fork_inside_on_a_virtual_clock(boot: Boot, frame: int) -> None:
    """In a call, and in a wait for its end: the child has no copy, and the parent goes on."""
    nic = Caller()
    kernel = nic.kernel = boot(nics=[nic], clock=VirtualClock())
    kernel.ifup("eth0", "10.0.0.1/24")
    parent = os.getpid()
    pids: list[int] = []

    def fork() -> None:
        nonlocal frame
        frame -= 1
        if frame:
            nic.action = fork
        else:
            pids.append(os.fork())

    nic.action = fork
    said = ""
    try:
        with kernel.socket.socket() as sock:
            sock.connect(("10.0.0.9", 7))
    except (KernelClosed, OSError) as error:
        said = type(error).__name__
    finally:
        if os.getpid() != parent:
            status = 1
            with contextlib.suppress(BaseException):
                assert (said, kernel.state) == ("KernelClosed", "forked")
                kernel.close()
                status = 0
            os._exit(status)
    assert said == "OSError"  # nobody is there
    assert os.waitpid(pids[0], 0)[1] == 0
    assert kernel.os.getpid() == 1


CLOSES = """
import threading, time
import rumpel

class Slow(rumpel.PythonNic):
    def transmit(self, frames):
        begun.set()
        time.sleep(0.3)

begun = threading.Event()
kernel = rumpel.boot(image=IMAGE, nics=[Slow()], clock=rumpel.VirtualClock())
kernel.ifup("eth0", "10.0.0.1/24")

def send():
    try:
        with kernel.socket.socket(kernel.socket.AF_INET, kernel.socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("10.0.0.9", 7))
            sock.recv(1)
    except rumpel.KernelClosed:
        print("closed")

thread = threading.Thread(target=send)
thread.start()
begun.wait()
kernel.close()
thread.join()
"""


def test_close_while_python_is_asked(default_image: str) -> None:
    """Who closes a kernel waits for its token without Python's lock, which transmit() needs."""
    run = subprocess.run(
        [sys.executable, "-c", f"IMAGE = {default_image!r}\n{CLOSES}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "closed\n"), run.stderr
