# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on attributes, extended ones, and whole file systems."""

from __future__ import annotations

import stat
from struct import Struct
from typing import TYPE_CHECKING, Any

from rumpel._native import FuseServer
from rumpel.images.fuse import protocol as fuse

if TYPE_CHECKING:
    from rumpel._native import FuseNode
    from rumpel.kernel import Kernel

__all__ = ["AT_FDCWD", "Attributes"]

AT_FDCWD, _NOFOLLOW = -100, 0x100
_STATFS = Struct("<qqQQQQQ8xqq")
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_TIMES = Struct("<qqqq")


class Attributes:
    """What all operations share, and those that change attributes.

    Args:
        kernel: whose root directory is served.
        device: an open /dev/fuse that is mounted, not blocking.
        read_only: is nothing to be written?

    Attributes:
        nodes: what the host knows of, and who answers what it asks most.
    """

    def __init__(self, kernel: Kernel, device: int, read_only: bool) -> None:
        self._os = kernel.os
        self._call = kernel.syscall
        self.nodes = FuseServer(kernel._native, device, read_only)

    def close(self) -> None:
        """Close all files."""
        self.nodes.close()

    def setattr(self, id: int, body: memoryview) -> bytes:
        """Change attributes; the order is that of the kernel: owners first, as they clear modes."""
        node = self.nodes.node(id)
        valid, _, size, *times, mode, _, uid, gid = fuse.SETATTR_IN.unpack_from(body)
        if valid & fuse.ATTR_SIZE:
            self._truncate(node, size)
            if valid & fuse.ATTR_KILL_SUIDGID:
                self._drop_suid(node)
        if valid & (fuse.ATTR_UID | fuse.ATTR_GID):
            uid = uid if valid & fuse.ATTR_UID else -1
            gid = gid if valid & fuse.ATTR_GID else -1
            if node.fd >= 0:
                self._call("fchown", node.fd, uid, gid)
            else:
                self._call("fchownat", AT_FDCWD, self.nodes.path(node), uid, gid, _NOFOLLOW)
        if valid & fuse.ATTR_MODE:
            self._chmod(node, stat.S_IMODE(mode))
        if valid & (fuse.ATTR_ATIME | fuse.ATTR_MTIME):
            self._set_times(node, valid, times)
        return self.nodes.attributes(node)

    def _truncate(self, node: FuseNode, size: int) -> None:
        if node.fd >= 0:
            self._call("ftruncate", node.fd, size)
        else:
            self._call("truncate", self.nodes.path(node), size)

    def _chmod(self, node: FuseNode, mode: int) -> None:
        if node.fd >= 0:
            self._call("fchmod", node.fd, mode)
        else:
            self._call("fchmodat", AT_FDCWD, self.nodes.path(node), mode)

    def _drop_suid(self, node: FuseNode) -> None:
        """As the kernel does when somebody else writes to a program."""
        mode = stat.S_IMODE(self.nodes.look(node)[1])
        drop = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if mode & drop:
            self._chmod(node, mode & ~drop)

    def _set_times(self, node: FuseNode, valid: int, times: list[int]) -> None:
        atime, mtime, _, atime_ns, mtime_ns, _ = times
        if not valid & fuse.ATTR_ATIME:
            atime_ns = _UTIME_OMIT
        elif valid & fuse.ATTR_ATIME_NOW:
            atime_ns = _UTIME_NOW
        if not valid & fuse.ATTR_MTIME:
            mtime_ns = _UTIME_OMIT
        elif valid & fuse.ATTR_MTIME_NOW:
            mtime_ns = _UTIME_NOW
        both = _TIMES.pack(atime, atime_ns, mtime, mtime_ns)
        if node.fd >= 0:
            self._call("utimensat", node.fd, 0, both, 0)
        else:
            self._call("utimensat", AT_FDCWD, self.nodes.path(node), both, _NOFOLLOW)

    # Extended attributes

    def _xattr(self, verb: str, node: FuseNode, *args: Any) -> int:
        if node.fd >= 0:
            return self._call(f"f{verb}xattr", node.fd, *args)
        return self._call(f"l{verb}xattr", self.nodes.path(node), *args)

    def getxattr(self, id: int, body: memoryview) -> bytes:
        """Value of an extended attribute, or its size."""
        name = bytes(body[fuse.GETXATTR_IN.size :]).partition(b"\0")[0]
        return self._valued("get", id, body, name)

    def listxattr(self, id: int, body: memoryview) -> bytes:
        """Names of the extended attributes, or their size."""
        return self._valued("list", id, body)

    def _valued(self, verb: str, id: int, body: memoryview, *name: bytes) -> bytes:
        (room,) = fuse.GETXATTR_IN.unpack_from(body)
        room = min(room, 1 << 16)
        buffer = bytearray(room)
        size = self._xattr(verb, self.nodes.node(id), *name, buffer if room else None, room)
        return bytes(buffer[:size]) if room else fuse.GETXATTR_OUT.pack(size)

    def setxattr(self, id: int, body: memoryview) -> bytes:
        """Set an extended attribute."""
        size, flags = fuse.SETXATTR_IN.unpack_from(body)
        name, _, rest = bytes(body[fuse.SETXATTR_IN.size :]).partition(b"\0")
        self._xattr("set", self.nodes.node(id), name, rest[:size], size, flags)
        return b""

    def removexattr(self, id: int, body: memoryview) -> bytes:
        """Remove an extended attribute."""
        self._xattr("remove", self.nodes.node(id), bytes(body).partition(b"\0")[0])
        return b""

    def statfs(self, id: int, body: memoryview) -> bytes:
        """How full the file system is."""
        buffer = bytearray(120)
        self._call("statfs", b"/", buffer)
        _, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize = _STATFS.unpack_from(buffer)
        sizes = bsize, namelen, frsize or bsize
        return fuse.STATFS_OUT.pack(blocks, bfree, bavail, files, ffree, *sizes)
