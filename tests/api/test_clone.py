# SPDX-License-Identifier: GPL-2.0-only
"""Kernel.clone: a function with a private copy of a kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import rumpel
from rumpel import CloneError, Kernel, KernelPanic

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

Boot = Callable[..., Kernel]


def test_a_template(kernel: Kernel) -> None:
    """Each sees what was there before, and nothing of the others."""
    kernel.os.mkdir("/template")

    def test(k: Kernel, number: int) -> list[str]:
        k.os.mkdir(f"/template/{number}")
        return k.os.listdir("/template")

    assert [kernel.clone(test, n) for n in range(5)] == [[str(n)] for n in range(5)]
    assert kernel.os.listdir("/template") == []


def test_the_copy_is_the_same_object(kernel: Kernel) -> None:
    assert kernel.clone(lambda k: k is kernel)


def test_large_values(kernel: Kernel) -> None:
    data = kernel.clone(lambda k, size: b"x" * size, 10 << 20)
    assert data == b"x" * (10 << 20)


def test_its_exception(kernel: Kernel) -> None:
    def fail(k: Kernel) -> None:
        k.os.stat("/nowhere")

    with pytest.raises(FileNotFoundError, match="/nowhere") as failed:
        kernel.clone(fail)
    (note,) = failed.value.__notes__
    assert "in fail" in note


def test_an_exception_that_cannot_be_pickled(kernel: Kernel) -> None:
    class Own(Exception):
        pass

    def fail(k: Kernel) -> None:
        raise Own("what it says")

    with pytest.raises(CloneError, match=r"Own.*what it says") as failed:
        kernel.clone(fail)
    assert failed.value.exitcode is None
    assert "in fail" in failed.value.__notes__[0]


def test_a_value_that_cannot_be_pickled(kernel: Kernel) -> None:
    with pytest.raises(Exception, match="pickle"):
        kernel.clone(lambda k: lambda: k)


def test_its_death(kernel: Kernel) -> None:
    with pytest.raises(CloneError, match="SIGKILL") as failed:
        kernel.clone(lambda k: os.kill(os.getpid(), signal.SIGKILL))
    assert failed.value.exitcode == -signal.SIGKILL
    with pytest.raises(CloneError, match="exit code 3") as failed:
        kernel.clone(lambda k: os._exit(3))
    assert failed.value.exitcode == 3
    number = signal.SIGRTMIN + 3  # which has no name
    with pytest.raises(CloneError, match=f"signal {number}"):
        kernel.clone(lambda k: os.kill(os.getpid(), number))


@pytest.mark.parametrize("end", ["halt", "close"])
def test_its_copy_ends_before_it(boot: Boot, end: str) -> None:
    """Also where the log is forwarded: the result comes."""
    kernel = boot(log=lambda record: None)

    def last(k: Kernel) -> str:
        getattr(k, end)()
        return k.state

    assert kernel.clone(last) == ("halted" if end == "halt" else "closed")
    assert kernel.os.getpid() == 1


def test_its_panic(kernel: Kernel) -> None:
    def end(k: Kernel) -> None:
        with pytest.raises((KernelPanic, rumpel.TaskExited)):
            k.syscall("exit_group", 1)
        while k.state == "running":
            time.sleep(0.01)
        k.os.getpid()

    with pytest.raises(KernelPanic, match="Attempted to kill init") as failed:
        kernel.clone(end)
    assert failed.value.log
    assert kernel.os.getpid() == 1


def test_timeout(kernel: Kernel) -> None:
    left, right = kernel.socket.socketpair()
    with pytest.raises(TimeoutError, match="clone"):
        kernel.clone(lambda k: right.recv(1), timeout=0.2)
    left.sendall(b"x")
    assert right.recv(1) == b"x"
    left.close()
    right.close()
    assert kernel.clone(lambda k: k.os.getpid(), timeout=30) == 1


def test_a_grandchild_does_not_hold_it_up(kernel: Kernel) -> None:
    r, w = os.pipe()

    def leave(k: Kernel) -> int:
        if not os.fork():
            os.close(w)
            os.read(r, 1)  # until the test ends
            os._exit(0)
        return 1

    try:
        assert kernel.clone(leave, timeout=60) == 1
        with pytest.raises(CloneError, match="exit code 1"):
            kernel.clone(lambda k: leave(k) and os._exit(1), timeout=60)
    finally:
        os.close(w)
        os.close(r)


def test_side_by_side(kernel: Kernel) -> None:
    """Threads run clones at a time, while another one uses the kernel."""
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            kernel.os.getpid()

    def work(k: Kernel, number: int) -> int:
        k.sleep(0.01)
        k.os.mkdir("/mine")
        return number

    thread = threading.Thread(target=use)
    thread.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda n: kernel.clone(work, n), range(20))) == list(range(20))
    finally:
        stop.set()
        thread.join()
    assert not kernel.os.path.exists("/mine")


def test_a_clone_of_a_clone(kernel: Kernel) -> None:
    def outer(k: Kernel) -> tuple[list[str], list[str]]:
        k.os.makedirs("/here/outer")
        return k.clone(inner), k.os.listdir("/here")

    def inner(k: Kernel) -> list[str]:
        k.os.mkdir("/here/inner")
        return sorted(k.os.listdir("/here"))

    assert kernel.clone(outer) == (["inner", "outer"], ["outer"])


PROGRAM = """
import atexit, os, sys, time, rumpel
atexit.register(print, "at exit")
with rumpel.boot(image=sys.argv[1]) as k:
    print("before", end=" ")
    k.clone(lambda k: print("inside", end=" "))
    print("after")
    try:
        k.clone(lambda k: (print("ready", flush=True), time.sleep(60)))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_what_is_printed_and_control_c(default_image: str) -> None:
    """Each line once, handlers at exit run once; Ctrl-C ends both."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, default_image],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        lines = [process.stdout.readline() for _ in range(2)]
        os.killpg(process.pid, signal.SIGINT)
        lines += process.stdout.readlines()
        assert process.stderr.read() == ""
        assert process.wait() == 0
    text = "".join(lines)
    assert text == "before inside after\nready\ninterrupted\nat exit\n"


def test_files_that_a_clone_prints_to(kernel: Kernel, tmp_path: Path) -> None:
    """The host's files are the process's own affair, as in any child."""
    path = tmp_path / "file"

    def write(k: Kernel) -> None:
        path.write_text(str(k.os.getpid()))

    kernel.clone(write)
    assert path.read_text() == "1"
