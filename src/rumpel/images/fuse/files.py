# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on the content of files."""

from __future__ import annotations

import errno
import os as host

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.names import Names

__all__ = ["Files"]

_FLAGS = (0x80086601, 0x40086602, 0x801C581F, 0x401C5820)
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR."""


class Files(Names):
    """Writing. The host opens no file: it says which it writes."""

    def _fd(self, id: int, writable: bool = True) -> int:
        """A descriptor of a file; those that were used last stay open."""
        return self.nodes.file(self.nodes.node(id), writable)

    def write(self, id: int, body: memoryview) -> bytes:
        """Write a part of a file."""
        _, offset, size, flags = fuse.WRITE_IN.unpack_from(body)
        data = body[fuse.WRITE_IN.size :][:size]
        fd, done = self._fd(id), 0
        try:
            while done < size:
                done += self._call("pwrite64", fd, data[done:], size - done, offset + done)
        except OSError:
            if not done:
                raise
        if flags & fuse.WRITE_KILL_SUIDGID:
            self._drop_suid(self.nodes.node(id))
        return fuse.WRITE_OUT.pack(done)

    def fsync(self, id: int, body: memoryview) -> bytes:
        """Let a file survive a crash."""
        _, flags = fuse.FSYNC_IN.unpack_from(body)
        self._call("fdatasync" if flags & 1 else "fsync", self._fd(id))
        return b""

    def fsyncdir(self, id: int, body: memoryview) -> bytes:
        """Let a directory survive a crash."""
        self._os.fsync(self.nodes.directory(self.nodes.node(id)))
        return b""

    def fallocate(self, id: int, body: memoryview) -> bytes:
        """Reserve room, punch holes and the like."""
        _, offset, length, mode = fuse.FALLOCATE_IN.unpack_from(body)
        self._call("fallocate", self._fd(id), mode, offset, length)
        return b""

    def lseek(self, id: int, body: memoryview) -> bytes:
        """Find data and holes."""
        _, offset, whence = fuse.LSEEK_IN.unpack_from(body)
        return fuse.LSEEK_OUT.pack(self._call("lseek", self._fd(id, False), offset, whence))

    def copy_file_range(self, id: int, body: memoryview) -> bytes:
        """Copy within the image, sharing blocks where the file system can."""
        _, start, target, _, to, length, flags = fuse.COPY_IN.unpack_from(body)
        source, into = self._fd(id), self._fd(target)
        # The size of an answer has 32 bits.
        length = min(length, 1 << 30)
        places = bytearray(start.to_bytes(8, "little")), bytearray(to.to_bytes(8, "little"))
        done = self._call("copy_file_range", source, places[0], into, places[1], length, flags)
        return fuse.WRITE_OUT.pack(done)

    def ioctl(self, id: int, body: memoryview) -> bytes:
        """Flags of files as lsattr(1) and chattr(1) have them."""
        _, _, command, _, given, wanted = fuse.IOCTL_IN.unpack_from(body)
        if command not in _FLAGS:
            raise OSError(errno.ENOTTY, host.strerror(errno.ENOTTY))
        room = bytearray(32)
        room[: min(given, 32)] = body[fuse.IOCTL_IN.size :][: min(given, 32)]
        result = self._call("ioctl", self._fd(id), command, room)
        return fuse.IOCTL_OUT.pack(result, 0, 0, 0) + room[: min(wanted, 32)]
