# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: who the caller is, and what it runs on."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from rumpel.os.base import VOID, Base

if TYPE_CHECKING:
    from rumpel import _native

_CLOCK_MONOTONIC = 1
_NS = 1_000_000_000


class Processes(Base):
    """Functions of :mod:`os` on the caller's process."""

    getpid: Callable[[], int]
    getppid: Callable[[], int]
    getuid: Callable[[], int]
    geteuid: Callable[[], int]
    getgid: Callable[[], int]
    getegid: Callable[[], int]
    setuid: Callable[[int], None]
    setgid: Callable[[int], None]
    getpgid: Callable[[int], int]
    getsid: Callable[[int], int]
    sched_yield: Callable[[], None]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        bind = self._bind
        for name in ("getpid", "getppid", "getuid", "geteuid", "getgid", "getegid"):
            setattr(self, name, bind(name))
        for name in ("setuid", "setgid", "sched_yield"):
            setattr(self, name, bind(name, flags=VOID))
        self.getpgid = bind("getpgid")
        self.getsid = bind("getsid")
        self._uname = bind("uname")
        self._getrandom = bind("getrandom")
        self._clock_nanosleep = bind("clock_nanosleep", flags=VOID)

    def uname(self) -> os.uname_result:
        """Name and version of the kernel."""
        buffer = bytearray(65 * 6)
        self._uname(buffer)
        fields = [bytes(buffer[i * 65 : (i + 1) * 65]).split(b"\0")[0].decode() for i in range(5)]
        return os.uname_result(fields)

    def getrandom(self, size: int, flags: int = 0) -> bytes:
        """Get random bytes of the kernel's generator."""
        buffer = bytearray(size)
        return bytes(buffer[: self._getrandom(buffer, size, flags)])

    def urandom(self, size: int, /) -> bytes:
        """Get random bytes, all that were asked for."""
        parts = bytearray()
        while len(parts) < size:
            parts += self.getrandom(size - len(parts))
        return bytes(parts)

    def getgroups(self) -> list[int]:
        """Supplementary groups."""
        call = self._call("getgroups")
        count = call(0, None)
        buffer = bytearray(4 * count)
        count = call(count, buffer)
        return list(struct.unpack(f"{count}I", buffer[: 4 * count]))

    def getloadavg(self) -> tuple[float, float, float]:
        """The load of the last 1, 5 and 15 minutes."""
        buffer = bytearray(112)
        self._call("sysinfo")(buffer)
        a, b, c = struct.unpack_from("<QQQ", buffer, 8)
        return a / 65536, b / 65536, c / 65536

    def _sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        request = struct.pack("<qq", *divmod(round(seconds * _NS), _NS))
        self._clock_nanosleep(_CLOCK_MONOTONIC, 0, request, None)
