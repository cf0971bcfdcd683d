# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in a sandbox: they work as others do, can do nothing, and die alone."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
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
from rumpel.errors import BootError, KernelClosed, KernelPanic, SandboxError
from rumpel.images import jobs
from rumpel.sandbox import DiskSpec, SandboxedKernel, confine
from rumpel.sandbox.channel import Channel, encode
from tests.api.test_disks import damaged_directory
from tests.conftest import VERSION

pytestmark = pytest.mark.kernel


MODULES = ("rumpel.images.jobs", "shutil", "rumpel.copying.target")


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
    k = sandbox.boot([DiskSpec(str(disk), overlay=True)], version=VERSION, modules=MODULES)
    with k:
        k.mount("/dev/vda", "/mnt", "ext4")
        yield k


@pytest.fixture
def doomed(disk: Path) -> Iterator[SandboxedKernel]:
    """A kernel that will die."""
    specs = [DiskSpec(str(disk), overlay=True)]
    k = sandbox.boot(specs, name="my.img", version=VERSION, modules=MODULES)
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


def threads(number: int) -> list[dict[str, str]]:
    """What the host says of each thread of a process."""
    return [
        dict(
            line.split(":\t")
            for line in (task / "status").read_text().splitlines()
            if ":\t" in line
        )
        for task in Path(f"/proc/{number}/task").iterdir()
    ]


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
            leave_files = confine.prepare()
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
                confine.confine({}, confine.prepare())
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
    with pytest.raises(BootError):
        sandbox.boot([DiskSpec(str(disk))], image=disk)
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

    def send() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(600):
            if k.remote.state == "closed":
                break
            time.sleep(0.1)
        time.sleep(0.3)
        then()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
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

    args = "feed", "rumpel.images.jobs", "write"
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


def test_a_series_that_is_left(shared: SandboxedKernel) -> None:
    """A part of it is read: the rest is not sent, be it without end; the kernel works on."""
    shared.os.close(shared.os.open("/tmp/huge", os.O_CREAT | os.O_WRONLY))
    shared.os.truncate("/tmp/huge", 1 << 50)
    series = shared.remote.stream("run", "rumpel.images.jobs", "content", "/tmp/huge")
    assert len(next(series)[1]) > 0
    with pytest.raises(RuntimeError, match="busy"):
        shared.os.getpid()
    series.close()
    shared.os.unlink("/tmp/huge")
    # Another thread may be the one that closes it.
    series = shared.remote.stream("run", "rumpel.images.jobs", "walk", "/sys/kernel", -1, False)
    next(series)
    thread = threading.Thread(target=series.close)
    thread.start()
    thread.join(60)
    assert shared.os.getpid() > 0


def test_a_forked_process(shared: SandboxedKernel) -> None:
    """It may end as it likes: the kernel stays its parent's; it cannot use it."""
    series = shared.remote.stream("run", "rumpel.images.jobs", "walk", "/sys/kernel", -1, False)
    first = next(series)
    child = os.fork()
    if not child:
        status = 1
        try:
            series.close()
            shared.os.getpid()
        except RuntimeError:
            shared.remote._end()
            status = 7
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert sum(len(batch) for batch, _ in [first, *series]) > 10
    assert shared.os.getpid() > 0


def test_nonsense_from_the_other_end() -> None:
    """Whatever a hostile process sends is an error, not more."""
    for sent in (
        b"\xff" * 8,
        b"\x02\0\0\0\0\0\0\0{]",
        b"\x04\0\0\0\0\0\0\0" + b"[" * 4,
        b"\x01\0\x10\0\0\0\0\0",
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


def test_very_many_errors() -> None:
    """An answer tells the first, and how many more there are: it stays a message."""
    errors = [
        (f"/source/{number}", f"/target/{number}", "No space left") for number in range(50_000)
    ]
    told = jobs._first(errors, lambda more: ("...", "", f"and {more} more"))
    assert told[0] == errors[0]
    assert told[-1] == ("...", "", f"and {len(errors) - len(told) + 1} more")
    assert len(encode(told)) < 1 << 20
    assert jobs._first(errors[:10], lambda more: (more,)) == errors[:10]


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
