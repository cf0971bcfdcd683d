# SPDX-License-Identifier: GPL-2.0-only
"""Disks that are Python objects: files of all kinds, slow ones, broken ones."""

from __future__ import annotations

import asyncio
import errno
import gzip
import io
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rumpel import Kernel, PythonDisk, VirtualClock
from tests.api.test_disks import compare, ext4, run

pytestmark = [pytest.mark.kernel, pytest.mark.once]

Boot = Callable[..., Kernel]
SIZE = 16 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files."""
    root = tmp_path / "tree"
    (root / "a").mkdir(parents=True)
    for number in range(20):
        (root / f"a/file{number}").write_bytes(os.urandom(number * 4999))
    return root


@pytest.fixture
def image(tmp_path: Path, tree: Path) -> bytes:
    """They are in it."""
    return ext4(tmp_path / "disk.img", tree, "16M").read_bytes()


class Memory:
    """A disk with every method, which counts its calls."""

    def __init__(self, data: bytes = bytes(SIZE)) -> None:
        self.data = bytearray(data)
        self.size = len(data)
        self.calls: list[str] = []

    def pread(self, offset: int, length: int) -> Any:
        self.calls.append("pread")
        return self.data[offset : offset + length]

    def pwrite(self, offset: int, data: bytes) -> None:
        self.calls.append("pwrite")
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.calls.append("flush")

    def discard(self, offset: int, length: int) -> None:
        self.calls.append("discard")

    def write_zeroes(self, offset: int, length: int) -> None:
        self.calls.append("write_zeroes")
        self.data[offset : offset + length] = bytes(length)


class AsyncMemory:
    """The same in coroutines, which take their time."""

    def __init__(self, data: bytes, delay: float = 0.0) -> None:
        self.data = bytearray(data)
        self.size = len(data)
        self.delay = delay
        self.running = self.most = 0

    async def pread(self, offset: int, length: int) -> bytes:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.delay)
        self.running -= 1
        return bytes(self.data[offset : offset + length])

    async def pwrite(self, offset: int, data: bytes) -> None:
        await asyncio.sleep(self.delay)
        self.data[offset : offset + len(data)] = data


def use(kernel: Kernel, tree: Path) -> None:
    """Read all of it, and write a little."""
    kernel.mount("/dev/vda", "/mnt", "ext4")
    assert compare(kernel, "/mnt", tree) == 20
    with kernel.open("/mnt/new", "w") as file:
        file.write("from a kernel")
    kernel.halt()


def check(tmp_path: Path, data: bytes) -> None:
    """The image is as the kernel should have left it."""
    left = tmp_path / "left.img"
    left.write_bytes(data)
    run("e2fsck", "-fn", left)
    assert run("debugfs", "-R", "cat /new", left) == "from a kernel"


@pytest.mark.parametrize("virtual", [False, True])
def test_an_object(boot: Boot, tmp_path: Path, tree: Path, image: bytes, virtual: bool) -> None:
    """Every operation reaches it; with a virtual clock in the thread that drives the kernel."""
    backend = Memory(image)
    threads = set()
    plain = backend.pread

    def pread(offset: int, length: int) -> Any:
        threads.add(threading.current_thread())
        return plain(offset, length)

    backend.pread = pread  # type: ignore[method-assign]
    disk = PythonDisk(backend)
    use(boot(disks=[disk], clock=VirtualClock() if virtual else None), tree)
    assert {"pread", "pwrite", "flush"} <= set(backend.calls)
    assert (threads == {threading.current_thread()}) == virtual
    assert not disk.errors
    check(tmp_path, bytes(backend.data))


@pytest.mark.parametrize("virtual", [False, True])
def test_coroutines(boot: Boot, tmp_path: Path, tree: Path, image: bytes, virtual: bool) -> None:
    backend = AsyncMemory(image)
    use(boot(disks=[PythonDisk(backend)], clock=VirtualClock() if virtual else None), tree)
    check(tmp_path, bytes(backend.data))


def test_coroutines_run_side_by_side(boot: Boot) -> None:
    backend = AsyncMemory(bytes(SIZE), delay=0.02)
    kernel = boot(disks=[PythonDisk(backend)])
    fd = kernel.os.open("/dev/vda", os.O_RDONLY)
    kernel.os.posix_fadvise(fd, 0, 8 << 20, os.POSIX_FADV_WILLNEED)
    kernel.os.pread(fd, 8 << 20, 0)
    assert backend.most > 1


def test_discard_and_zeroes(boot: Boot) -> None:
    backend = Memory(b"x" * SIZE)
    kernel = boot(disks=[PythonDisk(backend, block_size=4096)])
    fd = kernel.os.open("/dev/vda", os.O_RDWR)
    blkdiscard, blkzeroout, blksszget = 0x1277, 0x127F, 0x1268
    span = (1 << 20).to_bytes(8, "little") + (2 << 20).to_bytes(8, "little")
    kernel.syscall("ioctl", fd, blkdiscard, span)
    assert backend.calls.count("discard") >= 1
    kernel.syscall("ioctl", fd, blkzeroout, span)
    assert backend.calls.count("write_zeroes") >= 1
    assert backend.data[1 << 20 : 3 << 20] == bytes(2 << 20)
    assert backend.data[(1 << 20) - 1] == backend.data[3 << 20] == ord("x")
    size = bytearray(4)
    kernel.syscall("ioctl", fd, blksszget, size)
    assert int.from_bytes(size, "little") == 4096


def test_without_them(boot: Boot) -> None:
    """Zeroes are written, discards not offered."""
    file = io.BytesIO(b"x" * SIZE)
    kernel = boot(disks=[PythonDisk(file)])
    fd = kernel.os.open("/dev/vda", os.O_RDWR)
    span = (1 << 20).to_bytes(8, "little") + (2 << 20).to_bytes(8, "little")
    kernel.syscall("ioctl", fd, 0x127F, span)
    assert file.getvalue()[1 << 20 : 3 << 20] == bytes(2 << 20)
    with pytest.raises(OSError, match="not supported"):
        kernel.syscall("ioctl", fd, 0x1277, span)


class TestFiles:
    """Anything that can be sought."""

    def test_bytesio(self, boot: Boot, tmp_path: Path, tree: Path, image: bytes) -> None:
        file = io.BytesIO(image)
        use(boot(disks=[PythonDisk(file)]), tree)
        check(tmp_path, file.getvalue())

    def test_fsspec_memory(self, boot: Boot, tmp_path: Path, tree: Path, image: bytes) -> None:
        name = f"memory://{tmp_path.name}.img"
        with fsspec.open(name, "wb") as file:
            file.write(image)
        with fsspec.open(name, "r+b") as file:
            use(boot(disks=[PythonDisk(file)]), tree)
        with fsspec.open(name, "rb") as file:
            check(tmp_path, file.read())

    def test_http_ranges(self, boot: Boot, tree: Path, image: bytes, web: Web) -> None:
        """Only what is read is fetched."""
        web.files["/disk.img"] = image
        with fsspec.open(f"{web.url}/disk.img", block_size=64 << 10) as file:
            disk = PythonDisk(file)
            assert disk.read_only
            kernel = boot(disks=[disk])
            kernel.mount("/dev/vda", "/mnt", "ext4", read_only=True)
            assert compare(kernel, "/mnt", tree) == 20
            assert not disk.errors
            kernel.halt()
        assert 0 < web.sent < len(image)

    def test_compressed(self, boot: Boot, tmp_path: Path, tree: Path, image: bytes) -> None:
        packed = tmp_path / "disk.img.gz"
        packed.write_bytes(gzip.compress(image, 1))
        with gzip.open(packed) as file:
            kernel = boot(disks=[PythonDisk(file)])
            kernel.mount("/dev/vda", "/mnt", "ext4", read_only=True)
            assert compare(kernel, "/mnt", tree) == 20
            kernel.halt()

    def test_a_real_file(self, boot: Boot, tmp_path: Path, tree: Path, image: bytes) -> None:
        path = tmp_path / "copy.img"
        path.write_bytes(image)
        with path.open("r+b", buffering=0) as file:
            use(boot(disks=[PythonDisk(file)]), tree)
        check(tmp_path, path.read_bytes())


class Web:
    """A server of files that knows ranges."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.sent = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                data = web.files[self.path]
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
                if asked:
                    start, end = int(asked[1]), min(int(asked[2]), len(data) - 1)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
                else:
                    start, end = 0, len(data) - 1
                    self.send_response(200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(end + 1 - start))
                self.end_headers()
                if self.command == "GET":
                    web.sent += end + 1 - start
                    self.wfile.write(data[start : end + 1])

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    """It is gone after the test."""
    server = Web()
    yield server
    server.close()


