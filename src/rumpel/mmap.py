# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`mmap` on a library kernel: ``kernel.mmap``.

A mapping is memory of the kernel itself, its page cache or its rings, and no copy of
it: what a call of the kernel writes there is seen at once, and the other way round.
Pages come when they are touched. Meanwhile Python's own lock is held, so that a page of a
disk that is slow stops all threads, and one of a disk that is served by Python code
is waited for in vain. A page with nothing behind it, of a file that was cut short, is a SIGBUS
to the process, as for any program. System calls of the *host* do not fetch pages: give
them ``bytes(view)``.

Memory with the descriptor -1 is what ``O_DIRECT``, ``vmsplice`` and ``MSG_ZEROCOPY``
of the kernel take: for other buffers they fail with EFAULT.
"""

from __future__ import annotations

import contextlib
import mmap as host
import operator
import os as host_os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from rumpel import _native, syscalls
from rumpel.errors import RumpelError

if TYPE_CHECKING:
    from rumpel.os import Os

__all__ = ["Mmap", "MmapModule"]

_MREMAP_MAYMOVE = 1
_MS_SYNC = 4


class Mmap(_native.Mapping):
    """As :class:`mmap.mmap`, of this kernel; ``kernel.mmap.mmap()`` makes them.

    It is a buffer: ``memoryview(m)`` is the memory itself, and struct, ctypes and NumPy work
    on it. When the kernel is gone, halted or by a panic, the methods and subscripts raise, while
    views that are left read as zeroes: whoever writes to one has to look at the kernel's state.

    Attributes:
        address: for system calls that want one, such as ``mprotect``.
    """

    def __init__(
        self,
        native: _native.Kernel,
        os: Os,
        fileno: int,
        length: int,
        flags: int,
        prot: int,
        offset: int,
    ) -> None:
        if length < 0:
            raise OverflowError("memory mapped length must be positive")
        if offset < 0:
            raise OverflowError("memory mapped offset must be positive")
        if fileno == -1:
            flags |= host.MAP_ANONYMOUS
        length = _checked(os, fileno, length, offset)
        self._os = os
        self._grows = fileno != -1 or not flags & host.MAP_SHARED
        self._position = 0
        self._kernel = native
        self._readonly = not prot & host.PROT_WRITE
        # Its own, for whoever calls may close theirs.
        self._fd = fileno if fileno == -1 else os.dup(fileno)
        try:
            address = _call(native, "mmap")(None, length, prot, flags, fileno, offset)
            super().__init__(native, address, length, self._readonly)
        except BaseException:
            self._close_descriptor()
            raise

    def close(self) -> None:
        """Unmap it. BufferError if somebody has a view of it."""
        # Closed first: of two who close it, one unmaps it, and nobody can look meanwhile.
        place = self._release()
        if place is None:
            return
        try:
            if self._kernel.state == "running":
                _call(self._kernel, "munmap")(*place)
        finally:
            self._close_descriptor()

    def _close_descriptor(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            # With the kernel gone the descriptor is, too.
            with contextlib.suppress(RumpelError):
                self._os.close(fd)

    def __del__(self) -> None:
        # It may not have come so far. With a view it is in a cycle, or the process ends: the
        # kernel keeps those pages, as Python says too early here that they go.
        if not self.closed:
            with contextlib.suppress(RumpelError, OSError, BufferError):
                self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getitem__(self, index: int | slice) -> Any:
        with memoryview(self) as view:
            found: Any = view[index]
            if not isinstance(found, int):
                with found:
                    found = bytes(found)
        self._check_kernel()
        return found

    def __setitem__(self, index: int | slice, value: Any) -> None:
        with memoryview(self) as view:
            view[index] = value
        self._check_kernel()

    def _check_kernel(self) -> None:
        """Raise if the kernel is gone: then what was just read or written is not memory of it."""
        if self._kernel.state != "running":
            _call(self._kernel, "getpid")()

    def __iter__(self) -> Iterator[int]:
        return (self[index] for index in range(len(self)))

    def _bounds(self, start: int | None, end: int | None) -> tuple[int, int]:
        start, end, _ = slice(self._position if start is None else start, end).indices(len(self))
        return start, end

    def find(self, sub: Any, start: int | None = None, end: int | None = None) -> int:
        """The lowest index of ``sub``, or -1."""
        first, last = self._bounds(start, end)
        found: int = self[first:last].find(bytes(sub))
        return found if found < 0 else first + found

    def rfind(self, sub: Any, start: int | None = None, end: int | None = None) -> int:
        """The highest index of ``sub``, or -1."""
        first, last = self._bounds(start, end)
        found: int = self[first:last].rfind(bytes(sub))
        return found if found < 0 else first + found

    def flush(self, offset: int = 0, size: int | None = None) -> None:
        """Write what was changed to the file, as msync(2) does."""
        size = len(self) - offset if size is None else size
        if offset < 0 or size < 0 or offset + size > len(self):
            raise ValueError("flush values out of range")
        _call(self._kernel, "msync")(self.address + offset, size, _MS_SYNC)

    def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
        """Tell the kernel how it is used: one of MADV_*."""
        length = len(self) - start if length is None else length
        if not 0 <= start < len(self) or length < 0:
            raise ValueError("madvise start or length out of bounds")
        length = min(length, len(self) - start)
        _call(self._kernel, "madvise")(self.address + start, length, option)

    def move(self, dest: int, src: int, count: int) -> None:
        """Copy bytes within it."""
        if min(dest, src, count) < 0 or max(dest, src) + count > len(self):
            raise ValueError("source, destination, or count out of range")
        self[dest : dest + count] = self[src : src + count]

    def read(self, n: int | None = None) -> bytes:
        """The next bytes; all that are left by default."""
        end = len(self) if n is None or n < 0 else min(self._position + n, len(self))
        data = self[self._position : end]
        self._position += len(data)
        return bytes(data)

    def read_byte(self) -> int:
        """The next byte."""
        if self._position >= len(self):
            raise ValueError("read byte out of range")
        self._position += 1
        return int(self[self._position - 1])

    def readline(self) -> bytes:
        """Up to the next newline, with it."""
        end = self.find(b"\n")
        return self.read(None if end < 0 else end + 1 - self._position)

    def resize(self, newsize: int) -> None:
        """Make it longer or shorter, as mremap(2) does. A file is made so long, too."""
        self._unused()
        if newsize <= 0:
            raise ValueError("new size out of range")
        if newsize > len(self) and not self._grows:
            raise ValueError("shared memory without a file cannot grow")
        if self._fd != -1:
            self._os.ftruncate(self._fd, newsize)
        remap = _call(self._kernel, "mremap")
        # Nobody can look, or close it, while it moves.
        place = self._release()
        if place is None:
            raise ValueError("mmap closed or invalid")
        try:
            place = remap(*place, newsize, _MREMAP_MAYMOVE), newsize
        finally:
            super().__init__(self._kernel, *place, self._readonly)

    def seek(self, pos: int, whence: int = host_os.SEEK_SET) -> int:
        """Set the position of read and write."""
        start = {host_os.SEEK_SET: 0, host_os.SEEK_CUR: self._position, host_os.SEEK_END: len(self)}
        if whence not in start:
            raise ValueError("unknown seek type")
        if not 0 <= start[whence] + pos <= len(self):
            raise ValueError("seek out of range")
        self._position = start[whence] + pos
        return self._position

    def seekable(self) -> bool:
        """It always is."""
        return True

    def size(self) -> int:
        """Of the file, which may be longer."""
        return len(self) if self._fd == -1 else self._os.fstat(self._fd).st_size

    def tell(self) -> int:
        """The position of read and write."""
        return self._position

    def write(self, data: Any) -> int:
        """Write at the position; how many bytes."""
        with memoryview(data).cast("B") as source:
            count = len(source)
            if self._position + count > len(self):
                raise ValueError("data out of range")
            self[self._position : self._position + count] = source
        self._position += count
        return count

    def write_byte(self, byte: int) -> None:
        """Write one byte at the position."""
        if self._position >= len(self):
            raise ValueError("write byte out of range")
        self[self._position] = operator.index(byte)
        self._position += 1

    def __repr__(self) -> str:
        if self.closed:
            return "<rumpel.mmap.Mmap closed>"
        return f"<rumpel.mmap.Mmap length={len(self)} pos={self._position}>"


class MmapModule:
    """The module :mod:`mmap` with one kernel behind it; its constants are all there."""

    def __init__(self, native: _native.Kernel, os: Os) -> None:
        self._native = native
        self._os = os

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return getattr(host, name)
        raise AttributeError(f"module 'mmap' of a kernel has no attribute {name!r}")

    def mmap(
        self,
        fileno: int,
        length: int,
        flags: int = host.MAP_SHARED,
        prot: int = host.PROT_READ | host.PROT_WRITE,
        access: int = host.ACCESS_DEFAULT,
        offset: int = 0,
    ) -> Mmap:
        """Map a file, a ring, or memory of the kernel's.

        Args:
            fileno: a descriptor of the kernel; -1 for memory.
            length: in bytes; 0: the rest of the file.
            flags: MAP_* of mmap(2).
            prot: PROT_* of mmap(2).
            access: ACCESS_READ, ACCESS_WRITE or ACCESS_COPY instead of flags and prot.
            offset: where in the file, a multiple of the page's size.

        Raises:
            OSError: as mmap(2) says.
            ValueError: for a bad access, an empty file, or more than there is of a file.

        Example:
            >>> with k.open("/mnt/file", "r+b") as file:  # doctest: +SKIP
            ...     with k.mmap.mmap(file.fileno(), 0) as m:
            ...         m[:5] = b"hello"
        """
        if access == host.ACCESS_READ:
            flags, prot = host.MAP_SHARED, host.PROT_READ
        elif access == host.ACCESS_WRITE:
            flags, prot = host.MAP_SHARED, host.PROT_READ | host.PROT_WRITE
        elif access == host.ACCESS_COPY:
            flags, prot = host.MAP_PRIVATE, host.PROT_READ | host.PROT_WRITE
        elif access != host.ACCESS_DEFAULT:
            raise ValueError("mmap invalid access parameter.")
        return Mmap(self._native, self._os, fileno, length, flags, prot, offset)


def _checked(os: Os, fileno: int, length: int, offset: int) -> int:
    """The length, which must not go beyond a file's end: there a touch is a SIGBUS."""
    status = os.fstat(fileno) if fileno != -1 else None
    size = status.st_size if status else 0
    if not length:
        if not size:
            raise ValueError("cannot mmap an empty file")
        if offset >= size:
            raise ValueError("mmap offset is greater than file size")
        return size - offset
    if status and stat.S_ISREG(status.st_mode) and offset + length > size:
        raise ValueError("mmap length is greater than file size")
    return length


def _call(native: _native.Kernel, name: str) -> Callable[..., int]:
    return syscalls.bind(native, name)
