# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that end badly: their callers are told, and nobody else suffers."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rumpel
import rumpel.crash
from rumpel import FaultyDisk, Kernel, KernelPanic, TaskExited, VirtualClock, syscalls
from rumpel.symbols import addresses
from tests.api.test_disks import damaged_directory, ext4

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


@pytest.fixture(scope="session")
def sys_call_table(default_image: str) -> int:
    """Where the kernel's table is, in its image."""
    vmlinux = Path(default_image).with_name("vmlinux")
    return addresses(vmlinux, ["sys_call_table"])["sys_call_table"]


@pytest.fixture
def crash(sys_call_table: int) -> Callable[[Kernel], KernelPanic]:
    """Make a kernel call a function that is not there; return what it says about it."""

    def crash(kernel: Kernel) -> KernelPanic:
        entry = kernel._native.load_address + sys_call_table + 8 * syscalls.lookup("getpgrp").nr
        ctypes.c_uint64.from_address(entry).value = 0x10
        with pytest.raises(KernelPanic) as caught:
            kernel.syscall("getpgrp")
        return caught.value

    return crash


Crash = Callable[[Kernel], KernelPanic]


def test_a_report_is_one_page(kernel: Kernel, crash: Crash) -> None:
    """Reason, kernel, its stack, the Python code that called it, and the log, on 60 lines."""
    page = rumpel.crash.report(crash(kernel), kernel)
    assert page.startswith("KERNEL PANIC: BUG: signal 11 at address 0000000000000010")
    assert f"Linux {kernel.release}" in page
    assert "test_panic.py" in page
    assert "kernel.syscall(" in page
    assert "Kernel panic - not syncing" in page
    assert len(page.splitlines()) <= 60
    bare = rumpel.crash.report(KernelPanic("no more"))
    with pytest.raises(TypeError, match="about a KernelPanic, not Kernel"):
        rumpel.crash.report(kernel)  # type: ignore[arg-type]
    assert bare.count("(not known)") == 3


def test_a_fault_is_an_exception_with_everything(kernel: Kernel, crash: Crash) -> None:
    kernel.os.getpid()
    error = crash(kernel)
    assert str(error).startswith("BUG: signal 11 at address 0000000000000010")
    assert "(Fatal fault in the kernel)" in str(error)
    assert "Kernel panic - not syncing: Fatal fault in the kernel" in error.log
    assert error.log.count("\n") > 10
    names = [frame.split("+")[0] for frame in error.backtrace]
    assert "panic" in names or "oops" in names
    assert kernel.state == "panicked"


def test_a_panic_of_its_own_has_a_backtrace(boot: Boot, tmp_path: Path) -> None:
    """ext4, told to panic at the first error, meets a damaged directory."""
    image = damaged_directory(tmp_path)
    kernel = boot(disks=[image])
    kernel.mount("/dev/vda", "/mnt", "ext4", data="errors=panic")
    with pytest.raises(KernelPanic) as caught:
        kernel.os.listdir("/mnt/d")
    assert "EXT4-fs (device vda): panic forced after error" in str(caught.value)
    assert "EXT4-fs error (device vda): " in caught.value.log
    names = [frame.split("+")[0] for frame in caught.value.backtrace]
    panic = "panic" if "panic" in names else "vpanic"  # what newer kernels call it inside
    assert names.index(panic) < names.index("ext4_readdir") < names.index("iterate_dir")


@pytest.mark.parametrize("virtual", [False, True])
def test_pid_1_that_exits_is_told_at_once(boot: Boot, virtual: bool) -> None:
    """The state is what it is, and a with statement ends without a second exception."""
    kernel = boot(clock=VirtualClock() if virtual else None)
    with kernel:
        with pytest.raises(KernelPanic, match="Attempted to kill init"):
            kernel.syscall("exit_group", 0)
        assert kernel.state == "panicked"
    assert kernel.state == "panicked"


def test_a_thread_that_exits_leaves_the_others(kernel: Kernel) -> None:
    """What can be done after it, as its error says."""
    for _ in range(2):
        with pytest.raises(TaskExited, match=r"other threads and processes can, and .* be halted"):
            kernel.syscall("exit", 0)
    assert kernel.state == "running"
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(kernel.os.getpid()))
    thread.start()
    thread.join(20)
    assert found == [1]
    kernel.halt()
    assert kernel.state == "halted"


def test_pid_1_that_exits_is_a_panic(kernel: Kernel) -> None:
    with pytest.raises((TaskExited, KernelPanic)):
        kernel.syscall("exit_group", 3)
    deadline = time.monotonic() + 20
    while kernel.state != "panicked" and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(KernelPanic, match="Attempted to kill init! exitcode=0x00000300"):
        kernel.os.getpid()


def test_a_task_that_ends_itself(kernel: Kernel) -> None:
    with kernel.process() as process:
        with pytest.raises(TaskExited, match="the kernel task has exited"):
            kernel.syscall("exit_group", 0)
        with pytest.raises(TaskExited):
            kernel.os.getpid()
    process.close()
    with pytest.raises(ProcessLookupError):
        kernel.syscall("kill", 99999, 0)


