# SPDX-License-Identifier: GPL-2.0-only
"""os.fork and multiprocessing: a child has copies of its parent's kernels."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rumpel
from rumpel import Kernel, KernelClosed, LogRecord, VirtualClock

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

Boot = Callable[..., Kernel]

kernels: list[Kernel] = []
"""For functions that a pool calls by name."""


@pytest.fixture
def ext4(tmp_path: Path) -> Path:
    """A disk with an empty file system."""
    path = tmp_path / "disk.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", path, "16M"], check=True)
    return path


@pytest.fixture(autouse=True)
def no_kernels() -> Iterator[None]:
    yield
    kernels.clear()


def in_child(function: Callable[[], object]) -> None:
    """Run a function in the child of a fork, which must come to its end in time."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(60)
            function()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_child_has_its_own(kernel: Kernel) -> None:
    kernel.os.mkdir("/before")

    def child() -> None:
        assert kernel.state == "running"
        assert kernel.os.listdir("/before") == []
        kernel.os.mkdir("/child")
        kernel.halt()
        assert kernel.state == "halted"

    in_child(child)
    assert kernel.state == "running"
    assert not kernel.os.path.exists("/child")


def test_sockets_and_files_stay_open(kernel: Kernel) -> None:
    left, right = kernel.socket.socketpair()
    file = kernel.open("/file", "w+")

    def child() -> None:
        left.sendall(b"child")
        assert right.recv(100) == b"child"
        file.write("child")
        file.flush()
        assert kernel.os.stat("/file").st_size == 5

    in_child(child)
    left.sendall(b"parent")
    assert right.recv(100) == b"parent"
    assert kernel.os.stat("/file").st_size == 0
    for each in (left, right, file):
        each.close()


def test_a_blocked_thread_stays_with_the_parent(kernel: Kernel) -> None:
    """Its task ends in the child, and the kernel can be closed there."""
    left, right = kernel.socket.socketpair()
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(right.recv(100)))
    thread.start()
    time.sleep(0.02)

    def child() -> None:
        left.sendall(b"child")
        assert right.recv(100) == b"child"
        tasks = kernel.os.listdir("/proc/self/task")
        # pid 1, and the thread that makes tasks.
        assert len(tasks) == 2
        kernel.halt()

    for _ in range(3):
        in_child(child)
    left.sendall(b"parent")
    thread.join()
    assert got == [b"parent"]
    left.close()
    right.close()


def test_from_a_thread(kernel: Kernel) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            kernel.os.getpid()
            in_child(kernel.os.getpid)
            in_child(kernel.halt)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed
    assert kernel.os.getpid() == 1


