# SPDX-License-Identifier: GPL-2.0-only
"""Kernels in a sandbox work as others do, and say what they cannot."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path

import pytest

import rumpel
from rumpel import sandbox
from rumpel.errors import BootError, KernelClosed, SandboxError
from rumpel.images import copies
from rumpel.sandbox import DiskSpec, SandboxedKernel
from rumpel.sandbox.area import PIECE, Area, memory
from rumpel.sandbox.channel import Channel, encode
from tests.api.sandboxes import disk, pid, shared
from tests.conftest import VERSION

__all__ = ["disk", "shared"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]


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
    k = sandbox.boot([disk], version=VERSION)  # a path will do
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
    with pytest.raises(TypeError, match="not MemoryDisk"):
        sandbox.boot([rumpel.MemoryDisk("1M")], version=VERSION)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="disks must be a list"):
        sandbox.boot(str(disk), version=VERSION)
    held = rumpel.Disk(disk)
    with pytest.raises(OSError, match="busy"):
        sandbox.boot([DiskSpec(str(disk))], version=VERSION)
    del held


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
    assert sum(len(paths) for (paths, *_), _ in [first, *series]) > 10
    assert shared.os.getpid() > 0


def test_nonsense_from_the_other_end() -> None:
    """Whatever a hostile process sends is an error, not more."""
    for sent in (
        b"\xff" * 12,
        head(2) + b"{]",
        head(4) + b"[" * 4,
        head(1 << 20 | 1),
        head(200_000) + b"[" * 200_000,
        head(4, (64 << 20) + 1) + b"null",
        # Bytes in an area that is not there, and pieces of it that are free.
        head(4, 1, 1) + b"null",
        head(0, 0, 1),
        head(0, 1, 0),
        head(0, 0, 0),
    ):
        assert "nonsense" in refused(sent)
        # With an area there is one, of which nothing was used.
        assert "nonsense" in refused(sent, area=True) or sent == head(4, 1, 1) + b"null"
    for place, size in ((4 << 20, 1), ((4 << 20) - 9, 10), (0xFFFFFFFE, 1), (0, (4 << 20) + 1)):
        assert "nonsense" in refused(head(4, size, place + 1) + b"null", area=True)
    assert refused(head(4, 10, (4 << 20) - 9) + b"null", area=True) == "None"


def head(length: int, size: int = 0, place: int = 0) -> bytes:
    return struct.pack("<III", length, size, place)


def refused(sent: bytes, area: bool = False) -> str:
    """What comes of it to receive some bytes."""
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=theirs.sendall, args=(sent,))
    thread.start()
    fd = memory()
    channel = Channel(ours, Area(fd, True) if area else None)
    try:
        return str(channel.receive()[0])
    except SandboxError as error:
        return str(error)
    finally:
        os.close(fd)
        thread.join()
        channel.close()
        theirs.close()


def test_the_area_stays_as_long_as_it_is() -> None:
    """Who has its descriptor cannot make it shorter, which would kill who reads it."""
    fd = memory()
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 1 << 30)
    finally:
        os.close(fd)


def test_very_many_errors() -> None:
    """An answer tells the first, and how many more there are: it stays a message."""
    errors = [
        (f"/source/{number}", f"/target/{number}", "No space left") for number in range(50_000)
    ]
    told = copies._first(errors, lambda more: ("...", "", f"and {more} more"))
    assert told[0] == errors[0]
    assert told[-1] == ("...", "", f"and {len(errors) - len(told) + 1} more")
    assert len(encode(told)) < 1 << 20
    assert copies._first(errors[:10], lambda more: (more,)) == errors[:10]


def with_an_area() -> tuple[Channel, Channel]:
    fd = memory()
    ends = socket.socketpair()
    both = Channel(ends[0], Area(fd, True)), Channel(ends[1], Area(fd, False))
    os.close(fd)
    return both


@pytest.mark.parametrize("way", ["socket", "copied", "lent", "in place"])
def test_messages_of_all_sizes(way: str) -> None:
    """Bytes arrive as they were sent, through the socket or the area, more than that has."""
    ours, theirs = map(Channel, socket.socketpair()) if way == "socket" else with_an_area()
    sizes = [0, 1, 100, (256 << 10) - 10, 256 << 10, (256 << 10) + 1, 1 << 20, 3]
    sizes += [513, 70_000, 200_000] * 40 + [1000] * 2000

    def send() -> None:
        for size in sizes:
            data = bytes([size % 251]) * size
            room = ours.room(size + 10) if way == "in place" else None
            if room is not None:
                room[:size] = data
            ours.send(["size", size], data if room is None else room[:size])
        ours.flush()

    thread = threading.Thread(target=send)
    thread.start()
    for size in sizes:
        message, data = theirs.receive(lend=way == "lent")
        assert message == ["size", size]
        assert data == bytes([size % 251]) * size
        if type(data) is memoryview:
            assert data.readonly
    thread.join()
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.close()


def test_a_full_area() -> None:
    """Who sends waits until there is room, or the other end says something."""
    ours, theirs = with_an_area()
    pieces = 0
    assert ours._area
    while ours._area.ring.place(PIECE) is not None:
        ours.send(pieces, bytes(PIECE))
        pieces += 1
    assert pieces > 4
    theirs.send("stop")
    theirs.flush()
    assert ours.room(PIECE) is None
    thread = threading.Thread(target=ours.send, args=("inline", b"x" * PIECE))
    thread.start()
    for number in range(pieces):
        assert theirs.receive() == (number, bytes(PIECE))
    assert theirs.receive() == ("inline", b"x" * PIECE)
    thread.join()
    assert ours.receive() == ("stop", b"")
    assert ours.room(PIECE) is not None
    assert not ours.waiting()
    ours.close()
    assert theirs.waiting()
    theirs.close()
