# SPDX-License-Identifier: GPL-2.0-only
"""Mappings under pressure, and when something ends: a kernel, a process, memory."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import Disk, Kernel
from tests.api.mapped import ANONYMOUS, PAGE, Boot, host

pytestmark = pytest.mark.kernel


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


def test_a_view_in_a_cycle_with_its_mapping(tiny: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go together, as at the end of a process, without a word of views that are left."""
    said: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    mapping = tiny.mmap.mmap(-1, PAGE)
    ring = [mapping, memoryview(mapping)]
    ring.append(ring)
    del mapping, ring
    gc.collect()
    assert not said
