# SPDX-License-Identifier: GPL-2.0-only
"""Memory of the kernel in the hands of Python: files, rings, buffers for direct transfers."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rumpel import Kernel
from tests.api.mapped import ANONYMOUS, PAGE, host, make_file

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("directory", ["/tmp", "/mnt"])
def test_a_shared_file_is_the_page_cache(mounted: Kernel, directory: str) -> None:
    """What calls write is in the memory at once, and the other way round."""
    k = mounted
    fd = make_file(k, f"{directory}/file", os.urandom(10 * PAGE + 100))
    with k.mmap.mmap(fd, 0) as m:
        assert len(m) == 10 * PAGE + 100
        assert m[:] == k.os.pread(fd, 11 * PAGE, 0)
        k.os.pwrite(fd, b"by a call", 5 * PAGE - 4)
        assert m[5 * PAGE - 4 : 5 * PAGE + 5] == b"by a call"
        m[7 * PAGE - 3 : 7 * PAGE + 5] = b"by hand!"
        assert k.os.pread(fd, 8, 7 * PAGE - 3) == b"by hand!"
    k.os.close(fd)


def test_what_is_written_reaches_the_disk(mounted: Kernel, image: Path) -> None:
    """msync, and write-back by unmount; the host's tools see both."""
    k = mounted
    fd = make_file(k, "/mnt/file", bytes(64 * PAGE))
    with k.mmap.mmap(fd, 0) as m:
        content = os.urandom(64 * PAGE)
        m[:] = content
        m.flush()
        assert content[:PAGE] in image.read_bytes()
        # Clean pages again: the next write must not be missed.
        m[PAGE : PAGE + 5] = b"later"
    k.os.close(fd)
    k.umount("/mnt")
    k.halt()
    host("e2fsck", "-fn", image)
    found = host("debugfs", "-R", "cat /file", image)
    assert found == content[:PAGE] + b"later" + content[PAGE + 5 :]


def test_every_write_after_a_sync_counts(mounted: Kernel, image: Path) -> None:
    """A page that was written out is clean: the kernel hears of the next write to it."""
    k = mounted
    marker = os.urandom(64)
    fd = make_file(k, "/mnt/file", marker + bytes(PAGE - 64))
    k.os.fsync(fd)
    place = image.read_bytes().index(marker) + 64
    with k.mmap.mmap(fd, 0) as m:
        for number in range(20):
            m[64 + number] = number + 1
            m.flush()
            with image.open("rb") as disk:
                disk.seek(place)
                assert disk.read(number + 1) == bytes(range(1, number + 2))
    k.os.close(fd)


def test_a_private_mapping_is_a_copy(kernel: Kernel) -> None:
    fd = make_file(kernel, "/tmp/file", b"original" * PAGE)
    with kernel.mmap.mmap(fd, 0, access=mmap.ACCESS_COPY) as m:
        m[:5] = b"local"
        assert m[:8] == b"localnal"
        assert kernel.os.pread(fd, 8, 0) == b"original"
        kernel.os.pwrite(fd, b"ORIGINAL", 5 * PAGE)  # a page that was not written to
        assert m[5 * PAGE : 5 * PAGE + 8] == b"ORIGINAL"


def test_a_mapping_for_reading(kernel: Kernel) -> None:
    fd = make_file(kernel, "/tmp/file", b"text")
    with kernel.mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as m:
        with memoryview(m) as view:
            assert view.readonly
        with pytest.raises(TypeError):
            m[0] = 1
        assert m[:] == b"text"


def test_memory_of_the_kernel(kernel: Kernel) -> None:
    """Calls read and write it; the kernel's count of what is used goes up and down."""
    m = kernel.mmap.mmap(-1, 4 << 20)
    assert m[:] == bytes(4 << 20)
    r, w = kernel.os.pipe()
    m[:5] = b"hello"
    with memoryview(m) as view:
        assert kernel.os.write(w, view[:5]) == 5
        assert kernel.os.readv(r, [view[PAGE : PAGE + 100]]) == 5
    assert m[PAGE : PAGE + 5] == b"hello"
    m.close()
    with pytest.raises(ValueError, match="closed"):
        m[0]


