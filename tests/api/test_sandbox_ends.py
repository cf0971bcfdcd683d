# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in a sandbox die alone, and end when those who called them do."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import _native, sandbox
from rumpel.copying.source import read_tree
from rumpel.errors import KernelClosed, KernelPanic, SandboxError
from rumpel.sandbox import DiskSpec, SandboxedKernel
from tests.api.sandboxes import disk, doomed, pid
from tests.api.test_disks import damaged_directory
from tests.conftest import VERSION

__all__ = ["disk", "doomed"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]


def test_a_panic(tmp_path: Path) -> None:
    """A hostile disk ends the kernel: the error is what it is elsewhere, and the last."""
    disk = damaged_directory(tmp_path)
    with sandbox.boot([DiskSpec(str(disk))], version=VERSION) as k:
        k.mount("/dev/vda", "/mnt", "ext4", data="errors=panic")
        with pytest.raises(KernelPanic) as raised:
            k.os.listdir("/mnt/d")
        assert "panic forced after error" in raised.value.reason
        assert "Kernel panic" in raised.value.log
        assert any("ext4_readdir" in line for line in raised.value.backtrace)
        with pytest.raises(KernelPanic):
            k.os.getpid()
        assert "Kernel panic" in str(k.log)


def test_a_crash(doomed: SandboxedKernel) -> None:
    """If the process dies, the error names what it worked on and how, and has the log."""
    os.kill(pid(doomed), signal.SIGSEGV)
    with pytest.raises(SandboxError, match=r"my.img: the kernel's process was killed by SIGSEGV"):
        while True:
            doomed.os.getpid()
    assert "virtio_blk" in str(doomed.log)


def test_silence(disk: Path) -> None:
    """If the process gives no answer in time it is killed, and the error says so."""
    k = sandbox.boot([DiskSpec(str(disk))], name="my.img", version=VERSION, timeout=300.0)
    r, _ = k.os.pipe()
    k.remote._process.set_timeout(0.5)
    with pytest.raises(SandboxError, match=r"my.img: .* gave no answer for 0.5 s, and was killed"):
        k.os.read(r, 1)
    with pytest.raises(KernelPanic):
        k.os.getpid()
    k.close()
    rumpel.Disk(disk)  # it is gone


def test_a_parent_that_dies(disk: Path) -> None:
    """The kernel is halted, so the file system is clean; the process ends."""
    ready, hold = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            k = sandbox.boot([DiskSpec(str(disk))], version=VERSION)
            k.mount("/dev/vda", "/mnt", "ext4")
            k.os.mkdir("/mnt/made")
            os.write(hold, b"%d" % pid(k))
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(hold)
    number = int(os.read(ready, 20))
    os.close(ready)
    wait_until_gone(number, lambda: os.kill(parent, signal.SIGKILL))
    os.waitpid(parent, 0)
    check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    listed = subprocess.run(["debugfs", "-R", "ls -p /", disk], capture_output=True, text=True)
    assert "/made/" in listed.stdout


def stopped(k: SandboxedKernel) -> None:
    """Make a kernel's process deaf, so that what is sent to it comes to a stop."""
    os.kill(pid(k), signal.SIGSTOP)


@contextlib.contextmanager
def interrupted(k: SandboxedKernel, then: Callable[[], object] = int) -> Iterator[None]:
    """Ctrl-C in a moment; ``then`` once the kernel was given up because of it."""
    main = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")

    def wait_until_it_waits() -> None:
        seen = 0
        while seen < 10:
            time.sleep(0.02)
            seen = seen + 1 if main.read_text().rpartition(") ")[2][0] == "S" else 0

    def send() -> None:
        wait_until_it_waits()
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(600):
            if k.remote.state == "closed":
                break
            time.sleep(0.1)
        wait_until_it_waits()
        then()

    thread = threading.Thread(target=send)
    try:
        with pytest.raises(KeyboardInterrupt):
            thread.start()
            yield
    finally:
        thread.join(120)


def test_an_interrupt_in_a_message(doomed: SandboxedKernel) -> None:
    """Half of it was sent: nothing follows, the process ends, and nobody waits for ever."""
    stopped(doomed)
    with interrupted(doomed, lambda: os.kill(pid(doomed), signal.SIGCONT)):
        many = ((["x"], bytes(200_000)) for _ in range(1000))
        doomed.remote.feed(many, "feed", "shutil", "none")
    assert doomed.remote._process.status == 0
    with pytest.raises(KernelClosed):
        doomed.os.getpid()


def test_an_interrupt_between_messages(doomed: SandboxedKernel, tmp_path: Path) -> None:
    """The kernel is told, drops what is half there, and works on."""
    (tmp_path / "file").write_bytes(bytes(range(256)) * 4096)

    def tree(most: int) -> Iterator[Any]:
        for number, item in enumerate(read_tree(os, str(tmp_path / "file"))):
            if number == most:
                raise KeyboardInterrupt
            yield item

    args = "feed", "rumpel.images.copies", "write"
    with pytest.raises(KeyboardInterrupt):
        doomed.remote.feed(tree(2), *args, "/tmp/x", "", None)
    assert doomed.os.listdir("/tmp") == []
    assert doomed.remote.feed(tree(1000), *args, "/tmp/y", "", None)["errors"] == []
    assert doomed.os.stat("/tmp/y").st_size == 1 << 20


def test_a_second_interrupt(doomed: SandboxedKernel) -> None:
    """It kills a process that does not end."""
    stopped(doomed)
    with interrupted(doomed, lambda: os.kill(os.getpid(), signal.SIGINT)):
        doomed.os.getpid()
    assert doomed.remote._process.status == signal.SIGKILL


def test_a_call_that_does_not_return(disk: Path) -> None:
    """Ctrl-C ends it, and the file system is clean; so it is if the parent dies in it."""
    k = sandbox.boot([DiskSpec(str(disk))], version=VERSION)
    k.mount("/dev/vda", "/mnt", "ext4")
    k.os.mkfifo("/mnt/fifo")
    with interrupted(k):
        k.os.open("/mnt/fifo", os.O_RDONLY)
    assert k.remote._process.status == 0
    k.close()
    check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout

    ready, hold = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            k = sandbox.boot([DiskSpec(str(disk))], version=VERSION)
            k.mount("/dev/vda", "/mnt", "ext4")
            os.write(hold, b"%d" % pid(k))
            k.os.open("/mnt/fifo", os.O_RDONLY)
        finally:
            os._exit(1)
    os.close(hold)
    number = int(os.read(ready, 20))
    os.close(ready)
    wait_until_gone(number, lambda: os.kill(parent, signal.SIGKILL))
    os.waitpid(parent, 0)
    check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout


def wait_until_gone(number: int, before: Callable[[], object]) -> None:
    """Wait for the end of a process that is nobody's child here."""
    descriptor = os.pidfd_open(number)
    try:
        before()
        assert select.select([descriptor], [], [], 60)[0]
    finally:
        os.close(descriptor)


def test_after_a_hangup() -> None:
    """A process ends though a thread of it never lets Python's lock go."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        _native.end_after_hangup(theirs.fileno(), 100)
        _native.end_after_hangup(theirs.fileno(), 1)
        ctypes.PyDLL(None).pause()
        os._exit(0)
    theirs.close()
    descriptor = os.pidfd_open(child)
    assert not select.select([descriptor], [], [], 2)[0]
    ours.close()
    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
