# SPDX-License-Identifier: GPL-2.0-only
"""Clocks that jump: the host's, the kernel's own, a virtual one.

Nothing hangs, timers fire, TCP goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from rumpel import Kernel, Link, VirtualClock

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]

TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET, TFD_NONBLOCK = 1, 2, 0o4000
YEAR = 365 * 86400

STOPPED = """
import struct, sys, threading, time
import rumpel

with rumpel.boot(image=sys.argv[1]) as k:
    server = k.socket.create_server(("127.0.0.1", 80))
    client = k.socket.create_connection(("127.0.0.1", 80))
    peer, _ = server.accept()
    stop = threading.Event()
    sent = 0

    def send():
        global sent
        while not stop.is_set():
            client.sendall(sent.to_bytes(8, "little") * 8192)
            sent += 1
        client.close()

    def receive():
        global received
        received = 0
        with peer.makefile("rb") as reader:
            while block := reader.read(65536):
                assert block == received.to_bytes(8, "little") * 8192
                received += 1

    def nap():
        global naps
        naps = 0
        while not stop.is_set():
            k.sleep(0.005)
            naps += 1

    ticks = k.os.timerfd_create(time.CLOCK_MONOTONIC)
    k.os.timerfd_settime_ns(ticks, initial=10_000_000, interval=10_000_000)
    k.os.read(ticks, 8)
    threads = [threading.Thread(target=function) for function in (send, receive, nap)]
    for thread in threads:
        thread.start()
    while not sent or not naps:
        time.sleep(0.001)
    before = k.clock.now
    print("ready", flush=True)
    sys.stdin.readline()
    # Stopped for a second and going again: all of it must move on from here.
    mark, rests = sent, naps
    while sent < mark + 10 or naps < rests + 10:
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    peer.close()
    server.close()
    assert received == sent
    assert k.clock.now - before >= 1
    (missed,) = struct.unpack("Q", k.os.read(ticks, 8))
    assert missed >= 90, missed
    print("ok", flush=True)
"""


def script(text: str, image: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_is_stopped(default_image: str) -> None:
    """Ctrl-Z, a debugger, a suspended machine: the host's clock is far ahead at once."""
    with script(STOPPED, default_image) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.05)
            process.send_signal(signal.SIGCONT)
            assert process.communicate("go on\n", timeout=60)[0] == "ok\n"
        finally:
            process.kill()


JUMPED = """
import ctypes, os, struct, sys, time
import rumpel

HOUR = 3600
with rumpel.boot(image=sys.argv[1]) as k:
    server = k.socket.create_server(("127.0.0.1", 80))
    client = k.socket.create_connection(("127.0.0.1", 80))
    peer, _ = server.accept()
    peer.sendall(b"before")
    timer = k.os.timerfd_create(time.CLOCK_MONOTONIC)
    k.os.timerfd_settime(timer, initial=HOUR - 60)
    before = k.clock.now
    if ctypes.CDLL(None, use_errno=True).unshare(0x80):  # CLONE_NEWTIME
        print(os.strerror(ctypes.get_errno()), flush=True)
        os._exit(0)
    with open("/proc/self/timens_offsets", "w") as file:
        file.write(f"monotonic {HOUR} 0\\nboottime {HOUR} 0\\n")
    pid = os.fork()
    if not pid:
        # The child is an hour ahead of its parent: so has the clock of its kernel jumped.
        try:
            assert HOUR <= k.clock.now - before < HOUR + 60
            assert k.os.read(timer, 8) == struct.pack("Q", 1)
            k.sleep(0.01)
            assert client.recv(100) == b"before"
            client.sendall(b"x" * 10_000)
            with peer.makefile("rb") as reader:
                assert reader.read(10_000) == b"x" * 10_000
            with rumpel.boot(image=sys.argv[1]) as other:
                other.sleep(0.01)
            k.halt()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The parent's has not.
    assert k.clock.now - before < 60
    assert client.recv(100) == b"before"
    print("ok", flush=True)
"""


def test_the_hosts_clock_jumps_by_an_hour(default_image: str) -> None:
    """In a time namespace of a child's, it really does."""
    if os.geteuid():
        pytest.skip("to make a time namespace takes root")
    with script(JUMPED, default_image) as process:
        try:
            output = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    if output in ("Invalid argument\n", "Operation not permitted\n"):
        pytest.skip(f"the host makes no time namespaces: {output.strip()}")
    assert output == "ok\n"


def set_clock(kernel: Kernel, seconds: float) -> None:
    """Set the kernel's realtime clock."""
    spec = struct.pack("qq", int(seconds), int(seconds % 1 * 1e9))
    kernel.syscall("clock_settime", time.CLOCK_REALTIME, spec)


def clock(kernel: Kernel, number: int) -> float:
    spec = bytearray(16)
    kernel.syscall("clock_gettime", number, spec)
    seconds, ns = struct.unpack("qq", spec)
    return float(seconds + ns / 1e9)