def test_calls_write_to_pages_that_nobody_has_touched(kernel: Kernel) -> None:
    """The kernel's own copies fault pages in, in the middle of a call."""
    with kernel.mmap.mmap(-1, 64 * PAGE) as m:
        content = os.urandom(40 * PAGE)
        fd = make_file(kernel, "/tmp/file", content)
        with memoryview(m) as view:
            assert kernel.os.preadv(fd, [view[100 : 100 + 40 * PAGE]], 0) == 40 * PAGE
        assert m[100 : 100 + 40 * PAGE] == content
        assert m[100 + 40 * PAGE :] == bytes(24 * PAGE - 100)


def test_a_call_gets_efault_where_nothing_is_mapped(kernel: Kernel) -> None:
    m = kernel.mmap.mmap(-1, 4 * PAGE)
    address = m.address
    kernel.syscall("munmap", address + PAGE, PAGE)
    r, w = kernel.os.pipe()
    kernel.os.write(w, bytes(3 * PAGE))
    assert kernel.syscall("read", r, address, 3 * PAGE) == PAGE
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        kernel.syscall("read", r, address + PAGE, 10)
    kernel.syscall("mprotect", address, PAGE, mmap.PROT_READ)
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        kernel.syscall("read", r, address, 10)
    assert m[:PAGE] == bytes(PAGE)
    kernel.syscall("mprotect", address, PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
    m[0] = 1
    m.close()


def test_mremap_and_growth(kernel: Kernel) -> None:
    m = kernel.mmap.mmap(-1, 2 * PAGE, flags=ANONYMOUS)
    m[:] = b"a" * 2 * PAGE
    m.resize(100 * PAGE)
    assert len(m) == 100 * PAGE
    assert m[:] == b"a" * 2 * PAGE + bytes(98 * PAGE)
    with memoryview(m), pytest.raises(BufferError):
        m.resize(PAGE)
    m.resize(PAGE)
    assert m[:] == b"a" * PAGE
    m.close()
    fd = make_file(kernel, "/tmp/file", b"x" * PAGE)
    with kernel.mmap.mmap(fd, 0) as m:
        m.resize(3 * PAGE)
        m[3 * PAGE - 1] = 7
        assert kernel.os.fstat(fd).st_size == 3 * PAGE


def test_fixed_addresses(kernel: Kernel) -> None:
    """MAP_FIXED inside the range replaces; elsewhere is the host's memory: refused."""
    m = kernel.mmap.mmap(-1, 4 * PAGE)
    m[:] = b"1" * 4 * PAGE
    fd = make_file(kernel, "/tmp/file", b"2" * PAGE)
    flags = mmap.MAP_SHARED | 0x10  # MAP_FIXED
    address = m.address + PAGE
    assert kernel.syscall("mmap", address, PAGE, mmap.PROT_READ, flags, fd, 0) == address
    assert m[:] == b"1" * PAGE + b"2" * PAGE + b"1" * 2 * PAGE
    m.close()
    ours = bytearray(1 << 20)
    with memoryview(ours) as view:
        where = ctypes.addressof(ctypes.c_char.from_buffer(view)) & -PAGE
        with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
            kernel.syscall("mmap", where, PAGE, mmap.PROT_READ, ANONYMOUS | 0x10, -1, 0)
        hint = kernel.syscall("mmap", where, PAGE, mmap.PROT_READ, ANONYMOUS, -1, 0)
        assert hint != where
        kernel.syscall("munmap", hint, PAGE)


def test_as_the_standard_module(kernel: Kernel, tmp_path: Path) -> None:
    """The same program on both gives the same results."""
    content = b"one\ntwo\nthree " * 1000
    fd = make_file(kernel, "/tmp/file", content)
    path = tmp_path / "file"
    path.write_bytes(content)

    mistakes: list[Callable[[Any], object]] = [
        lambda m: m.seek(-1),
        lambda m: m.move(0, 0, 1 << 30),
        lambda m: m.seek(0, 9),
        lambda m: m.flush(0, 1 << 30),
    ]

    def use(m: mmap.mmap) -> list[object]:
        results: list[object] = [len(m), m.size(), m.tell(), m.read(3), m.readline(), m.readline()]
        results += [m.find(b"three"), m.rfind(b"one"), m.find(b"nothing")]
        m.seek(-5, os.SEEK_END)
        results += [m.tell(), m.read(), m.read()]
        m.seek(2)
        results += [m.write(b"WRITE"), m.tell(), m.read_byte()]
        m.write_byte(66)
        m.move(100, 0, 20)
        results += [m[:200], m[5], m[10:40:7], m.closed]
        for bad in mistakes:
            with pytest.raises(ValueError, match=r"range|seek"):
                bad(m)
        with pytest.raises(IndexError):
            m[1 << 30]
        m.flush()
        with memoryview(m), pytest.raises(BufferError):
            m.close()
        m.close()
        results.append(m.closed)
        return results

    with path.open("r+b") as file:
        expected = use(mmap.mmap(file.fileno(), 0))
    assert use(kernel.mmap.mmap(fd, 0)) == expected  # type: ignore[arg-type]
    with kernel.open("/tmp/file", "rb") as theirs:
        assert theirs.read() == path.read_bytes()


def test_its_descriptor_is_its_own(kernel: Kernel) -> None:
    """Whoever made it may close theirs, and the number may be another file's then."""
    fd = make_file(kernel, "/tmp/file", b"x" * PAGE)
    m = kernel.mmap.mmap(fd, 0)
    kernel.os.close(fd)
    other = make_file(kernel, "/tmp/other", b"precious")
    assert other == fd
    assert m.size() == PAGE
    m.resize(2 * PAGE)
    assert kernel.os.stat("/tmp/file").st_size == m.size() == 2 * PAGE
    assert kernel.os.stat("/tmp/other").st_size == 8
    before = len(kernel.os.listdir("/proc/self/fd"))
    m.close()
    assert len(kernel.os.listdir("/proc/self/fd")) == before - 1
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        kernel.mmap.mmap(other, 1, offset=1)
    assert len(kernel.os.listdir("/proc/self/fd")) == before - 1


def test_one_of_two_who_close_unmaps(kernel: Kernel) -> None:
    """The other does not unmap what came to the same place."""
    for _ in range(50):
        m = kernel.mmap.mmap(-1, PAGE)
        m[0] = 1
        start = threading.Barrier(2)
        kept: list[Any] = []

        def close(m: Any = m, start: threading.Barrier = start, kept: list[Any] = kept) -> None:
            start.wait()
            m.close()
            kept.append(kernel.mmap.mmap(-1, PAGE))

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for new in kept:
            new[0] = 7
            assert new[:2] == b"\7\0"
            new.close()


def test_a_failed_resize_changes_nothing(kernel: Kernel) -> None:
    with kernel.mmap.mmap(-1, PAGE, flags=ANONYMOUS) as m:
        m[0] = 7
        with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
            m.resize(1 << 45)
        assert len(m) == PAGE
        assert m[0] == 7


def test_what_is_refused(kernel: Kernel) -> None:
    fd = make_file(kernel, "/tmp/empty", b"")
    with pytest.raises(ValueError, match="empty"):
        kernel.mmap.mmap(fd, 0)
    with pytest.raises(ValueError, match="empty"):
        kernel.mmap.mmap(-1, 0)
    whole = make_file(kernel, "/tmp/whole", bytes(PAGE + 1))
    with kernel.mmap.mmap(whole, 1, offset=PAGE) as m:
        assert m[:] == b"\0"
    for length, offset in ((PAGE + 2, 0), (2, PAGE), (1, 2 * PAGE)):
        with pytest.raises(ValueError, match="mmap length is greater than file size"):
            kernel.mmap.mmap(whole, length, offset=offset)
    with pytest.raises(ValueError, match="access"):
        kernel.mmap.mmap(-1, PAGE, access=99)
    with pytest.raises(OverflowError):
        kernel.mmap.mmap(-1, -1)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        kernel.mmap.mmap(999, PAGE)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        kernel.mmap.mmap(-1, 1 << 45)  # the range is 16 GiB
    with pytest.raises(AttributeError):
        kernel.mmap.no_such_thing  # noqa: B018
    assert kernel.mmap.PAGESIZE == mmap.PAGESIZE


def test_shared_memory(kernel: Kernel) -> None:
    """A memfd that is mapped twice, and System V's: the same pages at two addresses."""
    fd = kernel.syscall("memfd_create", "shared", 0)
    kernel.os.ftruncate(fd, 4 * PAGE)
    with kernel.mmap.mmap(fd, 0) as one, kernel.mmap.mmap(fd, 0) as other:
        assert one.address != other.address
        one[:4] = b"both"
        assert other[:4] == b"both"
        other[3 * PAGE] = 9
        assert one[3 * PAGE] == 9
    kernel.os.close(fd)
