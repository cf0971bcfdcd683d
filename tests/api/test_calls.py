# SPDX-License-Identifier: GPL-2.0-only
"""System calls by name: arguments, results, errors, tasks and threads."""

from __future__ import annotations

import array
import errno
import mmap
import os
import re
import signal
import struct
import threading
from pathlib import PurePosixPath
from typing import Any

import pytest

from rumpel import Kernel, KernelClosed, TaskExited, syscalls
from rumpel._native import Vector

pytestmark = pytest.mark.kernel

AT_FDCWD = -100


def test_integers(kernel: Kernel) -> None:
    assert kernel.syscall("getpid") == 1
    assert kernel.syscall("umask", 0o77) == 0o22
    assert kernel.syscall("umask", True) == 0o77
    r, w = kernel.os.pipe()
    assert kernel.syscall("lseek", kernel.os.memfd_create("x"), 2**40, os.SEEK_SET) == 2**40
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.syscall("close", 2**64 - 1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.syscall("close", -1)
    for number in (2**64, -(2**63) - 1):
        with pytest.raises(OverflowError, match="argument 1 does not fit in 64 bits"):
            kernel.syscall("close", number)
    kernel.os.close(r)
    kernel.os.close(w)


def test_paths(kernel: Kernel) -> None:
    for path in ("/tmp/ä", b"/tmp/\xc3\xa4\0", PurePosixPath("/tmp/ä")):
        fd = kernel.syscall("openat", AT_FDCWD, path, os.O_CREAT, 0o600)
        kernel.syscall("close", fd)
    assert kernel.os.listdir("/tmp") == ["ä"]
    with pytest.raises(ValueError, match="null"):
        kernel.syscall("openat", AT_FDCWD, "a\0b", 0, 0)


def test_errors_name_the_path(kernel: Kernel) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        kernel.syscall("openat", AT_FDCWD, "/no/such", os.O_RDONLY, 0)
    assert str(caught.value) == "[Errno 2] No such file or directory: '/no/such'"
    with pytest.raises(FileNotFoundError) as caught:
        kernel.syscall("rename", "/no/such", "/else")
    assert (caught.value.filename, caught.value.filename2) == ("/no/such", "/else")


def test_buffers_are_used_in_place(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    mapped = mmap.mmap(-1, 4096)
    for target in (bytearray(8), array.array("q", [0]), memoryview(bytearray(8)), mapped):
        assert kernel.syscall("write", w, b"12345678", 8) == 8
        assert kernel.syscall("read", r, target, 8) == 8
        assert bytes(memoryview(target).cast("B")[:8]) == b"12345678"
    mapped.close()
    part = memoryview(bytearray(b"abcdefgh"))[2:5]
    kernel.syscall("write", w, part, 3)
    assert kernel.os.read(r, 10) == b"cde"


def test_a_buffer_is_free_after_the_call(kernel: Kernel) -> None:
    buffer = bytearray(390)
    kernel.syscall("uname", buffer)
    buffer.extend(b"it can be resized")


def test_none_is_null(kernel: Kernel) -> None:
    assert kernel.syscall("time", None) > 0


@pytest.mark.parametrize("bad", [3.5, object(), [1], {}, str])
def test_what_is_no_argument(kernel: Kernel, bad: Any) -> None:
    with pytest.raises(TypeError, match="must be an integer, a buffer, a path or None, not"):
        kernel.syscall("close", bad)


def test_bad_pointers_are_efault(kernel: Kernel) -> None:
    fd = kernel.os.open("/dev/zero", os.O_RDONLY)
    for address in (8, 0x1000, 2**47 - 4096, 2**47, 2**63, 2**64 - 4096):
        for call, args in (
            ("uname", (address,)),
            ("read", (fd, address, 64)),
            ("openat", (AT_FDCWD, address, 0, 0)),
            ("newfstatat", (AT_FDCWD, "/", address, 0)),
            ("clock_gettime", (0, address)),
            ("clock_nanosleep", (0, 0, address, 0)),
            ("pipe2", (address, 0)),
        ):
            with pytest.raises(OSError, match="Bad address") as caught:
                kernel.syscall(call, *args)
            assert caught.value.errno == errno.EFAULT, call
    assert kernel.os.getpid() == 1


def test_memory_that_may_not_be_written_is_efault(kernel: Kernel) -> None:
    mapped = mmap.mmap(-1, 4096, prot=mmap.PROT_READ)
    address = Vector([mapped]).addresses[0]
    with pytest.raises(OSError, match="Bad address"):
        kernel.syscall("uname", address)
    mapped.close()


def test_a_fault_in_the_middle_of_a_buffer(kernel: Kernel) -> None:
    """What was written before the bad page counts, or all is refused."""
    mapped = mmap.mmap(-1, 8192)
    address = Vector([mapped]).addresses[0]
    r, w = kernel.os.pipe()
    forbid(address + 4096)
    kernel.os.write(w, bytes(8192))
    try:
        assert kernel.syscall("read", r, address, 8192) == 4096
    except OSError as error:
        assert error.errno == errno.EFAULT
    # Python unmaps all of it: the second page again, which does no harm.
    mapped.close()


def forbid(address: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    protect = libc.mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(address, 4096, 0) == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("getpid", 1), "getpid takes 0 arguments, 1 given"),
        (("close",), "close takes 1 argument, 0 given"),
        (("openat", 1), "openat takes 3 to 4 arguments, 1 given"),
        (("read", 0, 1, 2, 3), "read takes 3 arguments, 4 given"),
        (("mmap",), "mmap takes 6 arguments, 0 given"),
    ],
)
def test_a_wrong_number_of_arguments(kernel: Kernel, args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        kernel.syscall(*args)


def test_a_name_that_does_not_exist(kernel: Kernel) -> None:
    message = "there is no system call 'opneat'; did you mean openat or openat2?"
    with pytest.raises(ValueError, match=re.escape(message)):
        kernel.syscall("opneat", 1)


def test_keywords_are_refused(kernel: Kernel) -> None:
    with pytest.raises(TypeError):
        kernel.syscall("close", fd=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="close takes no keyword arguments"):
        syscalls.bind(kernel._native, "close")(fd=1)  # type: ignore[call-arg]


def test_calls_that_this_kernel_does_not_have(kernel: Kernel) -> None:
    for name in ("uselib", "create_module", "vserver"):
        with pytest.raises(OSError, match="not implemented"):
            kernel.syscall(name, *[0] * syscalls.lookup(name).least)


def test_bound_calls(kernel: Kernel) -> None:
    call = syscalls.bind(kernel._native, "getpid")
    assert (call(), call.__name__, call.nr) == (1, "getpid", 39)
    assert repr(call) == "<system call getpid, number 39>"


def test_reading_no_bytes_and_too_many(kernel: Kernel) -> None:
    r, w = kernel.os.pipe()
    kernel.os.write(w, b"x")
    assert kernel.os.read(r, 0) == b""
    with pytest.raises(OSError, match="Invalid argument"):
        kernel.os.read(r, -1)
    with pytest.raises((OverflowError, MemoryError)):
        kernel.os.read(r, 2**63)
    assert kernel.os.read(r, 1 << 20) == b"x"


def test_vectors(kernel: Kernel) -> None:
    buffers = [bytearray(b"ab"), bytearray(b"c")]
    vector = Vector(buffers, writable=True)
    assert len(vector) == 2
    assert len(memoryview(vector)) == 32
    assert struct.unpack("QQQQ", vector)[1::2] == (2, 1)
    with pytest.raises(BufferError):
        buffers[0].extend(b"x")
    with pytest.raises((BufferError, TypeError)):
        Vector([b"x"], writable=True)
    with pytest.raises(TypeError):
        Vector([1])  # type: ignore[list-item]


class TestThreads:
    """Each thread of Python is a thread of pid 1."""

    def test_they_are_threads_of_one_process(self, kernel: Kernel) -> None:
        seen: list[tuple[int, int]] = []

        def look() -> None:
            seen.append((kernel.syscall("getpid"), kernel.syscall("gettid")))

        threads = [threading.Thread(target=look) for _ in range(5)]
        for thread in threads:
            thread.start()
            thread.join()
        assert {pid for pid, _ in seen} == {1}
        assert len({tid for _, tid in seen}) == 5
        assert kernel.syscall("gettid") == 1

    def test_they_share_descriptors_and_directory(self, kernel: Kernel) -> None:
        made: list[tuple[int, int]] = []
        thread = threading.Thread(target=lambda: made.append(kernel.os.pipe()))
        thread.start()
        thread.join()
        r, w = made[0]
        kernel.os.write(w, b"x")
        assert kernel.os.read(r, 1) == b"x"
        thread = threading.Thread(target=kernel.os.chdir, args=("/tmp",))
        thread.start()
        thread.join()
        assert kernel.os.getcwd() == "/tmp"

    def test_their_tasks_go_with_them(self, kernel: Kernel) -> None:
        def tasks() -> int:
            return len(kernel.os.listdir("/proc/self/task"))

        before = tasks()
        for _ in range(300):
            thread = threading.Thread(target=kernel.os.getpid)
            thread.start()
            thread.join()
        assert tasks() == before

    def test_one_waits_and_another_wakes_it(self, kernel: Kernel) -> None:
        r, w = kernel.os.pipe()
        got: list[bytes] = []
        thread = threading.Thread(target=lambda: got.append(kernel.os.read(r, 10)))
        thread.start()
        kernel.sleep(0.05)
        assert got == []
        kernel.os.write(w, b"wake up")
        thread.join(10)
        assert got == [b"wake up"]

    def test_many_at_once(self, kernel: Kernel) -> None:
        pipes = [kernel.os.pipe() for _ in range(8)]
        failures: list[BaseException] = []

        def pump(number: int) -> None:
            r, w = pipes[number][0], pipes[(number + 1) % 8][1]
            try:
                for i in range(300):
                    kernel.os.write(w, struct.pack("q", i))
                    assert struct.unpack("q", kernel.os.read(r, 8)) == (i,)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=pump, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(t.is_alive() for t in threads)
        assert failures == []

    def test_a_blocked_thread_holds_up_nobody(self, kernel: Kernel) -> None:
        r, w = kernel.os.pipe()
        thread = threading.Thread(target=kernel.os.read, args=(r, 1))
        thread.start()
        for _ in range(10_000):
            kernel.os.getpid()
        assert thread.is_alive()
        kernel.os.write(w, b"x")
        thread.join(10)
        assert not thread.is_alive()


class TestProcesses:
    """k.process() has descriptors, directory and credentials of its own."""

    def test_it_has_its_own(self, kernel: Kernel) -> None:
        fd = kernel.os.memfd_create("x")
        kernel.os.mkdir("/private", 0o700)
        with kernel.process() as process:
            assert kernel.os.getpid() == process.id != 1
            kernel.os.chdir("/tmp")
            assert kernel.os.getcwd() == "/tmp"
            kernel.os.setuid(1000)
            assert kernel.os.getuid() == 1000
            with pytest.raises(PermissionError):
                kernel.os.mkdir("/private/forbidden")
            kernel.os.close(fd)
        assert kernel.os.getcwd() == "/"
        assert kernel.os.getuid() == 0
        kernel.os.write(fd, b"still open")
        process.close()

    def test_it_ends_when_it_is_closed(self, kernel: Kernel) -> None:
        process = kernel.process()
        r, w = kernel.os.pipe()
        with process:
            pid = kernel.os.getpid()
        assert kernel.os.path.exists(f"/proc/{pid}")
        process.close()
        while kernel.os.path.exists(f"/proc/{pid}"):
            kernel.sleep(0.01)
        with pytest.raises(KernelClosed, match="the task or its kernel was closed"):
            process.syscall(39)
        kernel.os.close(w)
        assert kernel.os.read(r, 1) == b""

    def test_a_broken_pipe_is_an_error(self, kernel: Kernel) -> None:
        with kernel.process() as process:
            r, w = kernel.os.pipe()
            kernel.os.close(r)
            with pytest.raises(BrokenPipeError):
                kernel.os.write(w, b"x")
            assert kernel.os.getpid() == process.id
        process.close()

    def test_it_can_be_killed(self, kernel: Kernel) -> None:
        r, w = kernel.os.pipe()
        process = kernel.process()
        ends: list[BaseException] = []

        def wait() -> None:
            try:
                with process:
                    kernel.os.read(r, 1)
            except BaseException as error:
                ends.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        kernel.sleep(0.05)
        kernel.syscall("kill", process.id, signal.SIGKILL)
        thread.join(10)
        assert [type(e) for e in ends] == [TaskExited]
        kernel.os.write(w, b"x")
        assert kernel.os.read(r, 1) == b"x"

    def test_many_leave_nothing(self, kernel: Kernel) -> None:
        def processes() -> int:
            pids = filter(str.isdigit, kernel.os.listdir("/proc"))
            names = [kernel.Path("/proc", pid, "comm") for pid in pids]
            # Of kernel workers there are as many as there was work at once.
            return sum(
                not name.read_text().startswith("kworker") for name in names if name.exists()
            )

        before = processes()
        for _ in range(400):
            kernel.process().close()
        # They end soon, but not at once.
        while processes() > before:
            kernel.sleep(0.01)

    def test_calls_by_number(self, kernel: Kernel) -> None:
        process = kernel.process()
        assert process.syscall(39) == process.id
        with pytest.raises(OSError, match="Bad file descriptor"):
            process.syscall(3, 999)
        with pytest.raises(TypeError, match="a number and up to 6 arguments"):
            process.syscall()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="a number and up to 6 arguments"):
            process.syscall(1, 2, 3, 4, 5, 6, 7, 8)
        process.close()

    def test_with_statements_nest_and_end(self, kernel: Kernel) -> None:
        outer, inner = kernel.process(), kernel.process()
        with outer:
            with inner:
                assert kernel.os.getpid() == inner.id
                with pytest.raises(RuntimeError, match="in use by a with statement"):
                    inner.__enter__()
            assert kernel.os.getpid() == outer.id
            inner.close()
        outer.close()
        assert kernel.os.getpid() == 1

    def test_closed_within_its_own_with_statement(self, kernel: Kernel) -> None:
        with kernel.process() as process:
            process.close()
            with pytest.raises(KernelClosed):
                kernel.os.getpid()
        assert kernel.os.getpid() == 1

    def test_bound_calls_of_a_task(self, kernel: Kernel) -> None:
        process = kernel.process()
        call = syscalls.bind(process, "getpid")
        assert call() == process.id != kernel.os.getpid()
        process.close()

    def test_pid_1_cannot_be_closed(self, kernel: Kernel) -> None:
        with kernel.process() as process:
            assert process.id > 1
        process.close()
        process.close()
