# SPDX-License-Identifier: GPL-2.0-only
"""How kernels begin and end, and what is left of them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import rumpel
from rumpel import Kernel, KernelClosed, LogRecord
from rumpel.parts import PARTS

pytestmark = pytest.mark.kernel

Boot = Callable[..., Kernel]


def test_it_is_linux(kernel: Kernel) -> None:
    assert kernel.state == "running"
    assert repr(kernel) == f"<Linux {kernel.release}, running>"
    assert kernel.log[0].text.startswith(f"Linux version {kernel.release}")


def test_what_is_there_at_the_beginning(kernel: Kernel) -> None:
    with kernel.open("/proc/mounts") as file:
        mounted = {line.split()[1]: line.split()[2] for line in file}
    assert mounted["/proc"] == "proc"
    assert mounted["/sys"] == "sysfs"
    assert "/dev" in mounted
    assert "/tmp" in mounted
    assert ("lo") in [name for _, name in kernel.socket.if_nameindex()]
    with kernel.open("/sys/class/net/lo/flags") as file:
        assert int(file.read(), 16) & 1


def test_nobody_listens(kernel: Kernel) -> None:
    """A kernel that has just booted has no socket that somebody could reach."""
    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        with kernel.open(f"/proc/net/{name}") as file:
            assert len(file.readlines()) == 1, name


def test_tiny_is_there_too(tiny: Kernel) -> None:
    assert tiny.os.getpid() == 1
    client = tiny.socket.socket()
    client.close()


def test_memory_is_what_was_asked_for(boot: Boot) -> None:
    sizes = {}
    for size in ("32M", "128M"):
        with boot(memory=size).open("/proc/meminfo") as file:
            sizes[size] = int(file.readline().split()[1])
    assert 16_000 < sizes["32M"] < 32_768
    assert 110_000 < sizes["128M"] < 131_072


def test_the_command_line(boot: Boot) -> None:
    kernel = boot(cmdline="some.thing=17 loglevel=3")
    with kernel.open("/proc/cmdline") as file:
        assert "some.thing=17 loglevel=3" in file.read()


def test_a_halted_kernel_says_so(boot: Boot) -> None:
    kernel = boot()
    getpid, sock = kernel.os.getpid, kernel.socket.socket()
    kernel.halt()
    kernel.halt()
    assert kernel.state == "halted"
    assert repr(kernel) == f"<Linux {kernel.release}, halted>"
    for call in (getpid, lambda: kernel.syscall("getuid"), kernel.os.getcwd, sock.getsockname):
        with pytest.raises(KernelClosed, match=r"^the kernel was halted or closed$"):
            call()
    with pytest.raises(KernelClosed):
        kernel.open("/proc/version")
    with pytest.raises(KernelClosed):
        kernel.mount("none", "/mnt", "tmpfs")
    with pytest.raises(KernelClosed):
        kernel.sleep(1)
    with pytest.raises(KernelClosed):
        kernel.process()
    sock.close()


@pytest.mark.parametrize("part", ["glob", "os"])
def test_two_threads_that_are_first(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """Both get the same part, and the same part of a part."""
    both = threading.Barrier(2)

    def slow(*_: object) -> object:
        both.wait(20)
        return object()

    name = part if part == "glob" else "_pwd"
    where = kernel if part == "glob" else kernel.os
    if part == "glob":
        monkeypatch.setitem(PARTS, "glob", slow)
    else:
        monkeypatch.setattr(type(kernel.os), "_look_up", slow)
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(getattr(where, name))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] is got[1] is getattr(where, name)
    # Nobody else is to meet it.
    del where.__dict__[name]


def test_a_closed_kernel_says_so(boot: Boot) -> None:
    kernel = boot()
    kernel.close()
    kernel.close()
    assert kernel.state == "closed"
    with pytest.raises(KernelClosed, match="halted or closed"):
        kernel.os.getpid()
    kernel.halt()
    assert kernel.state == "closed"


def test_the_log_outlives_the_kernel(boot: Boot) -> None:
    kernel = boot()
    before = len(kernel.log)
    kernel.halt()
    assert len(kernel.log) >= before > 10
    assert "Linux version" in str(kernel.log)


def test_with_statements_halt(default_image: str) -> None:
    with rumpel.boot(image=default_image) as kernel:
        assert kernel.state == "running"
    assert kernel.state == "halted"
    with pytest.raises(ZeroDivisionError), rumpel.boot(image=default_image) as kernel:
        _ = 1 / 0
    assert kernel.state == "halted"
    with rumpel.boot(image=default_image) as kernel:
        kernel.close()
    assert kernel.state == "closed"


def test_a_kernel_that_is_dropped_is_complained_about(default_image: str) -> None:
    kernel = rumpel.boot(image=default_image)
    threads = len(os.listdir("/proc/self/task"))
    with pytest.warns(ResourceWarning, match="unclosed <Linux .*, running>"):
        del kernel
        gc.collect()
    assert len(os.listdir("/proc/self/task")) <= threads


def test_what_is_left_open_ends_with_its_kernel(default_image: str) -> None:
    """No complaint about sockets and files of a kernel that is gone."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with rumpel.boot(image=default_image) as kernel:
            left = [kernel.socket.socket(), kernel.open("/proc/version")]
        del left
        gc.collect()
    assert said == []


