# SPDX-License-Identifier: GPL-2.0-only
"""What must not happen inside a Python object that is a network interface, and its end."""

from __future__ import annotations

import contextlib
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

import pytest

from rumpel import Kernel, KernelClosed, MemoryDisk, PythonNic, VirtualClock
from tests.api.responder import Responder, echo, wait_for
from tests.conftest import Boot

pytestmark = [pytest.mark.kernel, pytest.mark.once]


class Caller(PythonNic):
    """Does something when the first frame comes, once it is told what."""

    kernel: Kernel
    action: Callable[[], object] | None = None

    def transmit(self, frames: list[bytes]) -> None:
        action, self.action = self.action, None
        if action is not None:
            action()


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