class TestSlow:
    """A slow disk delays those who want its data and nobody else."""

    @pytest.mark.parametrize("threads", [1, 4])
    def test_other_calls_go_on(self, boot: Boot, threads: int) -> None:
        """While a request takes 50 ms, and as long as another thread needs for 200 calls.

        If one of those waited for the disk, neither would ever end. And they do not wait:
        the thread sleeps for hardly any of them, and uses far less than 1 ms for each.
        """
        backend = Memory()
        plain = backend.pread
        calls, enough = 0, 200
        counted = threading.Condition()
        late: list[int] = []

        def pread(offset: int, length: int) -> Any:
            with counted:
                end = calls + enough
            time.sleep(0.05)
            with counted:
                # The kernel reads ahead, too: nobody waits for that.
                if not counted.wait_for(lambda: calls >= end or done.is_set(), 30):
                    late.append(offset)
            return plain(offset, length)

        kernel = boot(disks=[PythonDisk(backend, threads=threads)])
        # The kernel has looked for partitions by now.
        backend.pread = pread  # type: ignore[method-assign]
        requests, done = 4, threading.Event()

        def reader() -> None:
            fd = kernel.os.open("/dev/vda", os.O_RDONLY)
            for number in range(requests):
                kernel.os.pread(fd, 512, number << 21)
            kernel.os.close(fd)
            with counted:
                done.set()
                counted.notify_all()

        r, w = kernel.os.pipe()
        kernel.os.read(r, kernel.os.write(w, b"x"))
        thread = threading.Thread(target=reader)
        thread.start()
        slept = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        used = 0.0
        while not done.is_set():
            start = time.thread_time()
            kernel.os.write(w, b"x")
            kernel.os.read(r, 1)
            used += time.thread_time() - start
            with counted:
                calls += 1
                counted.notify_all()
        slept = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - slept
        thread.join()
        assert not late
        assert calls >= requests * enough
        assert used / calls < 0.001
        assert slept < calls / 2

    def test_a_kernel_is_closed_while_its_disk_hangs(self, boot: Boot) -> None:
        backend, entered, release = Memory(), threading.Event(), threading.Event()
        kernel = boot(disks=[PythonDisk(backend)])

        def pread(offset: int, length: int) -> bytes:
            entered.set()
            release.wait()
            return bytes(length)

        backend.pread = pread  # type: ignore[method-assign]
        thread = threading.Thread(target=self.read_and_fail, args=(kernel,))
        thread.start()
        assert entered.wait(30)
        kernel.close()
        thread.join()
        release.set()

    @staticmethod
    def read_and_fail(kernel: Kernel) -> None:
        with pytest.raises(Exception, match=r"closed|interrupted|Errno"):
            kernel.os.pread(kernel.os.open("/dev/vda", os.O_RDONLY), 4096, 1 << 20)


