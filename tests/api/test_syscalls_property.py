# SPDX-License-Identifier: GPL-2.0-only
"""Programs of system calls that hypothesis thinks of: none ends or hangs the process.

Each program runs in a clone of one booted kernel, so that it is the same whenever it is run, and
a failure becomes a short one. Its arguments are typed: descriptors of calls before, flags,
paths, structures, and pointers good and bad. runtime/fuzz/fuzz_syscalls.c makes the mass of
random calls; this finds what takes a plausible order of them.

RUMPEL_FUZZ_EXAMPLES says how many there are. The same ones each time by default; for long::

    RUMPEL_FUZZ_EXAMPLES=100000 .venv/bin/python -m pytest --timeout 0 \
        tests/api/test_syscalls_property.py
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import rumpel
from rumpel import Kernel, KernelPanic, TaskExited, syscalls

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

EXAMPLES = int(os.environ.get("RUMPEL_FUZZ_EXAMPLES", "0"))
REGION = 1 << 20
"""Bytes that calls may write to: nothing else lies there."""
PATIENCE = 0.02
"""Seconds after which a call that waits is interrupted."""

# ---- arguments ----

BAD = (0, 1, 4095, 1 << 47, 0xDEAD << 48, 2**64 - 4096, 2**64 - 1)
"""Pointers to nothing."""


def mostly(*plausible: Any, else_: Any) -> st.SearchStrategy[Any]:
    """Most arguments make sense, or no program would get far."""
    return st.one_of(*plausible * (12 // len(plausible)), else_)


sizes = mostly(
    st.integers(0, 300),
    st.sampled_from((8, 16, 64, 4096, 65536)),
    else_=st.sampled_from((4095, 1 << 31, 2**64 - 1)),
)
numbers = mostly(
    st.integers(0, 8),
    st.integers(0, 1 << 16),
    else_=st.sampled_from((-1, 0x7FFFFFFF, 1 << 31, 2**63 - 1, 2**64 - 1)),
)
protocols = mostly(st.just(0), else_=st.integers(-1, 300))
signals = st.integers(0, 65)
modes = st.sampled_from((0, 0o600, 0o755, 0o1777, 0o7777, 2**32 - 1))
families = mostly(
    st.sampled_from((1, 2, 10)), st.sampled_from((16, 17, 40, 38)), else_=st.integers(0, 65535)
)
PATHS = b"""/ /tmp /tmp/a /tmp/a/b /tmp/c a .. /proc/self/fd /proc/self/mem /proc/self/ns/net
/proc/self/exe /proc/sys/net/ipv4/tcp_rmem /dev/null /dev/zero /dev/full /dev/ptmx /dev/fuse
/dev/net/tun /dev/urandom /dev/shm/s /sys/kernel""".split()
paths = st.sampled_from((*PATHS, b"", b"x" * 300, b"/tmp/" + b"d/" * 200))


def flags(*bits: int) -> st.SearchStrategy[int]:
    """Any of these together, or any number."""
    some = st.lists(st.sampled_from(bits), max_size=3).map(_or)
    return mostly(st.just(0), st.sampled_from(bits), some, else_=st.integers(0, 2**32 - 1))


def _or(bits: list[int]) -> int:
    value = 0
    for bit in bits:
        value |= bit
    return value


class Fd(int):
    """The result of an earlier call, by number, newest first."""


class Data(tuple):  # type: ignore[type-arg]
    """Memory: a pointer to it is passed. Of bytes, numbers of 64 bits and more such memory."""

    __slots__ = ()


fds = mostly(st.integers(0, 7).map(Fd), else_=st.sampled_from((-100, -1, 0, 1, 5, 10**9)))
directories = mostly(st.just(-100), else_=fds)
"""AT_FDCWD, mostly."""


def pointer(content: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """To something of the kind, mostly; else to anything, or to nothing."""
    return mostly(content, else_=st.one_of(memory, st.sampled_from(BAD)))


memory = st.binary(max_size=64).map(lambda data: Data((data,)))
path = pointer(paths.map(lambda name: Data((name + b"\0",))))
buffer = pointer(memory)
words = pointer(st.lists(numbers, max_size=8).map(Data))
spec = pointer(st.tuples(st.integers(-1, 3), st.sampled_from((0, 1, 999, 10**9, -1))).map(Data))
"""A timespec or a timeval."""
specs = pointer(st.lists(st.integers(-1, 3), min_size=4, max_size=4).map(Data))
iovec = pointer(st.lists(st.one_of(buffer, sizes), max_size=8).map(Data))
address = pointer(
    st.one_of(
        st.tuples(families, st.binary(min_size=2, max_size=110)).map(
            lambda pair: Data((struct.pack("H", pair[0]) + pair[1],))
        ),
        st.just(Data((struct.pack(">H2x4s8x", 80, b"\x7f\0\0\1").replace(b"\0P", b"\2\0\0P", 1),))),
        st.sampled_from((b"", b"\0name", b"/tmp/socket\0")).map(
            lambda name: Data((struct.pack("H", socket.AF_UNIX) + name,))
        ),
    )
)
message = pointer(
    st.tuples(address, sizes, iovec, st.integers(0, 4), buffer, sizes, flags(1, 2, 4)).map(Data)
)
event = pointer(st.tuples(flags(1, 4, 1 << 30, 1 << 31), numbers).map(Data))
attributes = pointer(
    st.lists(st.one_of(numbers, numbers, buffer, fds), min_size=2, max_size=16).map(Data)
)
anything = st.one_of(fds, numbers, sizes, path, buffer, words, attributes, address)

O_FLAGS = flags(os.O_RDWR, os.O_WRONLY, os.O_CREAT, os.O_DIRECTORY, os.O_TRUNC, os.O_APPEND)
O_MORE = flags(os.O_NONBLOCK, os.O_CLOEXEC, os.O_DIRECT, os.O_PATH, os.O_TMPFILE)
MSG_FLAGS = flags(1, 2, 0x40, 0x4000, 0x20, 0x8000, 0x4000000)
AT_FLAGS = flags(0x100, 0x200, 0x400, 0x1000)

lengths = mostly(st.sampled_from((16, 28, 110)), else_=st.integers(-1, 200))
KINDS = mostly(st.sampled_from((1, 2, 5, 0o4001, 0o4002)), else_=st.integers(0, 2**32 - 1))

CALLS: dict[str, tuple[Any, ...]] = {
    "openat": (directories, path, O_FLAGS, modes),
    "open": (path, O_MORE, modes),
    "creat": (path, modes),
    "close": (fds,),
    "dup": (fds,),
    "read": (fds, buffer, sizes),
    "write": (fds, buffer, sizes),
    "pread64": (fds, buffer, sizes, numbers),
    "pwrite64": (fds, buffer, sizes, numbers),
    "readv": (fds, iovec, st.integers(0, 4)),
    "writev": (fds, iovec, st.integers(0, 4)),
    "preadv2": (fds, iovec, st.integers(0, 4), numbers, numbers, flags(1, 2, 4, 8, 16)),
    "lseek": (fds, numbers, st.integers(0, 5)),
    "ftruncate": (fds, numbers),
    "fallocate": (fds, flags(1, 2, 8, 16, 32), numbers, sizes),
    "getdents64": (fds, buffer, sizes),
    "mkdirat": (directories, path, modes),
    "unlinkat": (directories, path, AT_FLAGS),
    "renameat2": (directories, path, directories, path, flags(1, 2, 4)),
    "linkat": (directories, path, directories, path, AT_FLAGS),
    "symlinkat": (path, directories, path),
    "readlinkat": (directories, path, buffer, sizes),
    "statx": (directories, path, AT_FLAGS, numbers, buffer),
    "utimensat": (directories, path, specs, AT_FLAGS),
    "setxattr": (path, path, buffer, sizes, flags(1, 2)),
    "mknodat": (directories, path, flags(0o10000, 0o20000, 0o100000, 0o140000), numbers),
    "mount": (path, path, path, flags(1, 4096, 16384, 1 << 18), path),
    "umount2": (path, flags(1, 2, 4, 8)),
    "chdir": (path,),
    "pipe2": (words, flags(0o4000, 0o2000000, 0o40000)),
    "socket": (families, KINDS, protocols),
    "socketpair": (families, KINDS, protocols, words),
    "bind": (fds, address, lengths),
    "connect": (fds, address, lengths),
    "listen": (fds, numbers),
    "accept4": (fds, buffer, words, flags(0o4000)),
    "shutdown": (fds, st.integers(-1, 3)),
    "sendto": (fds, buffer, sizes, MSG_FLAGS, address, lengths),
    "recvfrom": (fds, buffer, sizes, MSG_FLAGS, buffer, words),
    "sendmsg": (fds, message, MSG_FLAGS),
    "recvmsg": (fds, message, MSG_FLAGS),
    "setsockopt": (fds, flags(1, 6, 17, 41, 263, 270), st.integers(0, 80), buffer, sizes),
    "getsockopt": (fds, flags(1, 6, 17, 41, 263, 270), st.integers(0, 80), buffer, words),
    "sendfile": (fds, fds, words, sizes),
    "splice": (fds, words, fds, words, sizes, flags(1, 2, 4)),
    "tee": (fds, fds, sizes, flags(1, 2)),
    "vmsplice": (fds, iovec, st.integers(0, 4), flags(1, 2, 8)),
    "copy_file_range": (fds, words, fds, words, sizes, st.just(0)),
    "epoll_create1": (flags(0o2000000),),
    "epoll_ctl": (fds, st.integers(0, 4), fds, event),
    "epoll_pwait": (fds, buffer, st.integers(-1, 9), st.integers(-1, 9), words, st.just(8)),
    "ppoll": (buffer, st.integers(0, 8), spec, words, st.just(8)),
    "eventfd2": (numbers, flags(1, 0o4000)),
    "timerfd_create": (st.integers(-1, 12), flags(0o4000)),
    "timerfd_settime": (fds, flags(1, 2), specs, buffer),
    "signalfd4": (fds, words, st.just(8), flags(0o4000)),
    "inotify_init1": (flags(0o4000),),
    "inotify_add_watch": (fds, path, numbers),
    "memfd_create": (path, flags(1, 2, 4, 8)),
    "fcntl": (fds, st.one_of(st.integers(0, 16), st.integers(1024, 1040)), anything),
    "ioctl": (fds, st.integers(0x5401, 0x5460) | st.integers(0x8901, 0x89A0) | numbers, anything),
    "flock": (fds, st.integers(0, 16)),
    "mmap": (st.just(0), sizes, st.integers(0, 7), flags(1, 2, 0x20, 0x8000), fds, numbers),
    "munmap": (fds, sizes),
    "msync": (fds, sizes, st.integers(0, 7)),
    "io_uring_setup": (st.integers(0, 64), attributes),
    "io_uring_enter": (fds, st.integers(0, 8), st.integers(0, 2), flags(1, 2), words, sizes),
    "io_uring_register": (fds, st.integers(0, 40), anything, st.integers(0, 8)),
    "bpf": (st.integers(0, 40), attributes, st.integers(0, 160)),
    "userfaultfd": (flags(1, 0o4000),),
    "fsopen": (path, flags(1)),
    "fsconfig": (fds, st.integers(0, 9), path, path, fds),
    "fsmount": (fds, flags(1), numbers),
    "move_mount": (fds, path, fds, path, flags(1, 4, 16, 64)),
    "open_tree": (directories, path, flags(1, 0x8000, 0x800)),
    "unshare": (flags(0x400, 0x200, 0x20000, 1 << 27, 1 << 30, 1 << 28),),
    "setns": (fds, flags(1 << 30, 0)),
    "keyctl": (st.integers(0, 32), anything, anything, anything, anything),
    "add_key": (path, path, buffer, sizes, numbers),
    "prctl": (st.integers(0, 75), anything, anything, anything, anything),
    "prlimit64": (st.just(0), st.integers(0, 16), words, buffer),
    "rt_sigprocmask": (st.integers(0, 3), words, buffer, st.just(8)),
    "rt_sigaction": (signals, words, buffer, st.just(8)),
    "kill": (st.integers(-2, 3), signals),
    "futex": (words, st.integers(0, 13), numbers, spec, words, numbers),
    "mq_open": (path, O_FLAGS, modes, words),
    "shmget": (numbers, sizes, flags(0o1000, 0o600)),
    "shmat": (fds, st.just(0), flags(0o10000)),
    "msgsnd": (fds, words, st.integers(0, 64), flags(0o4000)),
    "semop": (fds, words, st.integers(0, 4)),
    "pidfd_open": (st.integers(-1, 9), flags(0o4000)),
    "landlock_create_ruleset": (attributes, st.integers(0, 24), flags(1)),
    "seccomp": (st.integers(0, 4), flags(1, 2, 8), attributes),
    "nanosleep": (spec, buffer),
    "clock_settime": (st.integers(-1, 12), spec),
}

NEVER = {"reboot", "kexec_load", "kexec_file_load", "exit", "exit_group", "rt_sigreturn"}
"""They end the kernel or the task, as they should."""


def call(name: str) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    return st.tuples(st.just(name), st.tuples(*CALLS[name]))


def any_call(name: str) -> st.SearchStrategy[tuple[str, tuple[Any, ...]]]:
    most = syscalls.lookup(name).most
    return st.tuples(st.just(name), st.lists(anything, min_size=most, max_size=most).map(tuple))


typed = st.sampled_from(sorted(CALLS)).flatmap(call)
others = st.sampled_from(sorted(set(syscalls.names()) - NEVER)).flatmap(any_call)
programs = st.lists(st.one_of(typed, typed, typed, others), min_size=4, max_size=30)

# ---- a program runs ----


class Interrupted(Exception):
    """The call has waited for long enough."""


class Runner:
    """Makes the calls of a program, in a clone of what it was made with."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.results: list[int] = []
        # What lies behind it faults.
        page = mmap.PAGESIZE
        self.region = mmap.mmap(-1, REGION + page)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.region))
        assert not ctypes.CDLL(None).mprotect(ctypes.c_void_p(self.base + REGION), page, 0)
        self.next = 0
        self.open_some()

    def open_some(self) -> None:
        """Descriptors of the usual kinds, to begin with."""
        os_, net = self.kernel.os, self.kernel.socket
        file = os_.open("/tmp/a", os.O_RDWR | os.O_CREAT)
        os_.write(file, bytes(10_000))
        here, there = net.socketpair()
        with net.create_server(("127.0.0.1", 80)) as server:
            client = net.create_connection(server.getsockname())
            peer, _ = server.accept()
        udp = net.socket(type=socket.SOCK_DGRAM)
        sockets = here, there, client, peer, udp
        for sock in sockets:
            sock.setblocking(False)  # or most of the time would be spent waiting
        descriptors = [sock.detach() for sock in sockets]
        self.results += [os_.memfd_create("m"), *os_.pipe2(os.O_NONBLOCK), *descriptors, file]

    def lay(self, data: Data) -> int:
        """Put it into the region; its address."""
        raw = b"".join(
            part if isinstance(part, bytes) else struct.pack("<Q", self.value(part) & (2**64 - 1))
            for part in data
        )
        # The last argument's ends where the region ends, or nearly so.
        self.next = (self.next + len(raw) + 15) & ~15
        at = REGION - 4096 - self.next
        self.region[at : at + len(raw)] = raw
        return self.base + at

    def value(self, argument: Any) -> int:
        """As a machine word."""
        if isinstance(argument, Data):
            return self.lay(argument)
        if isinstance(argument, Fd):
            return self.results[-1 - argument] if argument < len(self.results) else -1
        return int(argument)

    def step(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.next = 0
        values = [self.value(argument) for argument in arguments]
        try:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, PATIENCE)
            try:
                result = self.kernel.syscall(name, *values)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (OSError, Interrupted):
            return
        if 0 <= result < 1 << 31:
            self.results.append(result)

    def run(self, program: list[tuple[str, tuple[Any, ...]]]) -> None:
        def interrupt(*_: object) -> None:
            raise Interrupted

        signal.signal(signal.SIGALRM, interrupt)
        for name, arguments in program:
            try:
                self.step(name, arguments)
            except TaskExited:  # it has killed itself, for instance
                break
        assert self.kernel.state == "running"


@pytest.fixture(scope="module")
def runner(default_image: str) -> Iterator[Runner]:
    """All programs begin on a copy of it."""
    with rumpel.boot(image=default_image) as kernel:
        yield Runner(kernel)


@settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(program=programs)
def test_any_program_of_system_calls(
    runner: Runner, program: list[tuple[str, tuple[Any, ...]]]
) -> None:
    """It may do what it likes to its kernel; the process and other kernels do not notice."""
    try:
        runner.kernel.clone(lambda _: runner.run(program), timeout=60)
    except KernelPanic as panic:
        pytest.fail(f"Linux has a bug, or the port:\n{panic}\n{panic.log}")


def test_there_are_no_two_names_for_a_call() -> None:
    assert set(CALLS) <= set(syscalls.names())
    for name, arguments in CALLS.items():
        found = syscalls.lookup(name)
        assert found.least <= len(arguments) <= found.most, name
