# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.aio.os``: what may wait in ``kernel.os``, as awaitables."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import stat
from collections.abc import Awaitable, Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

from rumpel._native import Call, Vector
from rumpel.errors import RumpelError
from rumpel.os.base import at, fileno

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from rumpel.aio.calls import Aio
    from rumpel.kernel import Kernel
    from rumpel.os.base import AnyPath, Descriptor

__all__ = ["AsyncOs"]

_HERE = -1
"""The offset that stands for the position of the descriptor."""


class AsyncOs:
    """Functions of ``kernel.os`` as awaitables, with the same arguments and results.

    There are those that are one system call (write, pread, sync and so on), and
    the methods below. What has no waiting in it is left to ``kernel.os``.

    What reads, waits until something is there and only then takes it, so a read that is
    cancelled has taken nothing. (Where the kernel cannot take without waiting, as from files
    on disks, what it took is put back.) Whether the descriptor blocks does not matter. How much
    a write, or a call that moves bytes between descriptors, has done by then, nobody knows.
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

    async def read(self, fd: int, n: int, /) -> bytes:
        """Read at most n bytes; none at the end."""
        if n < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        data = bytearray(n)
        count = await self.readv(fd, [data])
        return bytes(memoryview(data)[:count])

    async def readv(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Read into several buffers."""
        vector = Vector(buffers, writable=True)
        while True:
            try:
                return await self._preadv(fd, vector, _HERE, os.RWF_NOWAIT)
            except BlockingIOError:
                if self._is_file(fd):
                    break
                await self._aio._ready(fd, select.POLLIN)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
                if not self._is_file(fd):
                    await self._aio._ready(fd, select.POLLIN)
                break
        return await self._preadv(fd, vector, _HERE, late=functools.partial(self._unread, fd))

    async def _preadv(
        self,
        fd: int,
        vector: Vector,
        offset: int,
        flags: int = 0,
        late: Callable[[int], object] | None = None,
    ) -> int:
        call = self._aio._call("preadv2")
        args = fd, vector, len(vector), offset, 0, flags
        return await self._aio._driver().call(call, *args, late=late)  # type: ignore[no-any-return]

    def _is_file(self, fd: int) -> bool:
        """Is it always ready, and can what was read be read again?"""
        mode = self._kernel.os.fstat(fd).st_mode
        return stat.S_ISREG(mode) or stat.S_ISBLK(mode)

    def _unread(self, fd: int, count: int) -> None:
        with contextlib.suppress(OSError, RumpelError):
            self._kernel.os.lseek(fd, -count, os.SEEK_CUR)

    async def writev(self, fd: int, buffers: Sequence[Buffer], /) -> int:
        """Write from several buffers."""
        return await self.pwritev(fd, buffers, -1)

    async def preadv(
        self, fd: int, buffers: Sequence[Buffer], offset: int, flags: int = 0, /
    ) -> int:
        """Read into several buffers, at an offset."""
        if offset == _HERE and not flags:
            return await self.readv(fd, buffers)
        return await self._preadv(fd, Vector(buffers, writable=True), offset, flags)

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
