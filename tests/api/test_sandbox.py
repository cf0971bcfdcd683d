# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in a sandbox: they work as others do, can do nothing, and die alone."""

from __future__ import annotations

import errno
import os
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
from rumpel import sandbox
from rumpel.errors import KernelClosed, KernelPanic, SandboxError
from rumpel.sandbox import DiskSpec, SandboxedKernel, confine
from rumpel.sandbox.channel import Channel
from tests.api.test_disks import damaged_directory
from tests.conftest import VERSION

pytestmark = pytest.mark.kernel


def make_disk(directory: Path) -> Path:
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", image], check=True)
    return image


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_disk(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxedKernel]:
    """A kernel for tests that leave it as it is."""
    disk = make_disk(tmp_path_factory.mktemp("sandbox"))
    k = sandbox.boot([DiskSpec(str(disk), overlay=True)], version=VERSION)
    with k:
        k.mount("/dev/vda", "/mnt", "ext4")
        yield k


@pytest.fixture
def doomed(disk: Path) -> Iterator[SandboxedKernel]:
    """A kernel that will die."""
    k = sandbox.boot([DiskSpec(str(disk), overlay=True)], name="my.img", version=VERSION)
    yield k
    k.close()


def pid(k: SandboxedKernel) -> int:
    return k.remote._process._pid


def test_files(shared: SandboxedKernel) -> None:
    """os, open, paths and copies work as on any kernel."""
    k = shared
    assert k.release.startswith(VERSION)
    with k.open("/mnt/file", "w") as file:
        file.write("line\n" * 10_000)
    with k.open("/mnt/file") as file:
        assert sum(1 for _ in file) == 10_000
    k.os.rename("/mnt/file", "/mnt/other \udc80name")
    assert sorted(k.os.listdir(b"/mnt")) == [b"lost+found", b"other \x80name"]
    assert [path.name for path in k.Path("/mnt").glob("o*")] == ["other \udc80name"]
    k.os.setxattr("/mnt", "user.x", bytes(range(256)))
    assert k.os.getxattr("/mnt", "user.x") == bytes(range(256))
    k.os.symlink("nowhere", "/mnt/link")
    assert k.os.readlink("/mnt/link") == "nowhere"
    assert k.os.statvfs("/mnt").f_bsize == 1024
    k.shutil.rmtree("/mnt", ignore_errors=True)
    assert k.os.listdir("/mnt") == []


def test_large_reads_and_writes(shared: SandboxedKernel) -> None:
    """They are done in parts, as any may be."""
    data = os.urandom(9 << 20)
    with shared.open("/tmp/large", "wb") as file:
        file.write(data)
    with shared.open("/tmp/large", "rb") as file:
        assert file.read() == data
    fd = shared.os.open("/tmp/large", os.O_RDONLY)
    buffer = bytearray(100_000)
    assert shared.os._readinto(fd, buffer) == 100_000
    assert buffer == data[:100_000]
    assert shared.os.pread(fd, 10, 5 << 20) == data[5 << 20 : (5 << 20) + 10]
    shared.os.close(fd)
    shared.os.unlink("/tmp/large")


def test_copies(shared: SandboxedKernel, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    shared.copy_in(tmp_path, "/tmp/tree")
    copied = shared.copy_out("/tmp/tree", tmp_path / "back")
    assert (copied.files, copied.bytes) == (1, 1000)
    assert (tmp_path / "back" / "file").read_bytes() == b"x" * 1000


def test_errors(shared: SandboxedKernel) -> None:
    """They are the kernel's, with names."""
    with pytest.raises(FileNotFoundError) as raised:
        shared.os.stat("/none")
    assert raised.value.filename == "/none"
    with pytest.raises(FileNotFoundError) as raised:
        shared.os.rename("/none", "/other")
    assert (raised.value.filename, raised.value.filename2) == ("/none", "/other")
    with pytest.raises(OSError, match="Bad file descriptor"):
        shared.os.read(99, 1)
    with pytest.raises(TypeError):
        shared.os.lseek(0, "x", 0)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="preadv2 in a sandbox"):
        shared.os.preadv(0, [bytearray(1)], 0)


