# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.aio.os``: what may wait in ``kernel.os``, as awaitables."""

from __future__ import annotations

import functools
import os
from collections.abc import Awaitable, Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

from rumpel._native import Call, Vector
from rumpel.os.base import at, fileno

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from rumpel.aio.calls import Aio
    from rumpel.kernel import Kernel
    from rumpel.os.base import AnyPath, Descriptor

__all__ = ["AsyncOs"]


class AsyncOs:
    """Functions of ``kernel.os`` as awaitables, with the same arguments and results.

    There are those that are one system call (read, write, pread, sync and so on), and
    the methods below. What has no waiting in it is left to ``kernel.os``.
    """

    def __init__(self, aio: Aio, kernel: Kernel) -> None:
        self._aio = aio
        self._kernel = kernel

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """What is one system call."""
        call = getattr(self._kernel.os, name, None)
        if not isinstance(call, Call):
            hint = f": use kernel.os.{name}" if callable(call) else ""
            raise AttributeError(f"kernel.aio.os has no {name!r}{hint}", name=name, obj=self)
        awaitable = functools.partial(self._call, call)
        self.__dict__[name] = awaitable
        return awaitable

    def _call(self, call: Any, *args: Any, **keywords: Any) -> Awaitable[Any]:
        return self._aio._driver().call(call, *args, **keywords)

    async def open(
        self, path: AnyPath, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
    ) -> int:
        """Open a file, or wait at a FIFO: the descriptor."""
        self._aio._check_place()
        flags |= os.O_CLOEXEC
        return await self._call(self._kernel.os._openat, at(dir_fd), path, flags, mode)  # type: ignore[no-any-return]

    async def fsync(self, fd: Descriptor) -> None:
        """Write all of a file to its disk."""
        await self._aio.syscall("fsync", fileno(fd))

    async def fdatasync(self, fd: Descriptor) -> None:
        """Write a file's content to its disk."""
        await self._aio.syscall("fdatasync", fileno(fd))

    async def readv(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Read into several buffers."""
        return await self.preadv(fd, buffers, -1)

    async def writev(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Write from several buffers."""
        return await self.pwritev(fd, buffers, -1)

    async def preadv(
        self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0, /
    ) -> int:
        """Read into several buffers, at an offset."""
        vector = Vector(buffers, writable=True)
        return await self._aio.syscall("preadv2", fd, vector, len(vector), offset, 0, flags)

    async def pwritev(
        self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0, /
    ) -> int:
        """Write from several buffers, at an offset."""
        vector = Vector(buffers)
        return await self._aio.syscall("pwritev2", fd, vector, len(vector), offset, 0, flags)

    async def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int) -> int:
        """Move bytes from a file to a descriptor, both of this kernel."""
        return await self._aio.syscall("sendfile", out_fd, in_fd, _offset(offset), index(count))

    async def splice(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
        flags: int = 0,
    ) -> int:
        """Move bytes between descriptors, one of which is a pipe."""
        if count < 0:
            raise ValueError("negative value for 'count' not allowed")
        return await self._aio.syscall(
            "splice", src, _offset(offset_src), dst, _offset(offset_dst), count, flags
        )

    async def copy_file_range(
        self,
        src: int,
        dst: int,
        count: int,
        offset_src: int | None = None,
        offset_dst: int | None = None,
    ) -> int:
        """Copy bytes between files of this kernel."""
        if count < 0:
            raise ValueError("negative value for 'count' not allowed")
        return await self._aio.syscall(
            "copy_file_range", src, _offset(offset_src), dst, _offset(offset_dst), count, 0
        )


def _offset(value: int | None) -> bytearray | None:
    return None if value is None else bytearray(value.to_bytes(8, "little", signed=True))
