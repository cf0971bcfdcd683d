# SPDX-License-Identifier: GPL-2.0-only
"""Content that is not brought but taken from where it lies in an image.

Who reads a file system says where on its disk a file's content is, and who copies has the host
copy it from there: in the host's page cache, or not at all where its file system shares blocks. The
image must be read by nobody who writes, and be no more than its bytes.

Source: Documentation/filesystems/fiemap.rst; copy_file_range(2).
"""

from __future__ import annotations

import _struct as struct
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rumpel.kernel import Kernel

__all__ = ["LONG", "Placed", "places"]

LONG = 1 << 20
"""Of how long files it is worth asking."""
_FS_IOC_FIEMAP = 0xC020660B
_HEAD = struct.Struct("<QQIIII")
_EXTENT = struct.Struct("<QQQ16xI12x")
"""Where it is in the file, where on the device, how long, flags."""
_AT_ONCE = 128
_LAST, _UNWRITTEN, _MERGED, _SHARED = 1, 0x800, 0x1000, 0x2000
_WORTH = 128 << 10
"""What is in shorter extents is read faster."""
_PIECE = 4 << 20
_NO_RANGES = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_MOST = (1 << 63) - 1


def places(kernel: Kernel, fd: int, size: int) -> list[tuple[int, int, int]] | None:
    """Where the content of a file is on its device.

    Args:
        kernel: has the file open.
        fd: the file's descriptor there.
        size: its length.

    Returns:
        Offset in the file, offset on the device and length of each extent, without holes; None if
        it is not there as it is, or in too many pieces.
    """
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < size and len(found) <= size // _WORTH:
        asked = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(asked, 0, at, size - at, 0, 0, _AT_ONCE, 0)
        try:
            kernel.syscall("ioctl", fd, _FS_IOC_FIEMAP, asked)
        except OSError:
            return None
        count = _HEAD.unpack_from(asked)[3]
        if not count:
            return found
        for index in range(count):
            start, where, length, flags = _EXTENT.unpack_from(
                asked, _HEAD.size + index * _EXTENT.size
            )
            if flags & ~(_LAST | _UNWRITTEN | _MERGED | _SHARED):
                return None
            at = start + length
            if not flags & _UNWRITTEN and start < size:
                found.append((start, where, min(length, size - start)))
            if flags & _LAST:
                return found
    return found if at >= size else None


class Placed:
    """An image that content is taken from.

    Args:
        fd: it is open as, to be read.
        start: where the file system's device begins in it.
        size: of that device.
    """

    def __init__(self, fd: int, start: int, size: int) -> None:
        self._fd = fd
        self._start = start
        self._size = size
        self._has_ranges = True

    def copy(self, to: int, where: Any, length: Any) -> Iterator[int]:
        """Copy to where a file of the host is written next; bytes of each piece.

        Args:
            to: the file's descriptor.
            where: on the device.
            length: in bytes.

        Raises:
            ValueError: if there is no such place.
            OSError: if it cannot be read or written; EIO if the image has become shorter.
        """
        if not (type(where) is type(length) is int) or not 0 <= where <= _MOST or length < 0:
            raise ValueError("this is no place")
        if where + length > self._size:
            raise ValueError("this is no place on the device")
        at, end = self._start + where, self._start + where + length
        while at < end:
            # The host's disk works while what it has brought is copied.
            os.posix_fadvise(self._fd, at, min(2 * _PIECE, end - at), os.POSIX_FADV_WILLNEED)
            done = self._some(to, at, min(_PIECE, end - at))
            if not done:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            at += done
            yield done

    def _some(self, to: int, at: int, count: int) -> int:
        if self._has_ranges:
            try:
                return os.copy_file_range(self._fd, to, count, at)
            except OSError as error:
                if error.errno not in _NO_RANGES:
                    raise
                self._has_ranges = False
        return os.sendfile(to, self._fd, at, count)
