# SPDX-License-Identifier: GPL-2.0-only
"""What the port itself has to get right: how calls end, restart and fault."""

from __future__ import annotations

import ctypes
import errno
import mmap
import signal
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from rumpel import Kernel, TaskExited

pytestmark = pytest.mark.kernel

PAGE = 4096
SYS_READ, SYS_WRITE, SYS_NANOSLEEP, SYS_GETPPID, SYS_PRCTL, SYS_SECCOMP = 0, 1, 35, 110, 157, 317
SYS_SIGACTION, SYS_SIGTIMEDWAIT, SYS_EXIT_GROUP = 13, 128, 231
SYS_FORK, SYS_CLONE, SYS_SIGPROCMASK = 57, 56, 14


class Blocked:
    """A process of a kernel, whose calls a thread of its own makes."""

    def __init__(self, kernel: Kernel, pool: ThreadPoolExecutor) -> None:
        self.kernel = kernel
        self.r, self.w = kernel.os.pipe()  # the process has copies of both
        self.process = kernel.process()
        self.id = self.process.id
        self._pool = pool

    def call(self, nr: int, *args: Any) -> int:
        """In this thread."""
        return self.process.syscall(nr, *args)

    def begin(self, nr: int, *args: Any) -> Future[int]:
        """In the other one; returns once the call sleeps."""
        future = self._pool.submit(self.process.syscall, nr, *args)
        while not future.done() and self.state() not in "SD":
            time.sleep(0.001)
        return future

    def state(self) -> str:
        """What /proc says of the task."""
        with self.kernel.open(f"/proc/{self.id}/stat") as f:
            return str(f.read().rpartition(")")[2].split()[0])

    def kill(self, number: int) -> None:
        self.kernel.syscall("kill", self.id, number)


@pytest.fixture
def blocked(kernel: Kernel) -> Iterator[Blocked]:
    with ThreadPoolExecutor(1) as pool:
        one = Blocked(kernel, pool)
        yield one
        one.process.close()


def sigaction(handler: int) -> bytes:
    return struct.pack("QQQQ", handler, 0, 0, 0)


def test_a_signal_with_a_handler_ends_the_call(kernel: Kernel, blocked: Blocked) -> None:
    blocked.call(SYS_SIGACTION, signal.SIGUSR1, sigaction(0x1000), None, 8)
    future = blocked.begin(SYS_READ, blocked.r, bytearray(1), 1)
    blocked.kill(signal.SIGUSR1)
    with pytest.raises(InterruptedError):
        future.result(60)
    assert blocked.call(SYS_GETPPID) == 1


def test_a_signal_that_is_ignored_lets_it_go_on(kernel: Kernel, blocked: Blocked) -> None:
    blocked.call(SYS_SIGACTION, signal.SIGUSR1, sigaction(1), None, 8)
    future = blocked.begin(SYS_READ, blocked.r, bytearray(1), 1)
    blocked.kill(signal.SIGUSR1)
    kernel.sleep(0.02)
    assert not future.done()
    kernel.os.write(blocked.w, b"x")
    assert future.result(60) == 1


def test_a_fatal_signal_ends_the_process(kernel: Kernel, blocked: Blocked) -> None:
    future = blocked.begin(SYS_READ, blocked.r, bytearray(1), 1)
    blocked.kill(signal.SIGTERM)
    with pytest.raises((ProcessLookupError, TaskExited)):
        future.result(60)
    assert not kernel.os.path.exists(f"/proc/{blocked.id}")


def test_a_fatal_signal_ends_a_process_in_user_mode(kernel: Kernel, blocked: Blocked) -> None:
    blocked.kill(signal.SIGKILL)
    with pytest.raises((ProcessLookupError, TaskExited)):
        blocked.call(SYS_GETPPID)
    assert not kernel.os.path.exists(f"/proc/{blocked.id}")