def test_all_later_calls_say_so(kernel: Kernel, crash: Crash) -> None:
    crash(kernel)
    for call in (kernel.os.getpid, kernel.os.pipe, lambda: kernel.sleep(1)):
        with pytest.raises(KernelPanic, match="Fatal fault in the kernel"):
            call()
    with pytest.raises(KernelPanic):
        kernel.halt()
    assert kernel.state == "panicked"
    assert "Kernel panic" in str(kernel.log)
    kernel.close()
    assert kernel.state == "panicked"


def test_other_threads_are_told(kernel: Kernel, crash: Crash) -> None:
    r, _ = kernel.os.pipe()
    ends: list[BaseException] = []

    def wait() -> None:
        try:
            kernel.os.read(r, 1)
        except BaseException as error:
            ends.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    crash(kernel)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [type(e) for e in ends] == [KernelPanic] * 3


def test_other_kernels_go_on(boot: Boot, crash: Crash) -> None:
    first, second = boot(), boot()
    r, w = second.os.pipe()
    crash(first)
    second.os.write(w, b"fine")
    assert second.os.read(r, 10) == b"fine"
    third = boot()
    assert third.os.getpid() == 1


def test_with_statements_let_the_panic_through(default_image: str, crash: Crash) -> None:
    with rumpel.boot(image=default_image) as kernel:
        error = crash(kernel)
    assert kernel.state == "panicked"
    with pytest.raises(KernelPanic) as caught, rumpel.boot(image=default_image) as kernel:
        raise error
    assert caught.value is error


def with_a_panic(image: str, directory: Path, then: Callable[[], None]) -> Iterator[Kernel]:
    """A with statement whose kernel panics when no call is there to say so; then more.

    A thread that writes back finds that there is no journal any more. Sometimes it has written
    all before the journal finds that the disk fails: then it is tried again.
    """
    for number in range(20):
        disk = FaultyDisk(ext4(directory / f"{number}.img"))
        with rumpel.boot(image=image, disks=[disk]) as k:
            k.sysctl["vm.dirty_writeback_centisecs"] = 20
            k.sysctl["vm.dirty_expire_centisecs"] = 200
            k.mount("/dev/vda", "/mnt", "ext4", data="errors=panic,commit=1")
            disk.add_fault(0, 1 << 30, reads=False)
            k.os.mkdir("/mnt/d")
            k.Path("/mnt/file").write_bytes(b"x")
            deadline = time.monotonic() + 6
            while k.state != "panicked" and time.monotonic() < deadline:
                time.sleep(0.01)
            if k.state == "panicked":
                yield k
                then()
                return
            k.close()
    raise AssertionError("it never panicked")


def test_a_panic_that_no_call_has_told_is_told_at_the_end(
    default_image: str, tmp_path: Path
) -> None:
    """Of a with statement, and only once."""
    statement = with_a_panic(default_image, tmp_path, lambda: None)
    k = next(statement)
    with pytest.raises(KernelPanic) as caught:
        next(statement)
    assert "Kernel panic" in caught.value.log
    assert k.state == "panicked"
    k.halt()


def test_a_panic_is_a_note_of_what_else_went_wrong(default_image: str, tmp_path: Path) -> None:
    def then() -> None:
        raise LookupError("what was asked for is not there")

    statement = with_a_panic(default_image, tmp_path, then)
    k = next(statement)
    with pytest.raises(LookupError) as other:
        next(statement)
    assert "The kernel has panicked meanwhile: " in other.value.__notes__[0]
    assert k.state == "panicked"


def test_a_panic_of_a_kernel_on_a_virtual_clock(boot: Boot, crash: Crash) -> None:
    clock = rumpel.VirtualClock()
    first, second = boot(clock=clock), boot(clock=clock)
    crash(first)
    second.sleep(100)
    assert clock.now >= 100


def test_panics_leave_nothing(default_image: str, crash: Crash) -> None:
    def life() -> None:
        with rumpel.boot(image=default_image) as kernel:
            crash(kernel)

    life()
    gc.collect()  # what other tests have left
    before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        life()
    after = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    assert after[0] <= before[0]
    assert after[1] <= before[1]


def test_memory_that_runs_out_is_the_kernels_own_affair(boot: Boot) -> None:
    """Errors, and perhaps its OOM killer's victims; the process and pid 1 live."""
    kernel = boot(memory="32M")
    kernel.mount("none", "/fill", "tmpfs", data="size=1G")
    chunk = bytes(1 << 20)
    written = 0
    with pytest.raises((OSError, TaskExited)), kernel.process():
        fd = kernel.os.open("/fill/x", kernel.os.O_CREAT | kernel.os.O_WRONLY)
        while written < 1 << 30:
            written += kernel.os.write(fd, chunk)
    assert 1 << 20 < written < 32 << 20
    assert kernel.state == "running"
    kernel.os.unlink("/fill/x")
    kernel.os.makedirs("/tmp/still")
    assert kernel.os.getpid() == 1


def test_tasks_of_a_kernel_out_of_memory_are_killed(kernel: Kernel) -> None:
    """Its OOM killer ends the process that took all; the others live."""
    process = kernel.process()
    with process, pytest.raises((TaskExited, OSError)):
        while True:
            kernel.os.pipe()
    process.close()
    assert kernel.os.getpid() == 1
    assert kernel.os.pipe()


def test_descriptors_that_run_out(kernel: Kernel) -> None:
    limit = (100).to_bytes(8, "little")
    with kernel.process():
        kernel.syscall("setrlimit", 7, limit + limit)
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                kernel.os.pipe()
    kernel.os.pipe()
