# SPDX-License-Identifier: GPL-2.0-only
"""Files of a kernel whose methods are awaited: ``kernel.aio.open``.

Reading is buffered, writing is not: what ``write`` has returned from, the kernel has.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, AnyStr, Generic

from rumpel.io import check_mode

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from rumpel.aio.calls import Aio
    from rumpel.os.base import AnyPath

__all__ = ["AsyncFile", "Opening"]

_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}
_CHUNK = 1 << 16


class Opening(Generic[AnyStr]):
    """A file that is being opened: to be awaited, or used in ``async with``."""

    def __init__(
        self,
        aio: Aio,
        file: Any,
        mode: str = "r",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
    ) -> None:
        if not isinstance(file, int | str | bytes | os.PathLike):
            raise TypeError(f"invalid file: {file!r}")
        check_mode(mode, encoding, errors, newline)
        if newline not in (None, "", "\n"):
            raise ValueError("newline must be None, '' or '\\n' here")
        if not closefd and not isinstance(file, int):
            raise ValueError("Cannot use closefd=False with file name")
        self._aio = aio
        self._file: int | AnyPath = file
        self._mode = mode
        self._text = (encoding or "utf-8", errors or "strict", newline is None)
        self._closefd = closefd
        self._opened: AsyncFile[AnyStr] | None = None

    async def _open(self) -> AsyncFile[AnyStr]:
        kind = next(letter for letter in self._mode if letter in _FLAGS)
        flags = _FLAGS[kind]
        if "+" in self._mode:
            flags = flags & ~os.O_ACCMODE | os.O_RDWR
        file = self._file
        fd = file if isinstance(file, int) else await self._aio.os.open(file, flags, 0o666)
        text = None if "b" in self._mode else self._text
        return AsyncFile(self._aio, fd, self._file, self._mode, flags, text, self._closefd)

    def __await__(self) -> Generator[Any, Any, AsyncFile[AnyStr]]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFile[AnyStr]:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            await self._opened.close()


class AsyncFile(Generic[AnyStr]):
    """A file of a kernel, with the methods of file objects as coroutines.

    Two coroutines that use one file take turns, one method at a time.

    Attributes:
        name: what it was opened with.
        mode: how it was opened.
        closed: was it closed?
    """

    def __init__(
        self,
        aio: Aio,
        fd: int,
        name: Any,
        mode: str,
        flags: int,
        text: tuple[str, str, bool] | None,
        closefd: bool,
    ) -> None:
        self._aio: Aio = aio
        self._fd = aio._descriptor(fd)
        self.name = name
        self.mode = mode
        self.closed = False
        self._closefd = closefd
        self._readable = flags & os.O_ACCMODE != os.O_WRONLY
        self._writable = flags & os.O_ACCMODE != os.O_RDONLY
        self._lock = asyncio.Lock()
        self._buffer = b""
        self._decoder: Any = None
        self._encoding = text
        if text is not None:
            self._decoder = codecs.getincrementaldecoder(text[0])(text[1])
            if text[2]:
                self._decoder = io.IncrementalNewlineDecoder(self._decoder, translate=True)
        self._pending: Any = b"" if text is None else ""
        self._parts: list[Any] = []

    def fileno(self) -> int:
        """The descriptor in the kernel."""
        self._check()
        return self._fd

    def _check(self, *, reading: bool = False, writing: bool = False) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if reading and not self._readable:
            raise io.UnsupportedOperation("not readable")
        if writing and not self._writable:
            raise io.UnsupportedOperation("not writable")

    def readable(self) -> bool:
        """Was it opened for reading?"""
        return self._readable

    def writable(self) -> bool:
        """Was it opened for writing?"""
        return self._writable

    # What was read and nobody has taken yet is self._pending, bytes or str, and behind that
    # self._parts, which are joined when all is there: of large files that is much faster.

    async def _fill(self, size: int = _CHUNK) -> bool:
        """Read another part; False at the end, where a decoder may still have one."""
        # If this is cancelled, what was read belongs to whoever reads next.
        data = await self._aio.os._call(self._aio._kernel.os.read, self._fd, size, late=self._got)
        self._got(data)
        return bool(data)

    def _got(self, data: bytes) -> None:
        part = data if self._decoder is None else self._decoder.decode(data, final=not data)
        self._parts.append(part)

    def _joined(self) -> Any:
        if self._parts:
            self._pending = self._pending[:0].join([self._pending, *self._parts])
            self._parts.clear()
        return self._pending

    def _take(self, size: int) -> AnyStr:
        pending = self._joined()
        taken: AnyStr = pending[:size]
        self._pending = pending[size:]
        return taken

    async def read(self, size: int | None = -1, /) -> AnyStr:
        """Read so many bytes or characters, or all that is left."""
        self._check(reading=True)
        async with self._lock:
            wanted = -1 if size is None or size < 0 else size
            length = len(self._joined())
            while wanted < 0 or length < wanted:
                more = await self._fill(max(_CHUNK, wanted - length))
                length += len(self._parts[-1])
                if not more:
                    break
            return self._take(length if wanted < 0 else wanted)

    async def read1(self, size: int = -1, /) -> bytes:
        """Read what there is, with one system call at most; binary files only."""
        self._check(reading=True)
        if self._decoder is not None:
            raise io.UnsupportedOperation("read1 of a text file")
        async with self._lock:
            if not self._joined():
                await self._fill(_CHUNK if size < 0 else size)
            taken: Any = self._take(len(self._joined()) if size < 0 else size)
            data: bytes = taken
            return data

    async def readline(self, size: int = -1, /) -> AnyStr:
        """Read a line, with its end."""
        self._check(reading=True)
        end: Any = b"\n" if self._decoder is None else "\n"
        async with self._lock:
            length = len(self._joined())
            found = self._pending.find(end)
            while found < 0 and (size < 0 or length < size):
                more = await self._fill()
                at = self._parts[-1].find(end)
                if at >= 0:
                    found = length + at
                length += len(self._parts[-1])
                if not more:
                    break
            if found >= 0:
                length = found + 1
            return self._take(length if size < 0 else min(size, length))

    async def readlines(self) -> list[AnyStr]:
        """Read all lines."""
        return [line async for line in self]

    def __aiter__(self) -> AsyncFile[AnyStr]:
        return self

    async def __anext__(self) -> AnyStr:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _drop(self) -> None:
        """Forget what was read in advance: the position is where the user thinks it is."""
        if self._joined():
            if self._decoder is not None:
                raise io.UnsupportedOperation("a text file that was read from has no position")
            self._aio._kernel.os.lseek(self._fd, -len(self._pending), os.SEEK_CUR)
            self._pending = b""

    async def write(self, data: Buffer | str, /) -> int:
        """Write all of it: the number of bytes or characters."""
        self._check(writing=True)
        if self._encoding is None:
            if isinstance(data, str):
                raise TypeError("a bytes-like object is required, not 'str'")
            view = memoryview(data).cast("B")
        elif isinstance(data, str):
            view = memoryview(data.encode(*self._encoding[:2]))
        else:
            raise TypeError(f"write() argument must be str, not {type(data).__name__}")
        async with self._lock:
            if self._readable:
                await self._drop()
            count = len(data) if isinstance(data, str) else len(view)
            while view:
                view = view[await self._aio.os.write(self._fd, view) :]
            return count

    async def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Nothing is left to be done."""
        self._check()

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position, in bytes."""
        self._check()
        async with self._lock:
            if whence == os.SEEK_CUR:
                await self._drop()
            self._pending = b"" if self._decoder is None else ""
            self._parts.clear()
            if self._decoder is not None:
                self._decoder.reset()
            return self._aio._kernel.os.lseek(self._fd, offset, whence)

    async def tell(self) -> int:
        """The position, in bytes."""
        self._check()
        async with self._lock:
            await self._drop()
            return self._aio._kernel.os.lseek(self._fd, 0, os.SEEK_CUR)

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file this long; by default as long as the position."""
        self._check(writing=True)
        length = await self.tell() if size is None else size
        await self._aio.os.ftruncate(self._fd, length)
        return length

    async def close(self) -> None:
        """Close the file."""
        if self.closed:
            return
        self.closed = True
        if self._closefd:
            await self._aio.os.close(self._fd)

    async def __aenter__(self) -> AsyncFile[AnyStr]:
        self._check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self.closed or not self._closefd or not self._aio._kernel.os._alive():
            return
        warnings.warn(f"unclosed file {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.closed = True
        self._aio._kernel.os.close(self._fd)

    def __repr__(self) -> str:
        state = "[closed]" if self.closed else f"name={self.name!r} mode={self.mode!r}"
        return f"<rumpel.aio.AsyncFile {state}>"