def test_a_thread_of_the_child(kernel: Kernel) -> None:
    def child() -> None:
        got: list[int] = []
        threads = [
            threading.Thread(target=lambda: got.append(kernel.os.getpid())) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [1] * 4

    in_child(child)


def test_a_fork_in_a_fork(kernel: Kernel) -> None:
    kernel.os.mkdir("/a")

    def child() -> None:
        kernel.os.mkdir("/b")
        in_child(lambda: kernel.os.mkdir("/b/c"))
        assert kernel.os.listdir("/b") == []

    in_child(child)
    assert not kernel.os.path.exists("/b")


def test_in_a_signal_handler(kernel: Kernel) -> None:
    """The call that was interrupted goes on, in both."""
    left, right = kernel.socket.socketpair()
    children = []

    def handler(number: int, frame: object) -> None:
        children.append(os.fork())
        left.sendall(b"child" if not children[0] else b"parent")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        got = right.recv(100)
        if not children[0]:
            with contextlib.suppress(BaseException):
                kernel.halt()
                os._exit(0 if got == b"child" else 1)
            os._exit(2)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert got == b"parent"
    assert os.waitpid(children[0], 0)[1] == 0
    left.close()
    right.close()


def pool_worker(number: int) -> tuple[int, list[str]]:
    kernel = kernels[0]
    kernel.os.makedirs(f"/worker/{number}")
    return kernel.os.getpid(), kernel.os.listdir("/template")


def test_a_pool(kernel: Kernel) -> None:
    """Workers of multiprocessing use what their parent has booted."""
    kernel.os.makedirs("/template/directory")
    kernels.append(kernel)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(pool_worker, range(12)) == [(1, ["directory"])] * 12
    assert not kernel.os.path.exists("/worker")


def test_under_load(kernel: Kernel) -> None:
    """Four threads hammer the kernel; no child hangs, and neither does the parent."""
    stop = False
    rounds = [0] * 4

    def hammer(number: int) -> None:
        left, right = kernel.socket.socketpair()
        with left, right:
            while not stop:
                left.sendall(b"x" * 100)
                assert len(right.recv(200)) == 100
                rounds[number] += 1

    threads = [threading.Thread(target=hammer, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round in range(20):
            in_child(kernel.halt if round % 5 == 4 else kernel.os.getpid)
        while not all(rounds):
            time.sleep(0.01)
    finally:
        stop = True
        for thread in threads:
            thread.join()


def test_in_the_middle_of_a_halt(boot: Boot, default_image: str) -> None:
    """There may be no copy then, which a call says; the process is well."""
    kernel = boot()
    thread = threading.Thread(target=kernel.halt)

    def child() -> None:
        with contextlib.suppress(KernelClosed):
            kernel.os.getpid()
        kernel.close()
        with rumpel.boot(image=default_image) as own:
            own.os.getpid()

    thread.start()
    while thread.is_alive():
        in_child(child)
    thread.join()
    assert kernel.state == "halted"
    in_child(child)


def test_the_log_goes_on(boot: Boot, tmp_path: Path) -> None:
    """A handler gets what appears in its own process, once."""
    got: list[LogRecord] = []
    kernel = boot(log=got.append)
    while not got:
        time.sleep(0.01)

    def child() -> None:
        before = len(kernel.log)
        got.clear()
        with kernel.open("/dev/kmsg", "w") as file:
            file.write("only in the child")
        kernel.halt()
        assert "only in the child" in [r.text for r in got]
        assert len(got) < before
        (tmp_path / "done").touch()

    in_child(child)
    assert (tmp_path / "done").exists()
    assert "only in the child" not in str(kernel.log)
    kernel.halt()
    assert "only in the child" not in [r.text for r in got]
    assert [r.text for r in got].count(kernel.log[0].text) == 1


def test_disks(boot: Boot, tmp_path: Path, ext4: Path) -> None:
    """What is mounted from memory is the child's; a file is written by the parent only."""
    memory = bytearray(ext4.read_bytes())
    kernel = boot(disks=[ext4, rumpel.MemoryDisk(memory)])
    for disk, target in (("/dev/vda", "/file"), ("/dev/vdb", "/memory")):
        kernel.mount(disk, target, "ext4")

    def write(path: str, text: str) -> None:
        with kernel.open(path, "w") as file:
            file.write(text)
            file.flush()
            kernel.os.fsync(file.fileno())

    def child() -> None:
        write("/memory/child", "x" * 100_000)
        assert kernel.os.stat("/memory/child").st_size == 100_000
        # An error of input and output, or a file system that is read-only because of one.
        with pytest.raises(OSError, match=r"Input/output|Read-only"):
            write("/file/child", "x" * 100_000)
        assert "device 0 stays with the parent of this fork" in str(kernel.log)
        kernel.halt()

    in_child(child)
    write("/file/parent", "parent")
    assert set(kernel.os.listdir("/file")) == {"lost+found", "parent"}
    assert kernel.os.listdir("/memory") == ["lost+found"]
    kernel.halt()
    done = subprocess.run(["e2fsck", "-fn", ext4], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_file_of_a_disk_is_free_when_the_parent_is_done(boot: Boot, ext4: Path) -> None:
    """Children that live on do not hold it."""
    kernel = boot(disks=[ext4])
    reader, writer = os.pipe()
    ready, begun = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        os.write(begun, b"x")
        os.read(reader, 1)
        os._exit(0)
    os.read(ready, 1)  # the child's own descriptor is closed before its fork() returns
    kernel.halt()
    again = boot(disks=[ext4])
    again.mount("/dev/vda", "/mnt", "ext4")
    again.halt()
    for fd in (writer, reader, ready, begun):
        os.close(fd)
    os.waitpid(pid, 0)


def test_two_kernels_and_their_link(boot: Boot) -> None:
    """Both ends are copied: the child's kernels talk to each other, the parent's as before."""
    a, b = rumpel.Link()
    left, right = boot(nics=[a]), boot(nics=[b])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    server = right.socket.create_server(("10.0.0.2", 80))
    client = left.socket.create_connection(("10.0.0.2", 80))
    connection, _ = server.accept()

    def talk() -> None:
        for size in (1, 1000, 50_000):
            client.sendall(b"x" * size)
            got = b""
            while len(got) < size:
                got += connection.recv(size)
        with left.socket.create_connection(("10.0.0.2", 80)) as second:
            accepted, _ = server.accept()
            second.sendall(b"again")
            assert accepted.recv(100) == b"again"
            accepted.close()

    for _ in range(3):
        in_child(talk)
        talk()
    for each in (client, connection, server):
        each.close()


def test_user_networks_stay_with_the_parent(boot: Boot) -> None:
    net = rumpel.UserNet()
    kernel = boot(nics=[net])
    kernel.ifup("eth0", net.address, net.gateway)
    outside = socket.create_server(("127.0.0.1", 0))
    client = kernel.socket.create_connection((net.gateway, outside.getsockname()[1]))
    accepted, _ = outside.accept()

    def child() -> None:
        accepted.close()
        outside.close()
        client.settimeout(0.05)
        client.sendall(b"child")
        with pytest.raises(TimeoutError):
            client.recv(1)
        with pytest.raises(OSError, match="down"):
            net.forward(80)
        kernel.halt()

    in_child(child)
    client.sendall(b"parent")
    assert accepted.recv(100) == b"parent"
    accepted.sendall(b"answer")
    assert client.recv(100) == b"answer"
    forward = net.forward(80)
    net.unforward(forward)
    kernel.halt()
    assert accepted.recv(1) == b""
    for each in (client, accepted, outside):
        each.close()


def test_captures_stay_with_the_parent(boot: Boot, tmp_path: Path) -> None:
    a, b = rumpel.Link()
    left, right = boot(nics=[a]), boot(nics=[b])
    left.ifup("eth0", "10.0.0.1/24")
    right.ifup("eth0", "10.0.0.2/24")
    right_socket = right.socket.socket(right.socket.AF_INET, right.socket.SOCK_DGRAM)
    right_socket.bind(("10.0.0.2", 9))
    left_socket = left.socket.socket(left.socket.AF_INET, left.socket.SOCK_DGRAM)

    def talk(text: bytes) -> None:
        left_socket.sendto(text, ("10.0.0.2", 9))
        assert right_socket.recv(100) == text

    with (tmp_path / "pcap").open("wb") as file:
        a.capture(file)

        def child() -> None:
            talk(b"in the child")
            a.capture(None)
            left.halt()
            right.halt()

        talk(b"before the fork")
        in_child(child)
        talk(b"in the parent")
        a.capture(None)
    data = (tmp_path / "pcap").read_bytes()
    assert data.count(b"before the fork") == data.count(b"in the parent") == 1
    assert b"in the child" not in data
    left_socket.close()
    right_socket.close()


def test_virtual_clocks_go_on_alike(boot: Boot, tmp_path: Path) -> None:
    clock = VirtualClock()
    kernel = boot(clock=clock)
    kernel.sleep(100)

    def run() -> list[object]:
        trace: list[object] = []
        for _ in range(5):
            kernel.sleep(0.25)
            trace += [clock.now_ns, kernel.os.getrandom(8).hex(), str(kernel.log[-1])]
        return trace

    in_child(lambda: (tmp_path / "trace").write_text(repr(run())))
    assert (tmp_path / "trace").read_text() == repr(run())


def test_dead_kernels_are_dead_there_too(boot: Boot) -> None:
    halted, panicked = boot(), boot()
    halted.halt()
    with pytest.raises((rumpel.KernelPanic, rumpel.TaskExited)):
        panicked.syscall("exit_group", 1)
    while panicked.state != "panicked":
        time.sleep(0.01)

    def child() -> None:
        assert (halted.state, panicked.state) == ("halted", "panicked")
        with pytest.raises(KernelClosed):
            halted.os.getpid()
        with pytest.raises(rumpel.KernelPanic):
            panicked.os.getpid()
        panicked.close()

    in_child(child)


def test_a_disk_that_no_kernel_has_is_the_parents(boot: Boot, tmp_path: Path) -> None:
    """Both could boot it and write to it; what nobody writes to comes along."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    disk, served = rumpel.Disk(path), rumpel.FaultyDisk(path)
    free = [rumpel.MemoryDisk("1M"), rumpel.Disk("/bin/true", read_only=True)]

    def child() -> None:
        for theirs in (disk, served):
            with pytest.raises(ValueError, match="belongs to the parent"):
                rumpel.boot(disks=[theirs])
        with rumpel.boot(disks=free) as kernel:
            with pytest.raises(ValueError, match="belongs to the parent"):
                kernel.plug(disk)
            assert kernel.os.path.exists("/dev/vdb")

    in_child(child)
    assert boot(disks=[disk]).os.path.exists("/dev/vda")


def test_a_panic_of_the_child(kernel: Kernel) -> None:
    def child() -> None:
        with pytest.raises((rumpel.KernelPanic, rumpel.TaskExited)):
            kernel.syscall("exit_group", 1)

    in_child(child)
    assert kernel.os.getpid() == 1


def test_descriptors_of_the_host_do_not_pile_up(kernel: Kernel) -> None:
    """Those of earlier tests may go meanwhile."""
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(20):
        in_child(kernel.os.getpid)
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("execution", [1, 2])
def test_what_another_thread_imports(
    tiny: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: int
) -> None:
    """The child imports it anew, for itself and for a kernel, and waits for nobody.

    The module is executed twice: as the host's, and as the copy that the kernel has.
    """
    name = f"halfway{execution}"  # what a module imports is looked up once
    count, go = tmp_path / "count", tmp_path / "go"
    (tmp_path / f"{name}.py").write_text(
        f"""import os, socket, time
if os.getpid() == {os.getpid()}:
    with open({str(count)!r}, "a") as file:
        file.write("x")
    while os.path.getsize({str(count)!r}) == {execution} and not os.path.exists({str(go)!r}):
        time.sleep(0.001)
done = True
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    importing = threading.Thread(target=tiny.import_module, args=(name,))
    importing.start()
    while importing.is_alive() and (not count.exists() or count.stat().st_size < execution):
        time.sleep(0.001)

    def child() -> None:
        assert tiny.import_module(name).done
        assert __import__(name).done

    try:
        in_child(child)
    finally:
        go.touch()
        importing.join()
        del sys.modules[name]
