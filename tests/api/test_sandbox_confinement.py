# SPDX-License-Identifier: GPL-2.0-only
"""What the process of a kernel in a sandbox may still do: nothing else."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel.sandbox import SandboxedKernel, confine, leaving
from tests.api.sandboxes import pid, shared

__all__ = ["shared"]

pytestmark = pytest.mark.kernel


def threads(number: int) -> list[dict[str, str]]:
    """What the host says of each thread of a process."""
    told = []
    for task in Path(f"/proc/{number}/task").iterdir():
        with contextlib.suppress(OSError):  # one that has ended meanwhile
            lines = (task / "status").read_text().splitlines()
            told.append(dict(line.split(":\t") for line in lines if ":\t" in line))
    return told


def test_what_the_process_may(shared: SandboxedKernel) -> None:
    """Nothing, in any thread: no user, no capability, no files, nothing of the parent's."""
    told = threads(pid(shared))
    assert len(told) > 2
    for each in told:
        assert each["Seccomp"] == "2"
        assert each["NoNewPrivs"] == "1"
        assert int(each["CapEff"], 16) == int(each["CapPrm"], 16) == 0
        if os.geteuid() == 0:
            assert each["Uid"].split() == ["65534"] * 4
    process = Path(f"/proc/{pid(shared)}")
    assert b"PATH=" not in (process / "environ").read_bytes()
    limits = (process / "limits").read_text()
    assert re.search(r"core file size +0 +0", limits)
    assert re.search(r"Max data size +\d", limits)
    assert re.search(r"Max file size +\d", limits)
    if os.geteuid() == 0:
        assert str((process / "root").readlink()).endswith("(deleted)")
        assert list((process / "root").iterdir()) == []
    disk = ("/disk.img", "/dev/null", "socket:", "/memfd:", "anon_inode:")
    opened = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
    assert [name for name in opened if not any(each in name for each in disk)] == []
    assert sum("socket:" in name for name in opened) == 1


def test_without_root() -> None:
    """No thread keeps the capabilities that a user namespace gives."""
    ready, say = os.pipe()
    wait, end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(end)
            os.setgroups([])
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
            leave_files = leaving.prepare()
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            confine.confine({}, leave_files)
            os.write(say, b"x")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(say)
    try:
        assert os.read(ready, 1) == b"x"
        told = threads(child)
        assert len(told) >= 2
        assert {each["Seccomp"] for each in told} == {"2"}
        assert {int(each["CapEff"], 16) | int(each["CapPrm"], 16) for each in told} == {0}
        own = Path(f"/proc/{child}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
        assert not own or str(Path(f"/proc/{child}/root").readlink()).endswith("(deleted)")
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for fd in (ready, wait):
            os.close(fd)


def in_a_child(function: Callable[[], Any], confined: bool = True) -> str:
    """Run a function in a child that is confined; what it returned or raised."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            if confined:
                confine.confine({}, leaving.prepare())
            try:
                result = str(function())
            except OSError as error:
                result = errno.errorcode[error.errno or 0]
            os.write(write, result.encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        result = file.read().decode()
    os.waitpid(child, 0)
    return result


def test_confined() -> None:
    """What leads out of the process is refused; computing, memory and threads are not."""
    other = subprocess.Popen(["sleep", "60"], user=65534 if os.geteuid() == 0 else None)
    try:
        for refused in (
            lambda: os.open("/dev/null", os.O_RDONLY),
            lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY),
            socket.socket,
            lambda: os.kill(other.pid, 0),  # whose user it is by then
            os.fork,
            lambda: os.sched_setaffinity(0, {0}),
            os.getgroups,
            lambda: Path("/dev/null").stat(),
            lambda: os.setuid(os.getuid()),
        ):
            assert in_a_child(refused) == "EPERM"
            assert in_a_child(refused, confined=False) != "EPERM"
        assert in_a_child(lambda: os.execv("/bin/true", ["true"])) == "EPERM"
    finally:
        other.kill()
        other.wait()
    assert in_a_child(lambda: signal.pthread_kill(threading.get_ident(), 0)) == "None"
    assert in_a_child(lambda: len(bytearray(50 << 20))) == str(50 << 20)
    assert in_a_child(in_a_thread) == "done"


def in_a_thread() -> str:
    result: list[str] = []
    thread = threading.Thread(target=result.append, args=("done",))
    thread.start()
    thread.join()
    return result[0]


def test_executable_memory() -> None:
    """None can be made."""
    import mmap

    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    rwx = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    assert in_a_child(lambda: mmap.mmap(-1, 4096, flags, rwx)) == "EPERM"
    assert in_a_child(lambda: len(mmap.mmap(-1, 4096, flags, mmap.PROT_READ))) == "4096"