class TestErrors:
    """An exception is an I/O error, and can be looked at."""

    def broken(self, boot: Boot, error: BaseException) -> tuple[Kernel, PythonDisk]:
        class Broken(Memory):
            def pread(self, offset: int, length: int) -> Any:
                if offset >= 8 << 20:
                    raise error
                return super().pread(offset, length)

        disk = PythonDisk(Broken())
        return boot(disks=[disk]), disk

    def test_oserror(self, boot: Boot) -> None:
        kernel, disk = self.broken(boot, OSError(errno.ENOSPC, "full"))
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        assert kernel.os.pread(fd, 4096, 0) == bytes(4096)
        with pytest.raises(OSError, match="Input/output error"):
            kernel.os.pread(fd, 4096, 8 << 20)
        assert isinstance(disk.errors[0], OSError)
        assert any("I/O error, dev vda" in record.text for record in kernel.log)
        assert kernel.os.pread(fd, 4096, 4 << 20) == bytes(4096)

    def test_not_supported(self, boot: Boot) -> None:
        kernel, _ = self.broken(boot, OSError(errno.EOPNOTSUPP, "no"))
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        with pytest.raises(OSError, match=r"not supported|Input/output"):
            kernel.os.pread(fd, 4096, 8 << 20)

    def test_others_are_reported(self, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", seen.append)
        kernel, disk = self.broken(boot, ZeroDivisionError("a bug"))
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output error"):
                kernel.os.pread(fd, 4096, 8 << 20)
        # The kernel asks again, in pieces: that is told once.
        assert [report.exc_type for report in seen] == [ZeroDivisionError]
        assert len(disk.errors) > 1
        assert all(isinstance(error, ZeroDivisionError) for error in disk.errors)

    @pytest.mark.parametrize("virtual", [False, True])
    def test_too_little(self, boot: Boot, monkeypatch: pytest.MonkeyPatch, virtual: bool) -> None:
        """And what is no bytes at all."""
        monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
        backend = Memory()
        disk = PythonDisk(backend)
        kernel = boot(disks=[disk], clock=VirtualClock() if virtual else None)
        fd = kernel.os.open("/dev/vda", os.O_RDONLY)
        for result in (b"short", None, "text"):
            backend.pread = lambda offset, length, r=result: r  # type: ignore[method-assign,misc]
            with pytest.raises(OSError, match="Input/output error"):
                kernel.os.pread(fd, 4096, 8 << 20)
        assert "5 bytes were read" in str(disk.errors[0])


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="pread"):
        PythonDisk(object())
    with pytest.raises(ValueError, match="bad arguments of a disk"):
        PythonDisk(io.BytesIO(b"x" * 100))
    with pytest.raises(ValueError, match="bad arguments of a disk"):
        PythonDisk(io.BytesIO(bytes(4096)), block_size=1000)
    with pytest.raises(ValueError, match="thread"):
        PythonDisk(io.BytesIO(bytes(4096)), threads=0)


def test_disks_that_are_not_used_leave_nothing(boot: Boot) -> None:
    before = set(threading.enumerate())
    disks = [PythonDisk(io.BytesIO(bytes(4096))) for _ in range(10)]
    theirs = set(threading.enumerate()) - before
    assert len(theirs) == 10
    del disks
    deadline = time.monotonic() + 60
    while theirs & set(threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not theirs & set(threading.enumerate())
