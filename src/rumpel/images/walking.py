# SPDX-License-Identifier: GPL-2.0-only
"""List a tree where the kernel is; :mod:`rumpel.images.found` is the other end.

Source: statx(2).
"""

from __future__ import annotations

import os as host
import stat
from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.images.jobs import Where

__all__ = ["walk"]

Entry = list[Any]

_AT_FDCWD, _NOFOLLOW, _BASIC = -100, 0x100, 0x7FF
_STATX = Struct("<4xI8xIIIH2xQQQ8xqI4x16xqI4xqI4xIIII")
"""Block size, links, uid, gid, mode, inode, size, blocks, atime, ctime, mtime, rdev, dev."""
_S = 1_000_000_000
_ENTRIES, _LENGTH = 64, 64 << 10
"""How many entries a message has at most, and how long their names are together."""


def walk(where: Where, path: str, depth: int, follow: bool) -> Iterator[tuple[Any, Any]]:
    """The entries of a tree, each before what is in it, in the order of their names.

    Args:
        where: the worker.
        path: of its top.
        depth: how far down; 0 is the top alone, below 0 all.
        follow: if the top is a symbolic link, take what it leads to.

    Returns:
        Lists of ``[path, statistics, where a symbolic link leads]`` each, paths relative to the
        top; or of ``[path, None, reason]``.
    """
    batch: list[Entry] = []
    length = 0
    for entry in _Walk(where.kernel, path).run(depth, follow):
        batch.append(entry)
        length += len(entry[0]) + len(entry[2] or "")
        if len(batch) == _ENTRIES or length > _LENGTH:
            yield batch, b""
            batch, length = [], 0
    if batch:
        yield batch, b""


class _Walk:
    def __init__(self, kernel: Any, top: str) -> None:
        self.os = kernel.os
        self.call = kernel.syscall
        self.top = top.rstrip("/")
        self.status = bytearray(256)

    def run(self, depth: int, follow: bool) -> Iterator[Entry]:
        """All of it; not by functions that call each other, as trees may be deeper."""
        top = self.entry("", self.top or "/", 0 if follow else _NOFOLLOW)
        yield top
        if not depth or not stat.S_ISDIR(top[1][0]):
            return
        ahead: list[Iterator[str]] = []
        above: list[str] = [""]
        yield from self.enter("", ahead)
        while ahead:
            name = next(ahead[-1], None)
            if name is None:
                ahead.pop()
                above.pop()
                continue
            rel = f"{above[-1]}/{name}" if above[-1] else name
            try:
                entry = self.entry(rel, f"{self.top}/{rel}", _NOFOLLOW)
            except OSError as error:
                yield [rel, None, error.strerror]
                continue
            yield entry
            if stat.S_ISDIR(entry[1][0]) and len(ahead) != depth:
                above.append(rel)
                before = len(ahead)
                yield from self.enter(rel, ahead)
                if len(ahead) == before:
                    above.pop()

    def enter(self, rel: str, ahead: list[Iterator[str]]) -> Iterator[Entry]:
        try:
            names = self.os.listdir(f"{self.top}/{rel}" if rel else self.top or "/")
        except OSError as error:
            yield [rel, None, error.strerror]
        else:
            ahead.append(iter(sorted(names)))

    def entry(self, rel: str, path: str, flags: int) -> Entry:
        self.call("statx", _AT_FDCWD, path, flags, _BASIC, self.status)
        _, links, uid, gid, mode, inode, size, blocks, *rest = _STATX.unpack_from(self.status)
        atime, atime_ns, ctime, ctime_ns, mtime, mtime_ns, major, minor, *device = rest
        numbers = [
            mode,
            inode,
            host.makedev(*device),
            links,
            uid,
            gid,
            size,
            atime * _S + atime_ns,
            mtime * _S + mtime_ns,
            ctime * _S + ctime_ns,
            blocks,
            host.makedev(major, minor),
        ]
        return [rel, numbers, self.os.readlink(path) if stat.S_ISLNK(mode) else None]
