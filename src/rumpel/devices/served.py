# SPDX-License-Identifier: GPL-2.0-only
"""Disks that are Python objects."""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import sys
import threading
from collections import deque
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import IO, Any, Protocol

from rumpel import _native
from rumpel.devices.device import Device
from rumpel.devices.loop import LoopThread

__all__ = ["DiskBackend", "FileBackend", "PythonDisk"]

_ZEROES = 1 << 20
_KEPT = 100


class DiskBackend(Protocol):
    """What a disk may be made of. All methods may be coroutines.

    Those that are missing are done without: ``flush`` and ``discard`` by doing nothing,
    ``write_zeroes`` by writing them. Without ``pwrite`` the disk is read-only.
    """

    def pread(self, offset: int, length: int, /) -> Any:
        """Return exactly these bytes."""


class FileBackend:
    """A seekable binary file as backend; one request at a time.

    Args:
        file: which.
        fixed: it has all of its bytes from the beginning: less is an error.
    """

    def __init__(self, file: Any, fixed: bool = False) -> None:
        self._file = file
        self._fixed = fixed
        self._lock = threading.Lock()
        self.size: int = file.seek(0, 2)
        self.read_only = not (file.writable() if hasattr(file, "writable") else True)

    def pread(self, offset: int, length: int) -> bytes:
        """All of it."""
        data = self.pread_some(offset, length)
        if self._fixed and len(data) < length:
            raise OSError(errno.EIO, f"{len(data)} bytes were read instead of {length}")
        # What is behind the file's end is not there yet.
        return data.ljust(length, b"\0")

    def pread_some(self, offset: int, length: int) -> bytes:
        """As much as there is."""
        with self._lock:
            self._file.seek(offset)
            pieces = []
            while length and (piece := self._file.read(length)):
                pieces.append(piece)
                length -= len(piece)
        return b"".join(pieces)

    def pwrite(self, offset: int, data: bytes) -> None:
        """All of it."""
        with self._lock:
            self._file.seek(offset)
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                view = view[len(view) if written is None else written :]

    def flush(self) -> None:
        """Hand it to the file's owner."""
        with self._lock:
            self._file.flush()


class PythonDisk(Device):
    """A Python object as a disk: /dev/vda and so on.

    Requests are served by threads of their own, so that a slow object delays nobody but those
    who want its data. With a virtual clock they are served at once, by the thread that drives
    the kernel. A method must not use the kernel whose disk it is.

    An exception is an I/O error in the kernel. It is kept in ``errors``; the first that is no
    OSError also goes to :func:`sys.unraisablehook`: a kernel asks again, so the others would
    say the same. OSError with EOPNOTSUPP tells the kernel that this cannot be done, all others
    that it failed.

    Args:
        backend: an object with ``pread(offset, length)`` and, as far as it has them,
            ``pwrite(offset, data)``, ``flush()``, ``discard(offset, length)`` and
            ``write_zeroes(offset, length)``, functions or coroutines; or a seekable binary file,
            such as one of fsspec's. It is not closed.
        size: in bytes; None asks ``backend.size``, or the file.
        read_only: None: as the object is.
        block_size: the least unit of a request: 512, 1024, 2048 or 4096.
        threads: how many requests there may be at a time, for functions. Coroutines all run
            at once on an event loop of their own.

    Attributes:
        errors: the last exceptions.

    Raises:
        TypeError: if it is no such object.
        ValueError: if the size is less than a block.

    Example:
        >>> with fsspec.open("https://example.org/root.img") as file:  # doctest: +SKIP
        ...     with rumpel.boot(disks=[PythonDisk(file)]) as k:
        ...         k.mount("/dev/vda", "/mnt", "ext4", read_only=True)
    """

    _kind = "disk"

    def __init__(
        self,
        backend: DiskBackend | IO[bytes] | Any,
        *,
        size: int | None = None,
        read_only: bool | None = None,
        block_size: int = 512,
        threads: int = 1,
    ) -> None:
        served: Any = backend
        if not hasattr(served, "pread"):
            if not (hasattr(served, "seek") and hasattr(served, "read")):
                raise TypeError("a disk needs pread(offset, length), or to be a seekable file")
            served = FileBackend(served)
        if threads < 1:
            raise ValueError("a disk needs a thread at least")
        length: int = served.size if size is None else size
        if read_only is None:
            read_only = bool(getattr(served, "read_only", not hasattr(served, "pwrite")))
        self._server = _Server(served, threads)
        flags = _native.READ_ONLY if read_only else 0
        if not hasattr(served, "discard"):
            flags |= _native.NO_DISCARD
        self._server.native, native = _native.block_served(
            length, block_size, flags, self._server.serve_now
        )
        self.read_only = read_only
        self._owner = os.getpid()
        self.size = length - length % block_size
        super().__init__(native)
        self._server.start()

    @property
    def errors(self) -> deque[BaseException]:
        """The exceptions of the last requests that failed."""
        return self._server.errors

    def fail(self) -> None:
        """Let the disk die: every request fails from now on, also those that are under way."""
        self._server.native.fail()

    def close(self) -> None:
        """Wait for the threads, which end with the kernel.

        Whoever waits for data in a kernel that was closed gets an error: he keeps it alive.
        """
        self.fail()
        self._server.join()