@pytest.mark.parametrize("timed", [False, True])
def test_a_stop_is_not_noticed(kernel: Kernel, blocked: Blocked, timed: bool) -> None:
    before = kernel.clock.now
    if timed:
        future = blocked.begin(SYS_NANOSLEEP, struct.pack("qq", 0, 150_000_000), None)
    else:
        future = blocked.begin(SYS_READ, blocked.r, bytearray(1), 1)
    blocked.kill(signal.SIGSTOP)
    while blocked.state() != "T":
        time.sleep(0.001)
    kernel.sleep(0.02)
    blocked.kill(signal.SIGCONT)
    kernel.sleep(0.02)
    if timed:
        # nanosleep goes on through restart_syscall, with the time that is left.
        assert not future.done() or kernel.clock.now - before >= 0.15
        assert future.result(60) == 0
        assert 0.15 <= kernel.clock.now - before < 60
    else:
        assert not future.done()
        kernel.os.write(blocked.w, b"x")
        assert future.result(60) == 1


def test_a_mask_for_the_time_of_a_call_is_taken_back(kernel: Kernel, blocked: Blocked) -> None:
    blocked.call(SYS_SIGACTION, signal.SIGUSR1, sigaction(0x1000), None, 8)
    usr1 = struct.pack("Q", 1 << signal.SIGUSR1 - 1)
    blocked.call(SYS_SIGPROCMASK, signal.SIG_BLOCK, usr1, None, 8)
    future = blocked.begin(271, None, 0, None, struct.pack("Q", 0), 8)  # ppoll
    blocked.kill(signal.SIGUSR1)
    with pytest.raises(InterruptedError):
        future.result(60)
    mask = bytearray(8)
    blocked.call(SYS_SIGPROCMASK, signal.SIG_BLOCK, None, mask, 8)
    assert mask == usr1


def test_a_signal_can_be_waited_for(kernel: Kernel, blocked: Blocked) -> None:
    usr1 = struct.pack("Q", 1 << signal.SIGUSR1 - 1)
    blocked.call(SYS_SIGPROCMASK, signal.SIG_BLOCK, usr1, None, 8)
    future = blocked.begin(SYS_SIGTIMEDWAIT, usr1, None, None, 8)
    blocked.kill(signal.SIGUSR1)
    assert future.result(60) == signal.SIGUSR1


def test_a_process_can_exit(kernel: Kernel, blocked: Blocked) -> None:
    with pytest.raises((ProcessLookupError, TaskExited)):
        blocked.call(SYS_EXIT_GROUP, 0)
    assert not kernel.os.path.exists(f"/proc/{blocked.id}")


@pytest.mark.parametrize("nr", [SYS_FORK, SYS_CLONE, 58, 435])
def test_a_child_without_host_code_is_refused(kernel: Kernel, blocked: Blocked, nr: int) -> None:
    with pytest.raises(OSError, match="not implemented"):
        blocked.call(nr, *[0] * (5 if nr == SYS_CLONE else 0))


def seccomp(process: Any, nr: int, action: int) -> None:
    """Let all calls pass but one, by a BPF program."""
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in [
            (0x20, 0, 0, 4),  # the architecture
            (0x15, 0, 3, 0xC000003E),
            (0x20, 0, 0, 0),  # the number
            (0x15, 0, 1, nr),
            (0x06, 0, 0, action),
            (0x06, 0, 0, 0x7FFF0000),
        ]
    )
    code = ctypes.create_string_buffer(program)
    process.syscall(SYS_PRCTL, 38, 1, 0, 0, 0)
    process.syscall(SYS_SECCOMP, 1, 0, struct.pack("HxxxxxxQ", 6, ctypes.addressof(code)))


def test_seccomp_answers_a_call(kernel: Kernel, blocked: Blocked) -> None:
    seccomp(blocked.process, SYS_GETPPID, 0x50000 | errno.EDOM)
    with pytest.raises(OSError, match="out of domain"):
        blocked.call(SYS_GETPPID)
    assert blocked.call(39) == blocked.id


def test_seccomp_kills_a_process(kernel: Kernel, blocked: Blocked) -> None:
    seccomp(blocked.process, SYS_GETPPID, 0x80000000)
    with pytest.raises((ProcessLookupError, TaskExited)):
        blocked.call(SYS_GETPPID)
    assert not kernel.os.path.exists(f"/proc/{blocked.id}")


