# SPDX-License-Identifier: GPL-2.0-only
"""Memory of the kernel in the hands of Python: files, rings, buffers for direct transfers."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import Disk, Kernel

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]
PAGE = 4096
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def host(*command: str | Path) -> bytes:
    """The output of a tool of the host."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        check=True,
        env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"},
    ).stdout


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with an empty ext4."""
    path = tmp_path / "disk.img"
    host("mke2fs", "-q", "-t", "ext4", path, "64M")
    return path


@pytest.fixture
def mounted(boot: Boot, image: Path) -> Kernel:
    """A kernel with an ext4 at /mnt."""
    kernel = boot(disks=[Disk(image)])
    kernel.mount("/dev/vda", "/mnt", "ext4")
    return kernel


def make_file(kernel: Kernel, path: str, content: bytes) -> int:
    """A file with this content, open."""
    fd = kernel.os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    done = 0
    while done < len(content):
        done += kernel.os.write(fd, content[done:])
    return fd


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


def run_python(program: str) -> int:
    """What a process with this program ends with."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, timeout=100
    ).returncode


@pytest.mark.parametrize(
    ("touch", "number"),
    [
        ("k.os.ftruncate(fd, 0); m[0]", signal.SIGBUS),
        ("k.syscall('munmap', m.address, 4096); m[0]", signal.SIGSEGV),
        ("k.syscall('mprotect', m.address, 4096, 1); m[0] = 1", signal.SIGSEGV),
    ],
)
def test_a_bad_touch_is_the_process_s_end(default_image: str, touch: str, number: int) -> None:
    """As with the memory of any kernel, and with the same signals."""
    program = f"""
import os, rumpel, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
k = rumpel.boot(image={default_image!r})
fd = k.os.open("/tmp/file", os.O_RDWR | os.O_CREAT)
k.os.write(fd, b"x" * 4096)
m = k.mmap.mmap(fd, 4096)
assert m[0] == 120
{touch}
"""
    assert run_python(program) == -number


@pytest.mark.parametrize("end", ["halt", "close"])
def test_a_view_that_outlives_its_kernel(boot: Boot, end: str) -> None:
    """Zeroes, or what was there; never a crash."""
    kernel = boot()
    m = kernel.mmap.mmap(-1, 100 * PAGE)
    m[:PAGE] = b"x" * PAGE
    view = memoryview(m)
    getattr(kernel, end)()
    assert bytes(view) == bytes(100 * PAGE)
    view[0] = 1
    view.release()
    with pytest.raises(rumpel.KernelClosed):
        m[0]
    with pytest.raises(rumpel.KernelClosed):
        m[0] = 1
    assert len(m) == 100 * PAGE
    m.close()


def test_a_view_of_a_kernel_that_panicked(boot: Boot) -> None:
    """What is read and written is memory of nobody, which subscripts say."""
    kernel = boot()
    m = kernel.mmap.mmap(-1, 2 * PAGE)
    m[0] = 1
    with pytest.raises((rumpel.TaskExited, rumpel.KernelPanic)):
        while True:  # pid 1 ends, and the kernel with it
            kernel.syscall("exit_group", 1)
    with memoryview(m) as view:
        assert view[PAGE:] == bytes(PAGE)
        with pytest.raises(rumpel.KernelPanic):
            m[0] = 2
        with pytest.raises(rumpel.KernelPanic):
            m[PAGE:]
        kernel.close()
        assert view[PAGE:] == bytes(PAGE)


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


def test_pages_are_given_back(kernel: Kernel) -> None:
    """Madvise and munmap: what comes next are zeroes, whoever has the page now."""
    with kernel.mmap.mmap(-1, 50 * PAGE, flags=ANONYMOUS) as m:
        m[:] = b"s" * 50 * PAGE
        m.madvise(mmap.MADV_DONTNEED)
        assert m[:] == bytes(50 * PAGE)
    for _ in range(50):
        with kernel.mmap.mmap(-1, 500 * PAGE) as m:
            assert m[:] == bytes(500 * PAGE)
            m[:] = b"t" * 500 * PAGE


def test_memory_is_reclaimed_under_a_mapping(boot: Boot, image: Path) -> None:
    """A file larger than the kernel's memory, read and written through one mapping."""
    kernel = boot(disks=[Disk(image)], memory="24M")
    kernel.mount("/dev/vda", "/mnt", "ext4")
    size = 40 << 20
    fd = kernel.os.open("/mnt/file", os.O_RDWR | os.O_CREAT)
    kernel.os.ftruncate(fd, size)
    with kernel.mmap.mmap(fd, 0) as m:
        for offset in range(0, size, PAGE):
            m[offset : offset + 8] = struct.pack("Q", offset)
        for offset in range(0, size, 7 * PAGE):
            assert m[offset : offset + 8] == struct.pack("Q", offset)
    kernel.os.close(fd)
    kernel.umount("/mnt")
    kernel.halt()
    found = host("debugfs", "-R", "cat /file", image)
    assert all(
        found[offset : offset + 8] == struct.pack("Q", offset) for offset in range(0, size, PAGE)
    )