class _Server:
    """Takes requests and ends them. It does not know the disk, which may be dropped unused."""

    native: _native.BlockServer

    def __init__(self, backend: Any, threads: int) -> None:
        self.errors: deque[BaseException] = deque(maxlen=_KEPT)
        self._reported = False
        self._backend = backend
        self._own: LoopThread | None = None
        self._many = 64 if threads == 1 else 1
        self._threads = [
            threading.Thread(target=self._run, name="rumpel-disk", daemon=True)
            for _ in range(threads)
        ]
        if any(
            inspect.iscoroutinefunction(getattr(backend, name, None))
            for name in ("pread", "pwrite", "flush", "discard", "write_zeroes")
        ):
            self._own = LoopThread("rumpel-disk-loop")
            self._threads[1:] = [self._own.thread]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        # A method that does not return must not keep the kernel from ending.
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=1)

    def serve_now(self) -> None:
        """All there is, before this returns."""
        while ios := self.native.take(False):
            self._serve(ios, wait=True)

    def _run(self) -> None:
        while (ios := self.native.take(True, self._many)) is not None:
            self._serve(ios, wait=False)
            del ios
        if self._own:
            self._own.stop()

    def _serve(self, ios: list[_native.BlockIo], wait: bool) -> None:
        if self._own is None:
            for io in ios:
                self._finish(io, *self._attempt(io))
            return
        loop = self._own.loop
        futures = [asyncio.run_coroutine_threadsafe(self._serve_async(io), loop) for io in ios]
        if wait:
            for future in futures:
                future.result()

    async def _serve_async(self, io: _native.BlockIo) -> None:
        code, result = self._attempt(io)
        if inspect.isawaitable(result):
            try:
                result = await result
            except BaseException as error:
                self._finish(io, self._failed(error), None)
                if not isinstance(error, Exception):
                    raise
                return
        self._finish(io, code, result)

    def _attempt(self, io: _native.BlockIo) -> tuple[int, Any]:
        """An errno, and what was read or a coroutine that will."""
        try:
            return 0, self._call(io)
        except BaseException as error:
            return self._failed(error), None

    def _call(self, io: _native.BlockIo) -> Any:
        backend, op = self._backend, io.op
        if op == _native.BLOCK_READ:
            return backend.pread(io.offset, io.length)
        if op == _native.BLOCK_WRITE:
            return backend.pwrite(io.offset, io.data)
        if op == _native.BLOCK_FLUSH:
            return backend.flush() if hasattr(backend, "flush") else None
        if op == _native.BLOCK_DISCARD:
            return backend.discard(io.offset, io.length)
        if hasattr(backend, "write_zeroes"):
            return backend.write_zeroes(io.offset, io.length)
        return self._zero(io.offset, io.length)

    def _zero(self, offset: int, length: int) -> Coroutine[Any, Any, None] | None:
        pieces = [(at, min(_ZEROES, offset + length - at)) for at in _steps(offset, length)]
        if inspect.iscoroutinefunction(self._backend.pwrite):
            return self._zero_async(pieces)
        for at, size in pieces:
            self._backend.pwrite(at, bytes(size))
        return None

    async def _zero_async(self, pieces: list[tuple[int, int]]) -> None:
        for at, size in pieces:
            await self._backend.pwrite(at, bytes(size))

    def _finish(self, io: _native.BlockIo, code: int, result: Any) -> None:
        try:
            if code or io.op != _native.BLOCK_READ:
                io.end(code)
            else:
                io.end(0, result)
        except BaseException as error:
            # What pread returned is no buffer, or of another length.
            io.end(self._failed(error))

    def _failed(self, error: BaseException) -> int:
        """Keep it; the errno."""
        self.errors.append(error)
        if isinstance(error, OSError):
            return error.errno or errno.EIO
        if self._reported:
            return errno.EIO
        self._reported = True
        report: Any = SimpleNamespace(
            exc_type=type(error),
            exc_value=error,
            exc_traceback=error.__traceback__,
            err_msg="a disk's request failed; further exceptions are only kept in its errors",
            object=self._backend,
        )
        sys.unraisablehook(report)
        return errno.EIO


def _steps(offset: int, length: int) -> range:
    return range(offset, offset + length, _ZEROES)
