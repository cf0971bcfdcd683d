# SPDX-License-Identifier: GPL-2.0-only
"""Operations of FUSE on directories."""

from __future__ import annotations

import os as host
from collections import OrderedDict
from struct import Struct
from typing import TYPE_CHECKING

from rumpel.images.fuse import protocol as fuse
from rumpel.images.fuse.attributes import AT_FDCWD
from rumpel.images.fuse.names import Names
from rumpel.images.fuse.nodes import Node

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["Directories"]

_DIRENT = Struct("<QqHB")
_BUFFER = 32 << 10
_KEEP = 32
_NO_ENTRY = bytes(fuse.ENTRY_ATTR.size)


class _Open:
    """A directory that is read.

    Attributes:
        fd: of the kernel.
        at: where the first of the entries that were read is.
        entries: those that the host has not seen: number, what follows, type and name.
    """

    __slots__ = ("at", "entries", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.at = 0
        self.entries: list[tuple[int, int, int, bytes]] = []


class Directories(Names):
    """Listing directories. The host opens none: it says from where it wants to read on.

    Args:
        kernel: whose root directory is served.
        read_only: is nothing to be written?
    """

    def __init__(self, kernel: Kernel, read_only: bool) -> None:
        super().__init__(kernel, read_only)
        self._listed: OrderedDict[Node, _Open] = OrderedDict()
        self._entries = bytearray(_BUFFER)

    def _release(self, node: Node) -> None:
        self._end_list(node)
        super()._release(node)

    def _end_list(self, node: Node) -> None:
        if node in self._listed:
            self._os.close(self._listed.pop(node).fd)

    def readdir(self, id: int, body: memoryview) -> bytes:
        """Some entries of a directory."""
        return self._list(self.nodes[id], body, False)

    def readdirplus(self, id: int, body: memoryview) -> bytes:
        """Some entries of a directory, and all about them."""
        return self._list(self.nodes[id], body, True)

    def fsyncdir(self, id: int, body: memoryview) -> bytes:
        """Let a directory survive a crash."""
        self._os.fsync(self._directory(self.nodes[id]).fd)
        return b""

    def _list(self, node: Node, body: memoryview, plus: bool) -> bytes:
        _, offset, size, _ = fuse.READ_IN.unpack_from(body)
        opened = self._directory(node)
        if offset != opened.at:
            # Not lseek() alone: from the end, where ext4 has found nothing, it does not come back.
            self._end_list(node)
            opened = self._directory(node)
            opened.at = self._os.lseek(opened.fd, offset, host.SEEK_SET)
        out: list[bytes] = []
        room = size
        while opened.entries or self._read(opened):
            ino, following, kind, name = opened.entries[-1]
            length = fuse.DIRENT.size + len(name)
            room -= (length + 7 & ~7) + (len(_NO_ENTRY) if plus else 0)
            if room < 0:
                break
            opened.entries.pop()
            opened.at = following
            entry = b""
            if plus:
                entry = _NO_ENTRY
                if name not in (b".", b".."):
                    try:
                        entry = self._told(node, name, self._look_at(name, opened.fd))
                    except FileNotFoundError:
                        room += (length + 7 & ~7) + len(_NO_ENTRY)
                        continue  # it was there when the directory was read
                    except OSError:
                        pass  # damaged: there is a name, and nothing behind it
            number = self.number(ino, node.key[0])
            out += entry, fuse.DIRENT.pack(number, following, len(name), kind), name
            out.append(bytes(-length & 7))
        return b"".join(out)

    def _directory(self, node: Node) -> _Open:
        """An open directory; those that were used last stay open."""
        opened = self._listed.get(node)
        if opened:
            self._listed.move_to_end(node)
            return opened
        flags = host.O_RDONLY | host.O_DIRECTORY | host.O_CLOEXEC | host.O_NOFOLLOW
        at = (node.fd, b".") if node.fd >= 0 else (AT_FDCWD, node.path)
        opened = self._listed[node] = _Open(self._call("openat", *at, flags, 0))
        if len(self._listed) > _KEEP:
            self._end_list(next(iter(self._listed)))
        return opened

    def _read(self, opened: _Open) -> bool:
        """Read more; in reverse, the next one last."""
        size = self._call("getdents64", opened.fd, self._entries, _BUFFER)
        at = 0
        while at < size:
            ino, following, length, kind = _DIRENT.unpack_from(self._entries, at)
            start = at + _DIRENT.size
            name = bytes(self._entries[start : self._entries.index(0, start)])
            opened.entries.append((ino, following, kind, name))
            at += length
        opened.entries.reverse()
        return bool(size)