def test_direct_io(mounted: Kernel, image: Path) -> None:
    """With the kernel's memory it works; other memory is refused, and nothing is written."""
    k = mounted
    fd = k.os.open("/mnt/direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    with k.mmap.mmap(-1, 64 * PAGE) as buffer:
        content = os.urandom(64 * PAGE)
        buffer[:] = content
        with memoryview(buffer) as view:
            assert k.os.pwritev(fd, [view], 0) == 64 * PAGE
            k.os.fsync(fd)
            assert content[: 4 * PAGE] in image.read_bytes()
        buffer[:] = bytes(64 * PAGE)
        with memoryview(buffer) as view:
            assert k.os.preadv(fd, [view], 0) == 64 * PAGE
        assert buffer[:] == content
    with k.mmap.mmap(-1, 16 * PAGE) as untouched, memoryview(untouched) as view:
        assert k.os.preadv(fd, [view], 0) == 16 * PAGE
        assert view == content[: 16 * PAGE]
    ours = mmap.mmap(-1, PAGE)
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        k.os.pwritev(fd, [ours], 0)
    k.os.close(fd)


def test_vmsplice(kernel: Kernel) -> None:
    """Pages go into a pipe without a copy; other memory is refused."""
    r, w = kernel.os.pipe()
    with kernel.mmap.mmap(-1, 2 * PAGE) as m:
        m[:] = b"v" * 2 * PAGE
        vector = struct.pack("QQ", m.address, 2 * PAGE)
        assert kernel.syscall("vmsplice", w, vector, 1, 0) == 2 * PAGE
        m[0] = ord("w")  # the pipe has the page itself
        assert kernel.os.read(r, 10) == b"w" + b"v" * 9

    ours = ctypes.create_string_buffer(PAGE)
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        kernel.syscall("vmsplice", w, struct.pack("QQ", ctypes.addressof(ours), PAGE), 1, 0)


def test_zero_copy_send(kernel: Kernel) -> None:
    """MSG_ZEROCOPY, with the notification that the memory is free again."""
    s = kernel.socket
    server = s.create_server(("127.0.0.1", 0))
    client = s.create_connection(server.getsockname())
    peer, _ = server.accept()
    so_zerocopy, msg_zerocopy = 60, 0x4000000
    client.setsockopt(s.SOL_SOCKET, so_zerocopy, 1)
    content = os.urandom(16 * PAGE)
    with kernel.mmap.mmap(-1, 16 * PAGE) as m:
        m[:] = content
        with memoryview(m) as view:
            assert client.send(view, msg_zerocopy) == 16 * PAGE
        received = b""
        while len(received) < len(content):
            received += peer.recv(1 << 20)
        assert received == content
        _, ancillary, flags, _ = client.recvmsg(0, 200, s.MSG_ERRQUEUE)
        assert flags & s.MSG_ERRQUEUE
        _, _, data = ancillary[0]
        assert struct.unpack_from("IBBBBII", data)[1] == 5  # SO_EE_ORIGIN_ZEROCOPY
    with pytest.raises(OSError, match=os.strerror(errno.EFAULT)):
        client.send(bytes(16 * PAGE), msg_zerocopy)
    for sock in (client, peer, server):
        sock.close()


def test_a_packet_ring(kernel: Kernel) -> None:
    """PACKET_RX_RING: frames of the loopback interface, read where the kernel puts them."""
    s = kernel.socket
    sol_packet, packet_rx_ring = 263, 5
    ring = s.socket(17, s.SOCK_RAW, socket_htons(3))
    frames, size = 64, 2048
    ring.setsockopt(sol_packet, packet_rx_ring, struct.pack("IIII", PAGE, 32, size, frames))
    ring.bind(("lo", 3))
    with kernel.mmap.mmap(ring.fileno(), 32 * PAGE) as m:
        sender = s.socket(s.AF_INET, s.SOCK_DGRAM)
        for number in range(5):
            sender.sendto(b"frame %d" % number, ("127.0.0.1", 9))
        found = []
        for frame in range(frames):
            status, _, snaplen, mac = struct.unpack_from("LIIH", m, frame * size)
            if status & 1:
                start = frame * size + mac
                found.append(m[start : start + snaplen])
                m[frame * size : frame * size + 8] = bytes(8)
        for number in range(5):
            assert any(b"frame %d" % number in frame for frame in found)
        sender.close()
    ring.close()


def socket_htons(value: int) -> int:
    """The order of the network."""
    return int.from_bytes(value.to_bytes(2, "little"), "big")


def test_two_hundred_threads(kernel: Kernel) -> None:
    """Each with a mapping of its own, faulting at the same time, and one that all share."""
    shared = kernel.mmap.mmap(-1, 200 * PAGE)
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            pattern = struct.pack("I", number) * (PAGE // 4)
            with kernel.mmap.mmap(-1, 8 * PAGE) as own:
                for page in range(8):
                    own[page * PAGE : (page + 1) * PAGE] = pattern
                shared[number * PAGE : (number + 1) * PAGE] = pattern
                assert own[:] == pattern * 8
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for number in range(200):
        assert shared[number * PAGE : number * PAGE + 4] == struct.pack("I", number)
    shared.close()


def test_more_pages_than_the_host_maps_at_a_time(boot: Boot) -> None:
    """The host takes some 65,000 mappings for a process: scattered pages come and go."""
    kernel = boot(memory="512M")
    pages = 80_000
    flags = ANONYMOUS | 0x4000  # MAP_NORESERVE
    with kernel.mmap.mmap(-1, pages * 2 * PAGE, flags=flags) as m:
        for page in range(pages):
            offset = page * 2 * PAGE
            m[offset : offset + 4] = struct.pack("I", page)
        for page in range(0, pages, 97):
            offset = page * 2 * PAGE
            assert m[offset : offset + 4] == struct.pack("I", page)


def test_on_a_virtual_clock(boot: Boot) -> None:
    clock = rumpel.VirtualClock()
    kernel = boot(clock=clock)
    start = clock.now
    with kernel.mmap.mmap(-1, 100 * PAGE) as m:
        m[:] = b"x" * 100 * PAGE
    assert clock.now == start


def test_processes_share_the_memory(kernel: Kernel) -> None:
    """k.process() has descriptors of its own, but its code is in this process."""
    with kernel.process():
        m = kernel.mmap.mmap(-1, PAGE)
        m[:5] = b"child"
    r, w = kernel.os.pipe()
    with memoryview(m) as view:
        assert kernel.os.write(w, view[:5]) == 5
    assert kernel.os.read(r, 5) == b"child"
    m.close()


def test_in_the_child_of_a_fork(kernel: Kernel) -> None:
    """Nothing crashes there, and nothing is changed here."""
    m = kernel.mmap.mmap(-1, 4 * PAGE)
    m[:4] = b"here"
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if m[:4] in (b"here", bytes(4)) and m[PAGE] == 0 else 2
            m[:5] = b"there"
            m[2 * PAGE] = 5
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert m[:5] == b"here\0"
    assert m[2 * PAGE] == 0
    m.close()


# ---- io_uring, as a program would use it: io_uring_setup(2), io_uring_enter(2) ----

IORING_OP_READ, IORING_OP_WRITE, IORING_OP_POLL_ADD, IORING_OP_READ_FIXED = 22, 23, 6, 4
IORING_ENTER_GETEVENTS = 1
IORING_REGISTER_BUFFERS = 0


class Ring:
    """An io_uring whose rings are read and written by Python."""

    def __init__(self, kernel: Kernel, entries: int) -> None:
        self.kernel = kernel
        params = bytearray(120)
        self.fd = kernel.syscall("io_uring_setup", entries, params)
        words = struct.unpack("30I", params)
        self.entries, completions = words[0], words[1]
        self.sq = struct.unpack_from(
            "10I", params, 40
        )  # head tail mask entries flags dropped array
        self.cq = struct.unpack_from("10I", params, 80)  # head tail mask entries overflow cqes
        m = kernel.mmap
        self.sq_ring = m.mmap(self.fd, self.sq[6] + self.entries * 4)
        self.cq_ring = m.mmap(self.fd, self.cq[5] + completions * 16, offset=0x8000000)
        self.sqes = m.mmap(self.fd, self.entries * 64, offset=0x10000000)

    def submit(self, opcode: int, fd: int, offset: int, address: int, n: int, data: int) -> None:
        """Put an entry on the submission queue."""
        (tail,) = struct.unpack_from("I", self.sq_ring, self.sq[1])
        index = tail & (self.entries - 1)
        events = 1 if opcode == IORING_OP_POLL_ADD else 0
        sqe = struct.pack("BBHiQQIIQHHIQQ", opcode, 0, 0, fd, offset, address, n, events, data,
                          0, 0, 0, 0, 0)  # fmt: skip
        self.sqes[index * 64 : (index + 1) * 64] = sqe
        struct.pack_into("I", self.sq_ring, self.sq[6] + index * 4, index)
        struct.pack_into("I", self.sq_ring, self.sq[1], tail + 1)

    def enter(self, submitted: int, wanted: int) -> int:
        """Let the kernel work, and wait for so many to be complete."""
        flags = IORING_ENTER_GETEVENTS if wanted else 0
        return self.kernel.syscall("io_uring_enter", self.fd, submitted, wanted, flags, None, 0)

    def completed(self) -> dict[int, int]:
        """What has ended: results by the data that was submitted."""
        head, tail = (struct.unpack_from("I", self.cq_ring, self.cq[i])[0] for i in (0, 1))
        results = {}
        while head != tail:
            at = self.cq[5] + (head & self.cq_mask()) * 16
            data, result, _ = struct.unpack_from("QiI", self.cq_ring, at)
            results[data] = result
            head += 1
        struct.pack_into("I", self.cq_ring, self.cq[0], head)
        return results

    def cq_mask(self) -> int:
        return int(struct.unpack_from("I", self.cq_ring, self.cq[2])[0])

    def close(self) -> None:
        for ring in (self.sq_ring, self.cq_ring, self.sqes):
            ring.close()
        self.kernel.os.close(self.fd)


def test_io_uring(mounted: Kernel) -> None:
    """A read and a write of a file and a poll, all by rings."""
    k = mounted
    ring = Ring(k, 8)
    fd = make_file(k, "/mnt/file", b"from the file" + bytes(PAGE))
    r, w = k.os.pipe()
    with k.mmap.mmap(-1, 2 * PAGE) as m:
        m[:7] = b"by ring"
        ring.submit(IORING_OP_READ, fd, 0, m.address + PAGE, 13, 1)
        ring.submit(IORING_OP_WRITE, fd, 100, m.address, 7, 2)
        ring.submit(IORING_OP_POLL_ADD, r, 0, 0, 0, 3)
        assert ring.enter(3, 2) == 3
        assert ring.completed() == {1: 13, 2: 7}
        assert m[PAGE : PAGE + 13] == b"from the file"
        assert k.os.pread(fd, 7, 100) == b"by ring"
        assert ring.completed() == {}
        k.os.write(w, b"x")
        ring.enter(0, 1)
        assert ring.completed() == {3: 1}
        # Memory of the host is as good where pages need not be held.
        ours = bytearray(13)

        where = ctypes.addressof(ctypes.c_char.from_buffer(ours))
        ring.submit(IORING_OP_READ, fd, 0, where, 13, 4)
        ring.enter(1, 1)
        assert ring.completed() == {4: 13}
        assert ours == b"from the file"
        # Registered buffers are held: the kernel's memory only.
        vector = struct.pack("QQ", m.address, PAGE)
        k.syscall("io_uring_register", ring.fd, IORING_REGISTER_BUFFERS, vector, 1)
        ring.submit(IORING_OP_READ_FIXED, fd, 0, m.address, 13, 5)
        ring.enter(1, 1)
        assert ring.completed() == {5: 13}
        assert m[:13] == b"from the file"
        vector = struct.pack("QQ", where, 13)
    ring.close()
    k.os.close(fd)


def test_a_bpf_ring_buffer(kernel: Kernel) -> None:
    """The consumer's page can be written to, the producer's only read."""
    bpf_map_create, bpf_map_type_ringbuf = 0, 27
    attributes = struct.pack("IIII", bpf_map_type_ringbuf, 0, 0, PAGE) + bytes(56)
    fd = kernel.syscall("bpf", bpf_map_create, attributes, len(attributes))
    with kernel.mmap.mmap(fd, PAGE) as consumer:
        consumer[:8] = bytes(8)
        with kernel.mmap.mmap(fd, 3 * PAGE, prot=mmap.PROT_READ, offset=PAGE) as producer:
            assert producer[:8] == bytes(8)
    with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
        kernel.mmap.mmap(fd, 3 * PAGE, offset=PAGE)
    kernel.os.close(fd)


def test_touches_while_it_halts(boot: Boot) -> None:
    """Threads that go on touching new pages find memory, or hear that it is gone."""
    for _ in range(5):
        kernel = boot()
        m = kernel.mmap.mmap(-1, 5000 * PAGE)
        stop = threading.Event()

        def touch(m: Any = m, stop: threading.Event = stop) -> None:
            with contextlib.suppress(rumpel.KernelClosed):
                for page in range(5000):
                    m[page * PAGE] = 1
                    if stop.is_set():
                        break

        threads = [threading.Thread(target=touch) for _ in range(3)]
        for thread in threads:
            thread.start()
        kernel.halt()
        stop.set()
        for thread in threads:
            thread.join()
        m.close()
