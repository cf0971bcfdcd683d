# SPDX-License-Identifier: GPL-2.0-only
"""Disks: files, and memory."""

from __future__ import annotations

import os

from rumpel import _native
from rumpel.devices.device import Device
from rumpel.sizes import to_bytes

__all__ = ["Disk", "MemoryDisk"]

SECTOR = 512


class Disk(Device):
    """A file or block device of the host as a disk: /dev/vda and so on.

    A flush by the kernel is an fdatasync on the host.

    Args:
        path: of the file.
        read_only: open it so, and tell the kernel.

    Raises:
        OSError: if it cannot be opened.

    Example:
        >>> with rumpel.boot(disks=[Disk("root.img", read_only=True)]) as k:  # doctest: +SKIP
        ...     k.mount("/dev/vda", "/mnt", "ext4", read_only=True)
    """

    _kind = "disk"

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        self.path = os.fspath(path)
        self.read_only = read_only
        self._owner = 0 if read_only else os.getpid()
        super().__init__(_native.block_file(path, _native.READ_ONLY if read_only else 0))

    def resize(self, size: int | str) -> None:
        """Make the file, and so the disk, longer or shorter; the kernel hears of it soon.

        A file system on it is another matter: ``resize2fs`` and the like.

        Args:
            size: in bytes or such as ``"64M"``, whole sectors of 512 bytes.

        Raises:
            ValueError: if it is no size for a disk.
            OSError: EROFS if the disk is read-only, EOPNOTSUPP for a block device.
        """
        self._native.resize(to_bytes(size))


class MemoryDisk(Device):
    """Memory as a disk.

    Args:
        data: a size, in bytes or such as ``"64M"``, for zeroes; or a buffer, which the
            disk uses in place for as long as the kernel lives.
        read_only: refuse writes; necessary for a buffer such as bytes.

    Raises:
        ValueError: if it is less than a sector of 512 bytes.
    """

    _kind = "disk"

    def __init__(
        self, data: int | str | bytes | bytearray | memoryview, read_only: bool = False
    ) -> None:
        what = to_bytes(data) if isinstance(data, int | str) else data
        size = what if isinstance(what, int) else memoryview(what).nbytes
        if size < SECTOR:
            raise ValueError(f"data: a disk has a sector of {SECTOR} bytes at least, not {size}")
        super().__init__(_native.block_memory(what, _native.READ_ONLY if read_only else 0))

    def resize(self, size: int | str) -> None:
        """Make the disk longer or shorter, as :meth:`Disk.resize`.

        Raises:
            OSError: EOPNOTSUPP if it is a buffer of the caller's.
        """
        self._native.resize(to_bytes(size))
