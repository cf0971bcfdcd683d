# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: processes, and what they run on."""

from __future__ import annotations

import _struct as struct
import os
import resource

from rumpel.clock import to_ns
from rumpel.os.base import NUMBERS, VOID, Base, fileno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rumpel import _native
    from rumpel.os.base import Descriptor

_CLOCK_MONOTONIC = 1
_NS = 1_000_000_000
_TICKS = 100
_RUSAGE = struct.Struct("qqqq14q")
_SIGINFO_SIZE = 128
_RLIMIT_NPROC, _RLIMIT_NOFILE = 6, 7


class Processes(Base):
    """Functions of :mod:`os` on processes and the machine."""

    # Python has these since 3.12.
    CLONE_FS, CLONE_FILES = 0x200, 0x400
    CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 1 << 17, 1 << 25, 1 << 26, 1 << 27
    CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWTIME = 1 << 28, 1 << 29, 1 << 30, 1 << 7
    CLONE_VM, CLONE_SIGHAND, CLONE_THREAD, CLONE_SYSVSEM = 1 << 8, 1 << 11, 1 << 16, 1 << 18

    getpid: Callable[[], int]
    getppid: Callable[[], int]
    getpgid: Callable[[int], int]
    getpgrp: Callable[[], int]
    getsid: Callable[[int], int]
    kill: Callable[[int, int], None]
    setpgid: Callable[[int, int], None]
    setsid: Callable[[], None]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        bind = self._bind
        for name in ("getpid", "getppid", "getpgid", "getpgrp", "getsid"):
            setattr(self, name, bind(name, flags=NUMBERS))
        for name in ("kill", "setpgid", "setsid"):
            setattr(self, name, bind(name, flags=VOID | NUMBERS))
        self._uname = bind("uname")
        self._getrandom = bind("getrandom")
        self._clock_nanosleep = bind("clock_nanosleep", flags=VOID)

    def killpg(self, pgid: int, signal: int, /) -> None:
        """Send a signal to a process group."""
        self.kill(-pgid, signal)

    def setpgrp(self) -> None:
        """Make the caller the leader of a process group."""
        self.setpgid(0, 0)

    def setns(self, fd: Descriptor, nstype: int = 0) -> None:
        """Move the caller to another namespace."""
        self._call("setns", VOID)(fileno(fd), nstype)

    def unshare(self, flags: int) -> None:
        """Give the caller namespaces of its own. Threads of pid 1 share some of theirs."""
        self._call("unshare", VOID)(flags)

    def wait4(self, pid: int, options: int) -> tuple[int, int, Any]:
        """Wait for a child: its pid, its status, and what it used."""
        status, usage = bytearray(4), bytearray(_RUSAGE.size)
        found = self._call("wait4")(pid, status, options, usage)
        user, user_us, system, system_us, *rest = _RUSAGE.unpack(usage)
        used = resource.struct_rusage((user + user_us * 1e-6, system + system_us * 1e-6, *rest))
        return found, int.from_bytes(status, "little", signed=True), used

    def wait3(self, options: int) -> tuple[int, int, Any]:
        """Wait for any child."""
        return self.wait4(-1, options)

    def waitpid(self, pid: int, options: int, /) -> tuple[int, int]:
        """Wait for a child: its pid and its status."""
        return self.wait4(pid, options)[:2]

    def wait(self) -> tuple[int, int]:
        """Wait for any child: its pid and its status."""
        return self.waitpid(-1, 0)

    def waitid(self, idtype: int, id: int, options: int, /) -> os.waitid_result | None:
        """Wait for a child; None if WNOHANG was asked for and there is none."""
        info = bytearray(_SIGINFO_SIZE)
        self._call("waitid", VOID)(idtype, id, info, options, None)
        signo, _, code, pid, uid, status = struct.unpack_from("iii4xiIi", info)
        return os.waitid_result((pid, uid, signo, status, code)) if pid else None

    def uname(self) -> os.uname_result:
        """Name and version of the kernel."""
        buffer = bytearray(65 * 6)
        self._uname(buffer)
        fields = [bytes(buffer[i * 65 : (i + 1) * 65]).split(b"\0")[0].decode() for i in range(5)]
        return os.uname_result(fields)

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        """Get random bytes of the kernel's generator."""
        if size < 0:
            raise OSError(22, os.strerror(22))
        buffer = bytearray(size)
        return bytes(buffer[: self._getrandom(buffer, size, flags)])

    def urandom(self, size: int, /) -> bytes:
        """Get random bytes, all that were asked for."""
        if size < 0:
            raise ValueError("negative argument not allowed")
        parts = bytearray()
        while len(parts) < size:
            parts += self.getrandom(size - len(parts))
        return bytes(parts)

    def times(self) -> os.times_result:
        """CPU time of the caller and its children, and the time since boot, in seconds."""
        buffer = bytearray(32)
        elapsed = self._call("times")(buffer)
        return os.times_result(t / _TICKS for t in (*struct.unpack("4q", buffer), elapsed))

    def getloadavg(self) -> tuple[float, float, float]:
        """The load of the last 1, 5 and 15 minutes."""
        a, b, c = struct.unpack_from("<QQQ", self._sysinfo(), 8)
        return a / 65536, b / 65536, c / 65536

    def _sysinfo(self) -> bytearray:
        buffer = bytearray(112)
        self._call("sysinfo")(buffer)
        return buffer

    def _limit(self, which: int) -> int:
        """The soft limit of a resource; -1 is none."""
        pair = bytearray(16)
        self._call("prlimit64")(0, which, None, pair)
        return int.from_bytes(pair[:8], "little", signed=True)

    @property
    def sysconf_names(self) -> dict[str, int]:
        """What :meth:`sysconf` knows: what is about the kernel, not about a C library."""
        return {name: os.sysconf_names[name] for name in _SYSCONF}

    def sysconf(self, name: str | int, /) -> int:
        """Ask for a property of the system.

        Raises:
            ValueError: if there is no such name, or only a C library knows.
        """
        numbers = self.sysconf_names
        for each, number in numbers.items():
            if name in (each, number):
                return _SYSCONF[each](self)
        if isinstance(name, str | int):
            raise ValueError("unrecognized configuration name")
        raise TypeError("configuration names must be strings or integers")

    def _sleep(self, seconds: float) -> None:
        ns = to_ns(seconds)
        if ns < 0:
            raise ValueError("sleep length must be non-negative")
        request = struct.pack("<qq", *divmod(ns, _NS))
        self._clock_nanosleep(_CLOCK_MONOTONIC, 0, request, None)


_SYSCONF: dict[str, Callable[[Any], int]] = {
    "SC_CHILD_MAX": lambda os: os._limit(_RLIMIT_NPROC),
    "SC_CLK_TCK": lambda os: _TICKS,
    "SC_IOV_MAX": lambda os: 1024,
    "SC_NGROUPS_MAX": lambda os: 65536,
    "SC_NPROCESSORS_CONF": lambda os: os.cpu_count(),
    "SC_NPROCESSORS_ONLN": lambda os: os.cpu_count(),
    "SC_OPEN_MAX": lambda os: os._limit(_RLIMIT_NOFILE),
    "SC_PAGESIZE": lambda os: 4096,
    "SC_PAGE_SIZE": lambda os: 4096,
    "SC_PHYS_PAGES": lambda os: _pages(os, 32),
    "SC_AVPHYS_PAGES": lambda os: _pages(os, 40),
}


def _pages(os: Any, offset: int) -> int:
    """A field of struct sysinfo, in pages: its unit is a byte on 64-bit machines."""
    return int(struct.unpack_from("<Q", os._sysinfo(), offset)[0]) // 4096
