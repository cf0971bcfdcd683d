# SPDX-License-Identifier: GPL-2.0-only
"""Disks with faults, for tests."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import NamedTuple

from rumpel.devices.served import PythonDisk

__all__ = ["FaultyDisk"]


class _Fault(NamedTuple):
    start: int
    end: int
    errno: int
    reads: bool
    writes: bool


class _Backend:
    """A file, and what is wrong with it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size
        self.delay = 0.0
        self.faults: list[_Fault] = []

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def _check(self, offset: int, length: int, writes: bool) -> None:
        if self.delay:
            time.sleep(self.delay)
        for fault in list(self.faults):
            concerned = fault.writes if writes else fault.reads
            if concerned and offset < fault.end and offset + length > fault.start:
                raise OSError(fault.errno, os.strerror(fault.errno))

    def pread(self, offset: int, length: int) -> bytes:
        self._check(offset, length, False)
        return os.pread(self._fd, length, offset)

    def pwrite(self, offset: int, data: bytes) -> None:
        self._check(offset, len(data), True)
        view = memoryview(data)
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count

    def flush(self) -> None:
        os.fdatasync(self._fd)


class FaultyDisk(PythonDisk):
    """A file as a disk that can be given faults at any time.

    Args:
        path: of the file.
        threads: how many requests there may be at a time.

    Example:
        >>> disk = FaultyDisk("disk.img")  # doctest: +SKIP
        >>> with rumpel.boot(disks=[disk]) as k:  # doctest: +SKIP
        ...     disk.add_fault(1 << 20, 4096)
        ...     disk.delay = 0.05
    """

    _backend: _Backend

    def __init__(self, path: str | os.PathLike[str], threads: int = 1) -> None:
        self._backend = _Backend(Path(path))
        super().__init__(self._backend, threads=threads)

    @property
    def delay(self) -> float:
        """How long each request takes at least, in seconds."""
        return self._backend.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._backend.delay = seconds

    def add_fault(
        self,
        start: int,
        length: int,
        error: int = errno.EIO,
        *,
        reads: bool = True,
        writes: bool = True,
    ) -> None:
        """Have requests fail that touch these bytes.

        Args:
            start: of the range on the disk, in bytes.
            length: of the range.
            error: what went wrong.
            reads: those.
            writes: those.
        """
        self._backend.faults.append(_Fault(start, start + length, error, reads, writes))

    def heal(self) -> None:
        """Take all faults away."""
        self._backend.faults.clear()