def connection(left: Kernel, right: Kernel, address: str) -> tuple[Any, Any]:
    with right.socket.create_server((address, 80)) as server:
        client = left.socket.create_connection((address, 80), timeout=30)
        return client, server.accept()[0]


def exchange(client: Any, peer: Any) -> None:
    """Some bytes in both directions."""
    for sender, receiver in ((client, peer), (peer, client)):
        sender.sendall(b"x" * 10_000)
        with receiver.makefile("rb") as reader:
            assert reader.read(10_000) == b"x" * 10_000


@pytest.mark.parametrize("virtual", [False, True], ids=["host", "virtual"])
@pytest.mark.parametrize("years", [10, -10])
def test_the_kernels_own_clock_is_set(boot: Boot, virtual: bool, years: int) -> None:
    """What waits for a time of day learns of it; what waits for a while does not notice."""
    kernel = boot(clock=VirtualClock(epoch=20 * YEAR) if virtual else None)
    client, peer = connection(kernel, kernel, "127.0.0.1")
    now = clock(kernel, time.CLOCK_REALTIME)
    monotonic = clock(kernel, time.CLOCK_MONOTONIC)
    create = kernel.os.timerfd_create
    flags = TFD_NONBLOCK
    day = create(time.CLOCK_REALTIME, flags=flags)
    kernel.os.timerfd_settime(day, flags=TFD_TIMER_ABSTIME, initial=now + YEAR)
    told = create(time.CLOCK_REALTIME, flags=flags)
    both = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    kernel.os.timerfd_settime(told, flags=both, initial=now + 100 * YEAR)
    while_ = create(time.CLOCK_MONOTONIC)
    kernel.os.timerfd_settime(while_, initial=0.2)

    set_clock(kernel, now + years * YEAR)

    assert abs(clock(kernel, time.CLOCK_REALTIME) - now - years * YEAR) < 60
    assert 0 <= clock(kernel, time.CLOCK_MONOTONIC) - monotonic < 60
    if years > 0:
        kernel.sleep(0.01)
        assert kernel.os.read(day, 8) == struct.pack("Q", 1)
    else:
        with pytest.raises(BlockingIOError):
            kernel.os.read(day, 8)
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno follows)
        kernel.os.read(told, 8)
    assert caught.value.errno == errno.ECANCELED
    assert kernel.os.read(while_, 8) == struct.pack("Q", 1)
    exchange(client, peer)
    kernel.sleep(0.01)
    with kernel.open("/tmp/file", "w"):
        assert abs(kernel.os.stat("/tmp/file").st_mtime - now - years * YEAR) < 60
    for sock in (client, peer):
        sock.close()


def test_a_virtual_clock_is_set_forward_by_hours(boot: Boot) -> None:
    """Each timer fires at its moment, and connections outlive the time that nobody used them."""
    virtual = VirtualClock()
    a, b = Link(delay=0.01)
    left, right = boot(clock=virtual, nics=[a]), boot(clock=virtual, nics=[b])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    client, peer = connection(left, right, "10.0.0.2")
    exchange(client, peer)
    ticks = left.os.timerfd_create(time.CLOCK_MONOTONIC)
    left.os.timerfd_settime(ticks, initial=60, interval=60)
    before = virtual.now
    virtual.advance(2 * 3600)
    assert virtual.now == before + 2 * 3600
    assert struct.unpack("Q", left.os.read(ticks, 8)) == (120,)
    exchange(client, peer)
    # The neighbours have forgotten each other, and what was under way is not lost.
    client.sendall(b"last")
    virtual.advance(1800)
    assert peer.recv(10) == b"last"
    for sock in (client, peer):
        sock.close()


def test_a_virtual_clock_and_the_process_that_is_stopped(default_image: str) -> None:
    """The host's time is none of its business."""
    text = """
import sys, rumpel
clock = rumpel.VirtualClock()
with rumpel.boot(image=sys.argv[1], clock=clock) as k:
    k.sleep(1)
    before = clock.now
    print("ready", flush=True)
    sys.stdin.readline()
    k.sleep(1)
    assert 1 <= clock.now - before < 1.1
print("ok", flush=True)
"""
    with script(text, default_image) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            process.send_signal(signal.SIGCONT)
            assert process.communicate("go on\n", timeout=60)[0] == "ok\n"
        finally:
            process.kill()


def test_what_is_left_of_a_wait_passes(boot: Boot) -> None:
    """Also less than a nanosecond."""
    clock = VirtualClock()
    k = boot(clock=clock)
    ours, theirs = k.socket.socketpair()
    with theirs, ours:
        ours.settimeout(1e-12)
        for wait in (lambda: k.sleep(1e-12), lambda: ours.recv(1)):
            before = clock.now_ns
            with contextlib.suppress(TimeoutError):
                wait()
            assert clock.now_ns > before