def test_several_at_once(boot: Boot, tiny_image: str) -> None:
    kernels = [boot(image=tiny_image, memory="16M") for _ in range(10)]
    for number, kernel in enumerate(kernels):
        kernel.socket.sethostname(f"host{number}")
    assert [k.socket.gethostname() for k in kernels] == [f"host{n}" for n in range(10)]
    kernels[3].halt()
    assert kernels[4].os.getpid() == 1
    again = boot(image=tiny_image)
    assert again.socket.gethostname() != "host3"


def test_the_log_is_handed_to_a_function(default_image: str) -> None:
    seen: list[LogRecord] = []
    with rumpel.boot(image=default_image, log=seen.append) as kernel:
        with kernel.open("/dev/kmsg", "w") as file:
            file.write("<4>something to say")
        for _ in range(100):
            if any("something to say" in r.text for r in seen):
                break
            time.sleep(0.02)
    assert seen[0].text.startswith("Linux version")
    assert [r.level for r in seen if r.text == "something to say"] == [4]
    assert seen == list(kernel.log)
    assert "rumpel-log" not in [t.name for t in threading.enumerate()]


def test_a_handler_that_fails_is_shown_and_called_again(
    tiny_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: shown.append(str(error)))

    def handler(record: LogRecord) -> None:
        raise ValueError(record.text)

    rumpel.boot(image=tiny_image, log=handler).close()
    assert len(shown) > 10
    assert shown[0].startswith("Linux version")


def test_the_log_is_handed_to_logging(default_image: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        rumpel.boot(image=default_image, log=logging.getLogger("linux")).halt()
    assert caplog.records[0].name == "linux"
    assert caplog.records[0].getMessage().startswith("Linux version")


def test_times_of_the_log_are_of_the_kernels_clock(kernel: Kernel) -> None:
    with kernel.open("/dev/kmsg", "w") as file:
        file.write("now")
    times = [r.time for r in kernel.log]
    assert times == sorted(times)
    assert kernel.clock.now >= times[-1]


class TestEndsWhileOthersCall:
    """What happens to the calls of other threads."""

    def blocked(self, kernel: Kernel) -> tuple[threading.Thread, list[BaseException]]:
        r, _ = kernel.os.pipe()
        ends: list[BaseException] = []

        def wait() -> None:
            try:
                kernel.os.read(r, 1)
            except BaseException as error:
                ends.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.05)
        return thread, ends

    @pytest.mark.parametrize("end", ["halt", "close"])
    def test_they_end_too(self, boot: Boot, end: str) -> None:
        kernel = boot()
        waiting = [self.blocked(kernel) for _ in range(4)]
        getattr(kernel, end)()
        for thread, ends in waiting:
            thread.join(10)
            assert not thread.is_alive()
            assert [type(e) for e in ends] == [KernelClosed]

    def test_under_fire(self, boot: Boot, tiny_image: str) -> None:
        for _ in range(10):
            kernel = boot(image=tiny_image)
            ends: list[BaseException] = []

            def fire(kernel: Kernel = kernel, ends: list[BaseException] = ends) -> None:
                try:
                    while True:
                        r, w = kernel.os.pipe()
                        kernel.os.write(w, b"x" * 20_000)
                        kernel.os.read(r, 20_000)
                        kernel.os.close(r)
                        kernel.os.close(w)
                except BaseException as error:
                    ends.append(error)

            threads = [threading.Thread(target=fire) for _ in range(3)]
            for thread in threads:
                thread.start()
            time.sleep(0.02)
            kernel.halt()
            for thread in threads:
                thread.join(10)
            assert [type(e) for e in ends] == [KernelClosed] * 3


