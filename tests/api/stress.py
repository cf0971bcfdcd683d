# SPDX-License-Identifier: GPL-2.0-only
"""A seeded generator of mixed operations on a kernel, each of which checks what it got.

The same seed makes the same operations in the same order. What other workers do at the
same time may make an operation fail; which errors that can be is said where it is made.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import rumpel

RECORD = struct.Struct("<IQI52x")
"""What goes through the pipe that all share: worker, number, checksum. Less than PIPE_BUF."""


class Shared:
    """What the workers of one kernel have in common."""

    def __init__(self, k: rumpel.Kernel) -> None:
        k.os.makedirs("/tmp/shared")
        self.pipe = k.os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.tokens = k.os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self.counter = "/tmp/counter"
        k.Path(self.counter).write_bytes(struct.pack("Q", 0))

    def close(self, k: rumpel.Kernel) -> None:
        """Give all back."""
        for fd in (*self.pipe, self.tokens):
            k.os.close(fd)
        k.shutil.rmtree("/tmp/shared")
        k.os.unlink(self.counter)


class Worker:
    """Makes operations on a kernel, one at a time.

    Attributes:
        done: how often each operation was made.
        added: by how much it raised the shared counter.
    """

    def __init__(self, k: rumpel.Kernel, shared: Shared, seed: int, number: int) -> None:
        self.k = k
        self.shared = shared
        self.random = random.Random(f"{seed}/{number}")
        self.number = number
        self.done: Counter[str] = Counter()
        self.added = 0
        self.files: dict[str, bytes] = {}
        self.home = f"/tmp/worker{number}"
        k.os.mkdir(self.home)
        self.operations: list[Callable[[], None]] = [
            *(self.write_file, self.read_file, self.rename_file, self.remove_file),
            *(self.list_files, self.race, self.count, self.share_pipe, self.take_token),
            *(self.attributes, self.tcp, self.udp, self.pair, self.wait_for, self.timer),
            *(self.sleep, self.process, self.read_proc, self.mistakes, self.namespace),
        ]

    def step(self) -> None:
        """Make one operation."""
        operation = self.random.choice(self.operations)
        operation()
        self.done[operation.__name__] += 1

    def close(self) -> None:
        """Check every file that is left, and remove all."""
        for name in list(self.files):
            self.check(name)
        self.k.shutil.rmtree(self.home)

    # Files

    def write_file(self) -> None:
        name = f"{self.home}/{self.random.randrange(50)}"
        data = self.random.randbytes(self.random.choice((0, 1, 100, 4096, 50_000)))
        with self.k.open(name, "wb") as file:
            file.write(data)
        self.files[name] = data

    def check(self, name: str) -> None:
        with self.k.open(name, "rb") as file:
            assert file.read() == self.files[name], name

    def some_file(self) -> str | None:
        return self.random.choice(sorted(self.files)) if self.files else None

    def read_file(self) -> None:
        if name := self.some_file():
            self.check(name)

    def rename_file(self) -> None:
        if name := self.some_file():
            new = f"{self.home}/{self.random.randrange(50)}"
            self.k.os.rename(name, new)
            self.files[new] = self.files.pop(name)

    def remove_file(self) -> None:
        if name := self.some_file():
            self.k.os.unlink(name)
            del self.files[name]

    def list_files(self) -> None:
        with self.k.os.scandir(self.home) as entries:
            found = {e.path: e.stat().st_size for e in entries}
        assert found == {name: len(data) for name, data in self.files.items()}

    def race(self) -> None:
        """A name that others make, move and remove at the same time."""
        name = f"/tmp/shared/{self.random.randrange(5)}"
        fd = self.k.os.open(name, os.O_CREAT | os.O_RDWR)
        self.k.os.pwrite(fd, b"x" * 10, 0)
        try:
            self.k.os.rename(name, f"/tmp/shared/{self.random.randrange(5)}")
            self.k.os.unlink(name)
        except FileNotFoundError:
            pass
        assert self.k.os.pread(fd, 5, 0) == b"xxxxx"
        self.k.os.close(fd)

    def count(self) -> None:
        """Read and write a number under a lock, for which others wait."""
        fd = self.k.os.open(self.shared.counter, os.O_RDWR)
        self.k.fcntl.flock(fd, self.k.fcntl.LOCK_EX)
        [number] = struct.unpack("Q", self.k.os.pread(fd, 8, 0))
        self.k.os.pwrite(fd, struct.pack("Q", number + 1), 0)
        self.k.os.close(fd)
        self.added += 1

    def attributes(self) -> None:
        if name := self.some_file():
            ns = self.random.randrange(1 << 60), self.random.randrange(1 << 60)
            self.k.os.utime(name, ns=ns)
            self.k.os.chmod(name, 0o640)
            status = self.k.os.stat(name)
            assert (status.st_atime_ns, status.st_mtime_ns, status.st_mode) == (*ns, 0o100640)

    # Descriptors that others use, too

    def share_pipe(self) -> None:
        r, w = self.shared.pipe
        number = self.random.getrandbits(64)
        body = struct.pack("<IQ", self.number, number)
        try:
            self.k.os.write(w, RECORD.pack(self.number, number, zlib.crc32(body)))
            got = self.k.os.read(r, RECORD.size)
        except BlockingIOError:
            return  # others filled it, or emptied it
        sender, number, checksum = RECORD.unpack(got)
        assert checksum == zlib.crc32(struct.pack("<IQ", sender, number))

    def take_token(self) -> None:
        """Everybody gives before he takes, so whoever waits will be woken."""
        self.k.os.eventfd_write(self.shared.tokens, 1)
        assert self.k.os.eventfd_read(self.shared.tokens) == 1

    # Sockets

    def tcp(self) -> None:
        size = self.random.choice((1, 1000, 60_000))
        data = self.random.randbytes(size)
        with self.k.socket.create_server(("127.0.0.1", 0)) as server:
            client = self.k.socket.create_connection(server.getsockname())
            connection, _ = server.accept()
            with client, connection:
                # No TIME_WAIT: it would keep memory for a minute.
                for end in (client, connection):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(data)
                got = bytearray()
                while len(got) < size:
                    got += connection.recv(size - len(got))
                assert got == data

    def udp(self) -> None:
        with self.k.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("127.0.0.1", 0))
            data = self.random.randbytes(500)
            one.sendto(data, one.getsockname())
            assert one.recvfrom(1000)[0] == data

    def pair(self) -> None:
        a, b = self.k.socket.socketpair()
        with a, b:
            data = self.random.randbytes(2000)
            a.sendall(data)
            a.shutdown(socket.SHUT_WR)
            with b.makefile("rb") as file:
                assert file.read() == data

    # Waiting

    def wait_for(self) -> None:
        r, w = self.k.os.pipe()
        with self.k.select.epoll() as epoll:
            epoll.register(r, self.k.select.EPOLLIN)
            assert epoll.poll(0) == []
            self.k.os.write(w, b"x")
            assert epoll.poll(10) == [(r, self.k.select.EPOLLIN)]
        self.k.os.close(r)
        self.k.os.close(w)

    def timer(self) -> None:
        fd = self.k.os.timerfd_create(1)
        self.k.os.timerfd_settime_ns(fd, initial=self.random.randrange(1, 2_000_000))
        assert int.from_bytes(self.k.os.read(fd, 8), "little") == 1
        self.k.os.close(fd)

    def sleep(self) -> None:
        self.k.sleep(self.random.random() / 1000)

    # Processes

    def process(self) -> None:
        with self.k.process() as process:
            pid = self.k.os.getpid()
            assert pid != 1
            fd = self.k.os.open("/proc/self/stat", os.O_RDONLY)
            assert self.k.os.read(fd, 100).startswith(b"%d " % pid)
            self.k.os.chdir(self.home)
            # The descriptor goes with the process.
        process.close()

    def namespace(self) -> None:
        with self.k.process() as process:
            self.k.os.unshare(self.k.os.CLONE_NEWUTS)
            self.k.syscall("sethostname", b"mine", 4)
            assert self.k.os.uname().nodename == "mine"
        process.close()
        assert self.k.os.uname().nodename != "mine"

    def read_proc(self) -> None:
        name = self.random.choice(("meminfo", "stat", "self/status", "net/dev", "self/maps"))
        with self.k.open(f"/proc/{name}") as file:
            file.read()

    def mistakes(self) -> None:
        for call, args, number in (
            (self.k.os.read, (10_000, 1), 9),
            (self.k.os.stat, ("/tmp/none",), 2),
            (self.k.os.mkdir, (self.home,), 17),
            (self.k.syscall, ("read", 10_000, 1, 1), 9),
            (self.k.syscall, ("uname", 1), 14),
        ):
            try:
                call(*args)
            except OSError as error:
                assert error.errno == number
            else:
                raise AssertionError(call)


def use(k: rumpel.Kernel) -> dict[str, int]:
    """What is in use: descriptors, tasks, and kB of memory that nothing could give back."""
    k.os.sync()
    with k.open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    # What is freed after a grace period of RCU.
    k.sleep(0.1)
    tasks = len(k.os.listdir("/proc/1/task"))
    for pid in filter(str.isdigit, k.os.listdir("/proc")):
        # Of kernel workers there are as many as there was work at once.
        tasks += not k.Path("/proc", pid, "comm").read_text().startswith("kworker")
    with k.open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemFree"))
    return {"descriptors": len(k.os.listdir("/proc/self/fd")), "tasks": tasks, "kB": -free}


def counter(k: rumpel.Kernel, shared: Shared) -> int:
    """The number that all workers raised."""
    value: Any = struct.unpack("Q", k.Path(shared.counter).read_bytes())
    return int(value[0])
