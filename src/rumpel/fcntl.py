# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`fcntl` on a library kernel: ``kernel.fcntl``. Source: fcntl(2), flock(2)."""

from __future__ import annotations

import fcntl as host
import struct
from typing import TYPE_CHECKING, Any

from rumpel.os.base import VOID, fileno

if TYPE_CHECKING:
    from rumpel.os import Os
    from rumpel.os.base import Descriptor

__all__ = ["FcntlModule"]

_LIMIT = 1024
"""The longest argument that is copied, as in the standard library."""
_FLOCK = struct.Struct("hhxxxxqqixxxx")


class FcntlModule:
    """The module :mod:`fcntl` for descriptors of a kernel. Constants are the host's.

    Example:
        >>> with rumpel.boot() as k, k.open("/tmp/x", "w") as file:  # doctest: +SKIP
        ...     k.fcntl.flock(file, k.fcntl.LOCK_EX)
    """

    def __init__(self, os: Os) -> None:
        self._fcntl = os._call("fcntl")
        self._ioctl = os._call("ioctl")
        self._flock = os._call("flock", VOID)

    def __getattr__(self, name: str) -> int:
        """Constants are the host's."""
        value = getattr(host, name, None)
        if not name.isupper() or not isinstance(value, int):
            raise AttributeError(f"kernel.fcntl has no {name!r}")
        self.__dict__[name] = value
        return value

    def fcntl(self, fd: Descriptor, cmd: int, arg: Any = 0, /) -> Any:
        """Do something to a descriptor.

        Args:
            fd: a descriptor or a file.
            cmd: such as F_GETFL.
            arg: an int, or a structure as bytes or str.

        Returns:
            An int, or for a structure a copy of it, changed by the kernel.
        """
        if isinstance(arg, int):
            return self._fcntl(fileno(fd), cmd, arg)
        return self._on_copy(self._fcntl, fileno(fd), cmd, arg, "fcntl")

    def ioctl(self, fd: Descriptor, request: int, arg: Any = 0, mutate_flag: bool = True, /) -> Any:
        """Do something to a device.

        Args:
            fd: a descriptor or a file.
            request: such as TIOCGWINSZ.
            arg: an int; a buffer that is changed in place; or a structure as bytes.
            mutate_flag: if it is false a buffer is treated as bytes are.

        Returns:
            An int, or for bytes a copy of them, changed by the kernel.
        """
        number = fileno(fd)
        request &= 0xFFFFFFFF
        if isinstance(arg, int):
            return self._ioctl(number, request, arg)
        if mutate_flag and not isinstance(arg, str):
            view = memoryview(arg)
            if not view.readonly:
                return self._ioctl(number, request, arg)
        return self._on_copy(self._ioctl, number, request, arg, "ioctl")

    def _on_copy(self, call: Any, fd: int, request: int, arg: Any, name: str) -> bytes:
        given = arg.encode() if isinstance(arg, str) else bytes(memoryview(arg))
        if len(given) > _LIMIT:
            raise ValueError(f"{name} string arg too long")
        # Structures may be larger than what was given says: the kernel has room for it.
        buffer = bytearray(given.ljust(_LIMIT, b"\0"))
        call(fd, request, buffer)
        return bytes(buffer[: len(given)])

    def flock(self, fd: Descriptor, operation: int, /) -> None:
        """Lock or unlock an open file."""
        self._flock(fileno(fd), operation)

    def lockf(
        self, fd: Descriptor, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /
    ) -> None:
        """Lock or unlock a part of a file for the process.

        Threads of a kernel's pid 1 are one process: they do not exclude each other. See
        :meth:`rumpel.Kernel.process`, or use :meth:`flock` on files opened separately.
        """
        if cmd == host.LOCK_UN:
            kind = host.F_UNLCK
        elif cmd & host.LOCK_SH:
            kind = host.F_RDLCK
        elif cmd & host.LOCK_EX:
            kind = host.F_WRLCK
        else:
            raise ValueError("unrecognized lockf argument")
        operation = host.F_SETLK if cmd & host.LOCK_NB else host.F_SETLKW
        self._fcntl(fileno(fd), operation, _FLOCK.pack(kind, whence, start, len, 0))
