# SPDX-License-Identifier: GPL-2.0-only
"""Signals of the host while a call waits in a kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from rumpel import Kernel

pytestmark = pytest.mark.kernel


def later(seconds: float, number: int = signal.SIGINT) -> threading.Timer:
    """To send a signal soon; where it is one that raises, start this where that is expected."""
    return threading.Timer(seconds, os.kill, (os.getpid(), number))


@pytest.mark.parametrize("call", ["read", "sleep", "accept", "poll", "flock"])
def test_ctrl_c_ends_a_blocked_call(kernel: Kernel, call: str) -> None:
    r, w = kernel.os.pipe()
    server = kernel.socket.create_server(("127.0.0.1", 0))
    fd = kernel.os.open("/tmp/lock", os.O_CREAT | os.O_RDWR)
    other = kernel.os.open("/tmp/lock", os.O_RDWR)
    kernel.syscall("flock", fd, 2)
    before, timer = time.monotonic(), later(0.2)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        if call == "read":
            kernel.os.read(r, 1)
        elif call == "sleep":
            kernel.sleep(60)
        elif call == "accept":
            server.accept()
        elif call == "poll":
            kernel.syscall("ppoll", None, 0, None, None, 0)
        else:
            kernel.syscall("flock", other, 2)
    assert time.monotonic() - before < 50
    timer.join()
    # The task goes on as if nothing had been.
    kernel.os.write(w, b"x")
    assert kernel.os.read(r, 1) == b"x"
    server.close()


def test_ctrl_c_while_another_thread_leads(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    r2, _ = kernel.os.pipe()
    thread = threading.Thread(target=kernel.os.read, args=(r, 1))
    thread.start()
    time.sleep(0.05)
    timer = later(0.2)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        kernel.os.read(r2, 1)
    timer.join()
    assert thread.is_alive()
    kernel.os.write(w, b"x")
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def on_usr1() -> Iterator[list[int]]:
    """Counts SIGUSR1."""
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGUSR1, before)


def test_a_handler_that_returns_lets_the_call_go_on(kernel: Kernel, on_usr1: list[int]) -> None:
    timers = [later(0.1 * i, signal.SIGUSR1) for i in range(1, 4)]
    before = kernel.clock.now
    for timer in timers:
        timer.start()
    kernel.sleep(0.6)
    assert kernel.clock.now - before >= 0.6
    assert 1 <= len(on_usr1) <= 3  # a signal that is pending comes once
    for timer in timers:
        timer.join()


def test_a_handler_may_call_the_same_kernel(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(kernel.syscall("gettid"))
        kernel.os.write(w, b"from the handler")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        timer = later(0.1, signal.SIGUSR1)
        timer.start()
        assert kernel.os.read(r, 100) == b"from the handler"
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen[0] != kernel.syscall("gettid")


def test_a_handler_that_raises_ends_the_call(kernel: Kernel) -> None:
    def handler(number: int, frame: object) -> None:
        raise RuntimeError("enough")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(RuntimeError, match="enough"):
            kernel.sleep(30)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert kernel.os.getpid() == 1


def test_what_was_read_before_ctrl_c_is_not_lost_from_the_pipe(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    for _ in range(5):
        timer = later(0.05)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            kernel.os.read(r, 1)
        timer.join()
    kernel.os.write(w, b"all of it")
    assert kernel.os.read(r, 100) == b"all of it"


def test_ctrl_c_in_a_program(default_image: str) -> None:
    """As a user would see it: the program ends, at once, with a traceback."""
    code = (
        "import rumpel, sys\n"
        f"k = rumpel.boot(image={default_image!r})\n"
        "with k:\n"
        "    print('ready', flush=True)\n"
        "    k.sleep(60)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    time.sleep(0.2)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert program.returncode == -signal.SIGINT
