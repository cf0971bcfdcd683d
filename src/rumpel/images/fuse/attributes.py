# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on attributes, extended ones, and whole file systems."""

from __future__ import annotations

import stat
from struct import Struct
from typing import TYPE_CHECKING, Any

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.nodes import Node, Nodes

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["AT_FDCWD", "NOFOLLOW", "Attributes"]

AT_FDCWD, NOFOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_BASIC = 0x7FF
_STATX = Struct("<4xI8xIIIH2xQQQ8xqI4x16xqI4xqI4xIIII")
"""blksize, nlink, uid, gid, mode, ino, size, blocks, atime, ctime, mtime, rdev, dev."""
_STATFS = Struct("<qqQQQQQ8xqq")
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_TIMES = Struct("<qqqq")


class Attributes:
    """What all operations share, and those on attributes.

    Args:
        kernel: whose root directory is served.
        read_only: is nothing to be written?
    """

    def __init__(self, kernel: Kernel, read_only: bool) -> None:
        self._os = kernel.os
        self._call = kernel.syscall
        self._read_only = read_only
        self._status = bytearray(256)
        self._devices: dict[int, int] = {}
        self.nodes = Nodes(self._key(b"/"), self._release)

    def _release(self, node: Node) -> None:
        """The host has forgotten a node, or it has a name again."""
        if node.fd >= 0:
            fd, node.fd = node.fd, -1
            self._os.close(fd)

    def close(self) -> None:
        """Close all files."""
        for node in self.nodes:
            self._release(node)

    # Looking at files

    def _look(self, node: Node) -> tuple[int, ...]:
        """All about a node's file, as struct statx has it."""
        if node.fd >= 0:
            self._call("statx", node.fd, b"", _EMPTY_PATH, _BASIC, self._status)
        else:
            self._call("statx", AT_FDCWD, node.path, NOFOLLOW, _BASIC, self._status)
        return _STATX.unpack_from(self._status)

    def _look_at(self, path: bytes, at: int = AT_FDCWD) -> tuple[int, ...]:
        self._call("statx", at, path, NOFOLLOW, _BASIC, self._status)
        return _STATX.unpack_from(self._status)

    def _key(self, path: bytes) -> tuple[int, int]:
        return self._of(self._look_at(path))

    def _of(self, found: tuple[int, ...]) -> tuple[int, int]:
        """What tells a file from all others: its device and number."""
        return found[16] << 32 | found[17], found[5]

    def _packed(self, found: tuple[int, ...]) -> bytes:
        """Attributes as the host takes them."""
        return fuse.ATTR.pack(*self._attributes(found))

    def _attributes(self, found: tuple[int, ...]) -> tuple[int, ...]:
        blksize, nlink, uid, gid, mode, ino, size, blocks, atime, atime_ns, *rest = found
        ctime, ctime_ns, mtime, mtime_ns, major, minor, dev_major, dev_minor = rest
        rdev = (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12
        ino = self.number(ino, dev_major << 32 | dev_minor)
        return (
            *(ino, size, blocks, atime, mtime, ctime, atime_ns, mtime_ns, ctime_ns),
            *(mode, nlink, uid, gid, rdev, blksize, 0),
        )

    def number(self, ino: int, device: int) -> int:
        """An inode's number for the host, to which all is one device.

        In a file system of many devices, as the subvolumes of btrfs are, each has its numbers.
        """
        at = self._devices.setdefault(device, len(self._devices))
        return ino ^ at << 48

    def _within(self, parent: Node, name: bytes) -> bytes:
        """A name in a directory."""
        return parent.path + b"/" + name if parent.parent else b"/" + name

    def _entry(self, parent: Node, name: bytes) -> bytes:
        """Tell the host of a file that is there now."""
        return self._told(parent, name, self._look_at(self._within(parent, name)))

    def _told(self, parent: Node, name: bytes, found: tuple[int, ...]) -> bytes:
        node, forever = self.nodes.tell(self._of(found), parent, name), fuse.FOREVER
        return fuse.ENTRY_ATTR.pack(node.id, 0, forever, forever, 0, 0, *self._attributes(found))

    def getattr(self, id: int, body: memoryview) -> bytes:
        """Attributes of a file."""
        return fuse.ATTR_OUT.pack(fuse.FOREVER, 0, 0) + self._packed(self._look(self.nodes[id]))

    # Changing them

    def setattr(self, id: int, body: memoryview) -> bytes:
        """Change attributes; the order is that of the kernel: owners first, as they clear modes."""
        node = self.nodes[id]
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
                self._call("fchownat", AT_FDCWD, node.path, uid, gid, NOFOLLOW)
        if valid & fuse.ATTR_MODE:
            self._chmod(node, stat.S_IMODE(mode))
        if valid & (fuse.ATTR_ATIME | fuse.ATTR_MTIME):
            self._set_times(node, valid, times)
        return self.getattr(id, body)

    def _truncate(self, node: Node, size: int) -> None:
        if node.fd >= 0:
            self._call("ftruncate", node.fd, size)
        else:
            self._call("truncate", node.path, size)

    def _chmod(self, node: Node, mode: int) -> None:
        if node.fd >= 0:
            self._call("fchmod", node.fd, mode)
        else:
            self._call("fchmodat", AT_FDCWD, node.path, mode)

    def _drop_suid(self, node: Node) -> None:
        """As the kernel does when somebody else writes to a program."""
        mode = stat.S_IMODE(self._look(node)[4])
        drop = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if mode & drop:
            self._chmod(node, mode & ~drop)

    def _set_times(self, node: Node, valid: int, times: list[int]) -> None:
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
            self._call("utimensat", AT_FDCWD, node.path, both, NOFOLLOW)

    # Extended attributes

    def _xattr(self, verb: str, node: Node, *args: Any) -> int:
        if node.fd >= 0:
            return self._call(f"f{verb}xattr", node.fd, *args)
        return self._call(f"l{verb}xattr", node.path, *args)

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
        size = self._xattr(verb, self.nodes[id], *name, buffer if room else None, room)
        return bytes(buffer[:size]) if room else fuse.GETXATTR_OUT.pack(size)

    def setxattr(self, id: int, body: memoryview) -> bytes:
        """Set an extended attribute."""
        size, flags = fuse.SETXATTR_IN.unpack_from(body)
        name, _, rest = bytes(body[fuse.SETXATTR_IN.size :]).partition(b"\0")
        self._xattr("set", self.nodes[id], name, rest[:size], size, flags)
        return b""

    def removexattr(self, id: int, body: memoryview) -> bytes:
        """Remove an extended attribute."""
        self._xattr("remove", self.nodes[id], bytes(body).partition(b"\0")[0])
        return b""

    def statfs(self, id: int, body: memoryview) -> bytes:
        """How full the file system is."""
        buffer = bytearray(120)
        self._call("statfs", b"/", buffer)
        _, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize = _STATFS.unpack_from(buffer)
        sizes = bsize, namelen, frsize or bsize
        return fuse.STATFS_OUT.pack(blocks, bfree, bavail, files, ffree, *sizes)