def test_threads(shared: SandboxedKernel) -> None:
    """They take turns."""
    errors: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(50):
                with shared.open(f"/tmp/{name}{number}", "w") as file:
                    file.write(name)
                assert shared.Path(f"/tmp/{name}{number}").read_text() == name
                shared.os.unlink(f"/tmp/{name}{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_the_process_may(shared: SandboxedKernel) -> None:
    """Nothing: no user, no capability, a filter, no descriptor of the parent's."""
    status = Path(f"/proc/{pid(shared)}/status").read_text()
    told = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    assert told["Seccomp"] == "2"
    assert told["NoNewPrivs"] == "1"
    assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0
    if os.geteuid() == 0:
        assert told["Uid"].split() == ["65534"] * 4
        assert b"PATH=" not in Path(f"/proc/{pid(shared)}/environ").read_bytes()


def in_a_child(function: Callable[[], Any]) -> str:
    """Run a function in a child that is confined; what it returned or raised."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            confine.prepare()
            confine.confine({})
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
    assert in_a_child(lambda: os.open("/etc/passwd", os.O_RDONLY)) == "EPERM"
    assert in_a_child(lambda: os.open("/tmp/new", os.O_CREAT | os.O_WRONLY)) == "EPERM"
    assert in_a_child(socket.socket) == "EPERM"
    assert in_a_child(lambda: os.kill(os.getppid(), 0)) == "EPERM"
    assert in_a_child(lambda: os.execv("/bin/true", ["true"])) == "EPERM"
    assert in_a_child(os.fork) == "EPERM"
    assert in_a_child(Path("/tmp/none").rmdir) == "EPERM"
    assert in_a_child(lambda: os.setuid(0)) == "EPERM"
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


def test_what_calls_say_is_not_the_connection(shared: SandboxedKernel) -> None:
    """EPIPE and ETIMEDOUT of the kernel end nothing."""
    r, w = shared.os.pipe()
    shared.os.close(r)
    with pytest.raises(BrokenPipeError):
        shared.os.write(w, b"x")
    shared.os.close(w)
    assert shared.os.getpid() == 1


def test_the_log(shared: SandboxedKernel) -> None:
    assert shared.log[0].text.startswith(f"Linux version {VERSION}")


def test_halt(disk: Path) -> None:
    k = sandbox.boot([DiskSpec(str(disk))], version=VERSION)
    number = pid(k)
    k.halt()
    with pytest.raises(KernelClosed):
        k.os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
    k.close()
    rumpel.Disk(disk)  # nobody has it


def test_what_cannot_be_opened(tmp_path: Path, disk: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        sandbox.boot([DiskSpec(str(tmp_path / "none"))], version=VERSION)
    assert raised.value.filename == str(tmp_path / "none")
    held = rumpel.Disk(disk)
    with pytest.raises(OSError, match="busy"):
        sandbox.boot([DiskSpec(str(disk))], version=VERSION)
    del held


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
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    descriptor = None
    try:
        descriptor = os.pidfd_open(number)
        import select

        assert select.select([descriptor], [], [], 60)[0]
    except ProcessLookupError:
        pass
    finally:
        if descriptor is not None:
            os.close(descriptor)
    check = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
    listed = subprocess.run(["debugfs", "-R", "ls -p /", disk], capture_output=True, text=True)
    assert "/made/" in listed.stdout


def test_nonsense_from_the_other_end() -> None:
    """Whatever a hostile process sends is an error, not more."""
    for sent in (
        b"\xff" * 8,
        b"\x02\0\0\0\0\0\0\0{]",
        b"\x04\0\0\0\0\0\0\0" + b"[" * 4,
        b"\x40\x0d\x03\0\0\0\0\0" + b"[" * 200_000,
    ):
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=theirs.sendall, args=(sent,))
        thread.start()
        channel = Channel(ours)
        with pytest.raises(SandboxError, match="nonsense"):
            channel.receive()
        thread.join()
        channel.close()
        theirs.close()


def test_messages_of_all_sizes() -> None:
    ours, theirs = map(Channel, socket.socketpair())
    sizes = [0, 1, 100, (256 << 10) - 10, 256 << 10, (256 << 10) + 1, 1 << 20, 3]

    def send() -> None:
        for size in sizes:
            ours.send(["size", size], bytes([size % 251]) * size)
        ours.flush()

    thread = threading.Thread(target=send)
    thread.start()
    for size in sizes:
        message, data = theirs.receive()
        assert message == ["size", size]
        assert data == bytes([size % 251]) * size
    thread.join()
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()