class TestNothingIsLeft:
    """Descriptors, threads and memory after many lives."""

    def resources(self) -> tuple[int, int, int]:
        gc.collect()
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), pages * 4096

    def cycle(self, image: str, count: int) -> None:
        for _ in range(count):
            with rumpel.boot(image=image, memory="16M") as kernel:
                kernel.os.getpid()

    @pytest.mark.timeout(600)
    def test_a_thousand_boots_and_halts(self, tiny_image: str) -> None:
        self.cycle(tiny_image, 50)
        fds, threads, memory = self.resources()
        self.cycle(tiny_image, 950)
        fds_after, threads_after, memory_after = self.resources()
        # Those of earlier tests may go meanwhile.
        assert fds_after <= fds
        assert threads_after <= threads
        assert memory_after - memory < 4 << 20
        with open("/proc/self/maps") as file:
            assert len(file.readlines()) < 1000

    def test_default_profile_with_devices_and_threads(
        self, default_image: str, tmp_path: Path
    ) -> None:
        (tmp_path / "disk").write_bytes(bytes(1 << 20))

        def life() -> None:
            a, b = rumpel.Link()
            with (
                rumpel.boot(
                    image=default_image,
                    disks=[tmp_path / "disk"],
                    nics=[a],
                ) as left,
                rumpel.boot(image=default_image, nics=[b, rumpel.UserNet()]) as right,
            ):
                threads = [threading.Thread(target=k.os.getpid) for k in (left, right)]
                for thread in threads:
                    thread.start()
                    thread.join()
                left.socket.socket().close()

        for _ in range(5):
            life()
        fds, threads, memory = self.resources()
        for _ in range(30):
            life()
        fds_after, threads_after, memory_after = self.resources()
        # Those of earlier tests may go meanwhile.
        assert fds_after <= fds
        assert threads_after <= threads
        assert memory_after - memory < 8 << 20

    def test_without_a_halt(self, tiny_image: str) -> None:
        def life() -> None:
            kernel = rumpel.boot(image=tiny_image, memory="16M")
            thread = threading.Thread(target=kernel.os.getpid)
            thread.start()
            thread.join()
            kernel.close()

        for _ in range(20):
            life()
        before = self.resources()
        for _ in range(100):
            life()
        after = self.resources()
        assert after[0] <= before[0]
        assert after[1] <= before[1]
        assert after[2] - before[2] < 4 << 20


def test_an_idle_kernel_uses_no_time(boot: Boot) -> None:
    kernels = [boot() for _ in range(3)]
    kernels[0].sleep(0.3)
    for _ in range(10):  # on a busy machine they still end what they do behind the boot
        before = time.process_time()
        time.sleep(1)
        used = time.process_time() - before
        if used < 0.02:
            break
    assert used < 0.02
    assert all(kernel.state == "running" for kernel in kernels)


def test_housekeeping_goes_on_without_callers(boot: Boot) -> None:
    """A timer that nobody waits for is served."""
    kernel = boot()
    server = kernel.socket.create_server(("127.0.0.1", 0))
    client = kernel.socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    fd = kernel.syscall("timerfd_create", 1, 0)
    import struct

    kernel.os.set_blocking(fd, False)
    for patience in (0.2, 2, 20):  # of a busy machine
        kernel.syscall("timerfd_settime", fd, 0, struct.pack("qqqq", 0, 0, 0, 20_000_000), None)
        time.sleep(patience)
        with contextlib.suppress(BlockingIOError):
            assert kernel.os.read(fd, 8) == struct.pack("Q", 1)
            break
    else:
        pytest.fail("the timer was not served")
    for sock in (server, client, peer):
        sock.close()


def test_the_kernel_does_not_complain(kernel: Kernel, tiny: Kernel) -> None:
    """Nothing went wrong while it booted; that it has no console is known."""
    for each in (kernel, tiny):
        bad = [r.text for r in each.log if r.level <= 3 or r.text.startswith(("WARNING", "BUG"))]
        assert [text for text in bad if "initial console" not in text] == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dmesg", "kernel.log"),
        ("listdir", "kernel.os.listdir"),
        ("AF_INET6", "kernel.socket.AF_INET6"),
        ("routes", "kernel.net.routes"),
        ("http", "kernel.import_module('http')"),
        ("popen", "rumpel.run.boot"),
        ("attach", "kernel.plug"),
    ],
)
def test_what_was_meant_is_said(kernel: Kernel, name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(meant)):
        getattr(kernel, name)


def test_what_nobody_can_mean_is_not(kernel: Kernel) -> None:
    for name in ("frobnicate", "_repr_html_", "__array__"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'$"):
            getattr(kernel, name)
