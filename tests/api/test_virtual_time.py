# SPDX-License-Identifier: GPL-2.0-only
"""Kernels on a virtual clock: time is free, and every run is the same."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rumpel
from rumpel import Deadlock, Kernel, Link, VirtualClock

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def test_sleeping_takes_no_time(boot: Boot) -> None:
    clock = VirtualClock()
    kernel = boot(clock=clock)
    before, real = clock.now, time.monotonic()
    kernel.sleep(1000)
    assert 1000 <= clock.now - before < 1000.1
    assert time.monotonic() - real < 100
    assert kernel.clock is clock


def test_clocks_in_the_kernel_agree(boot: Boot) -> None:
    clock = VirtualClock(start=5, epoch=86400)
    kernel = boot(clock=clock)
    kernel.sleep(10)
    spec = bytearray(16)
    kernel.syscall("clock_gettime", 0, spec)
    seconds, ns = struct.unpack("qq", spec)
    elapsed = clock.now - 5
    assert seconds + ns / 1e9 == pytest.approx(86400 + elapsed, abs=0.01)
    kernel.syscall("clock_gettime", 1, spec)
    seconds, ns = struct.unpack("qq", spec)
    assert seconds + ns / 1e9 == pytest.approx(clock.now, abs=5.1)


def test_the_clock_can_be_advanced(boot: Boot) -> None:
    clock = VirtualClock()
    kernel = boot(clock=clock)
    fd = kernel.syscall("timerfd_create", 1, 0o4000)
    kernel.syscall("timerfd_settime", fd, 0, struct.pack("qqqq", 1, 0, 1, 0), None)
    with pytest.raises(BlockingIOError):
        kernel.os.read(fd, 8)
    clock.advance(10.5)
    assert struct.unpack("Q", kernel.os.read(fd, 8)) == (10,)


def test_what_never_ends_can_be_interrupted(boot: Boot) -> None:
    """If the kernel has no timer of its own, it is known that the call cannot end."""
    kernel = boot(clock=VirtualClock())
    r, w = kernel.os.pipe()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        with pytest.raises((Deadlock, KeyboardInterrupt)):
            timer.start()
            kernel.os.read(r, 1)
        timer.join()
        time.sleep(0.1)
    timer.join()
    kernel.os.write(w, b"x")
    assert kernel.os.read(r, 1) == b"x"


def test_two_boots_have_the_same_log(boot: Boot) -> None:
    logs = []
    for _ in range(3):
        kernel = boot(clock=VirtualClock(), memory="64M")
        kernel.sleep(3)
        kernel.halt()
        logs.append(str(kernel.log))
    assert logs[0] == logs[1] == logs[2]
    assert "Linux version" in logs[0]


def test_random_numbers_are_the_same_too(boot: Boot) -> None:
    numbers = [boot(clock=VirtualClock()).os.urandom(64) for _ in range(2)]
    assert numbers[0] == numbers[1]
    assert boot().os.urandom(64) != boot().os.urandom(64)


def conversation(boot: Boot, directory: Path, name: str, megabytes: int) -> tuple[bytes, bytes]:
    """Two kernels, a cable of 1 ms, TCP; what both ends saw."""
    clock = VirtualClock()
    a, b = Link(delay=0.001, macs=("02:00:00:00:00:0a", "02:00:00:00:00:0b"))
    paths = directory / f"{name}-a.pcap", directory / f"{name}-b.pcap"
    with paths[0].open("wb") as one, paths[1].open("wb") as two:
        a.capture(one)
        b.capture(two)
        left, right = boot(clock=clock, nics=[a]), boot(clock=clock, nics=[b])
        left.ifup("eth0", "10.0.0.1/24")
        right.ifup("eth0", "10.0.0.2/24")
        server = right.socket.create_server(("10.0.0.2", 80))
        client = left.socket.socket()
        client.setblocking(False)
        client.connect_ex(("10.0.0.2", 80))
        peer, _ = server.accept()
        data = bytes(range(256)) * 256
        for _ in range(megabytes * 16):
            client.settimeout(10)
            sent = 0
            while sent < len(data):
                client.setblocking(False)
                try:
                    sent += client.send(data[sent:])
                except BlockingIOError:
                    assert peer.recv(1 << 20)
        client.close()
        while peer.recv(1 << 20):
            pass
        peer.close()
        server.close()
        left.halt()
        right.halt()
    return paths[0].read_bytes(), paths[1].read_bytes()


def test_two_kernels_have_the_same_traces_on_every_run(boot: Boot, tmp_path: Path) -> None:
    first = conversation(boot, tmp_path, "first", 4)
    second = conversation(boot, tmp_path, "second", 4)
    assert len(first[0]) > 4 << 20
    assert first == second


def test_the_delay_of_a_link(boot: Boot) -> None:
    clock = VirtualClock()
    a, b = Link(delay=0.25)
    left, right = boot(clock=clock, nics=[a]), boot(clock=clock, nics=[b])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    server = right.socket.create_server(("10.0.0.2", 80))
    client = left.socket.create_connection(("10.0.0.2", 80))
    before = clock.now
    client.send(b"ping")
    peer, _ = server.accept()
    assert peer.recv(10) == b"ping"
    assert clock.now - before == pytest.approx(0.25, abs=0.01)
    for sock in (client, peer, server):
        sock.close()


def test_kernels_of_one_clock_live_in_the_same_time(boot: Boot) -> None:
    clock = VirtualClock()
    kernels = [boot(clock=clock) for _ in range(4)]
    for kernel in kernels:
        kernel.sleep(10)
    assert len({k.clock.now_ns for k in kernels}) == 1
    assert clock.now >= 40


def test_a_clock_needs_no_thread(boot: Boot) -> None:
    before = threading.active_count()
    tasks = len(os.listdir("/proc/self/task"))
    kernel = boot(clock=VirtualClock())
    kernel.sleep(100)
    # Those of earlier tests may go meanwhile.
    assert len(os.listdir("/proc/self/task")) <= tasks
    assert threading.active_count() <= before


def test_a_clock_lives_as_long_as_its_kernels(default_image: str) -> None:
    kernel = rumpel.boot(image=default_image, clock=VirtualClock())
    kernel.sleep(1)
    kernel.halt()