def test_system_calls_can_be_traced(kernel: Kernel) -> None:
    kernel.mount("tracefs", "/sys/kernel/tracing", "tracefs")
    trace = "/sys/kernel/tracing"
    for event in ("sys_enter", "sys_exit"):
        with kernel.open(f"{trace}/events/raw_syscalls/{event}/enable", "w") as f:
            f.write("1")
    kernel.syscall("umask", 0o22)
    with kernel.open(f"{trace}/tracing_on", "w") as f:
        f.write("0")
    with kernel.open(f"{trace}/trace") as f:
        lines = [line.strip() for line in f if "NR 95 " in line]
    assert [line.partition("sys_")[2].split("(")[0].split()[0] for line in lines] == [
        "enter:",
        "exit:",
    ]
    assert "12" in lines[0]


@pytest.fixture
def edge() -> Iterator[int]:
    """The address of a page that has none behind it."""
    pages = mmap.mmap(-1, 2 * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(address + PAGE), ctypes.c_size_t(PAGE), 0) == 0
    yield address + PAGE
    protect(ctypes.c_void_p(address + PAGE), ctypes.c_size_t(PAGE), mmap.PROT_READ)
    assert pages[PAGE] == 0


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 65, 300])
def test_copies_end_where_memory_ends(kernel: Kernel, edge: int, size: int) -> None:
    r, w = kernel.os.pipe()
    data = bytes(range(1, 255)) * 2
    ctypes.memmove(edge - size, data, size)
    assert kernel.syscall("write", w, edge - size, size) == size
    assert kernel.os.read(r, 1000) == data[:size]
    with pytest.raises(OSError, match="Bad address"):
        kernel.syscall("write", w, edge - size, size + 8)
    # A copy that gets only so far says so where the call can.
    fd = kernel.os.open("/tmp/file", 0o102, 0o600)
    assert kernel.syscall("write", fd, edge - size, size + 8) == size
    assert kernel.syscall("pread64", fd, edge - size, size, 0) == size
    assert ctypes.string_at(edge - size, size) == data[:size]


@pytest.mark.parametrize("size", range(1, 9))
def test_a_number_that_does_not_fit_in_memory(kernel: Kernel, edge: int, size: int) -> None:
    """put_user and get_user of 1, 2, 4 and 8 bytes at the end of a page."""
    fits = size >= 4
    where = edge - size
    for call in ("getcpu", "sched_getparam"):
        args = (where, None, None) if call == "getcpu" else (0, where)
        if fits:
            assert kernel.syscall(call, *args) == 0
        else:
            with pytest.raises(OSError, match="Bad address"):
                kernel.syscall(call, *args)
    r, w = kernel.os.pipe()
    kernel.os.write(w, b"12345")
    if fits:
        assert kernel.syscall("ioctl", r, 0x541B, where) == 0
        assert ctypes.c_int.from_address(where).value == 5
    else:
        with pytest.raises(OSError, match="Bad address"):
            kernel.syscall("ioctl", r, 0x541B, where)
    # sendfile reads and writes an offset of 8 bytes.
    fd = kernel.os.open("/tmp/file", 0o102, 0o600)
    kernel.os.write(fd, b"0123456789")
    if size >= 8:
        ctypes.c_uint64.from_address(where).value = 3
        assert kernel.syscall("sendfile", w, fd, where, 4) == 4
        assert ctypes.c_uint64.from_address(where).value == 7
    else:
        with pytest.raises(OSError, match="Bad address"):
            kernel.syscall("sendfile", w, fd, where, 4)


@pytest.mark.parametrize("address", [8, 0x7FFFFFFFF000, 1 << 47, 1 << 63, (1 << 64) - 4096])
def test_an_address_that_nobody_has(kernel: Kernel, address: int) -> None:
    r, w = kernel.os.pipe()
    kernel.os.write(w, b"x")
    for call in ("read", "write"):
        with pytest.raises(OSError, match="Bad address"):
            kernel.syscall(call, r if call == "read" else w, address, 1)


def test_callers_that_never_sleep_let_the_kernel_tidy_up(kernel: Kernel) -> None:
    """What is freed after a grace period of RCU goes, although the one caller never sleeps."""

    def free() -> int:
        with kernel.open("/proc/meminfo") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("MemFree"))

    before = free()
    for _ in range(100_000):
        kernel.syscall("close", kernel.syscall("socket", 1, 1, 0))
    assert before - free() < 8 << 10
