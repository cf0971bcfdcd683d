# SPDX-License-Identifier: GPL-2.0-only
"""List a tree where the kernel is; :mod:`rumpel.images.found` is the other end.

Source: statx(2).
"""

from __future__ import annotations

import os as host
import stat
from _struct import Struct

from rumpel import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rumpel.images.jobs import Where

__all__ = ["STATX_SIZE", "walk", "walk_names"]

STATX_SIZE = 256
_AT_FDCWD, _NOFOLLOW, _BASIC = -100, 0x100, 0x7FF
_MODE, _MODE_AT = Struct("H"), 28
"""stx_mode, and where it is."""
_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY
_ENTRIES, _LENGTH = 256, 64 << 10
"""How many entries a message has at most, and how long their names are together."""
_NAMES = 1000
"""The same of names alone."""


def walk(where: Where, path: str, depth: int, follow: bool) -> Iterator[tuple[Any, Any]]:
    """The entries of a tree, each before what is in it, in the order of their names.

    Args:
        where: the worker.
        path: of its top.
        depth: how far down; 0 is the top alone, below 0 all.
        follow: if the top is a symbolic link, take what it leads to.

    Returns:
        Messages ``[paths, targets, failures]``, and as many struct statx as there are paths,
        which are relative to the top. Targets are those of symbolic links, as pairs of an index
        and a path; failures are pairs of a path and a reason.
    """
    return _Walk(where.kernel, path).run(depth, follow)


def walk_names(where: Where, path: str, depth: int) -> Iterator[tuple[Any, Any]]:
    """The same by names alone: of what is no directory the inode is not read.

    Args:
        where: the worker.
        path: of its top.
        depth: how far down; 0 is the top alone, below 0 all.

    Returns:
        Messages, which are failures as of :func:`walk`, and bytes: the paths, each with a 0 behind.
    """
    found = bytearray(STATX_SIZE)
    where.kernel.syscall("statx", _AT_FDCWD, path.rstrip("/") or "/", _NOFOLLOW, _BASIC, found)
    is_directory = stat.S_ISDIR(_mode(found, 0))
    return _Names(where.kernel, path, is_directory).run(depth)


class _Level:
    """A directory that is gone through.

    Attributes:
        prefix: what stands before its names.
        names: all of them, in order.
        at: the next one.
        first, end, data: of those that were looked at, and what was found.
        more: which of them are directories or links, the last first.
        error: the errno of the one at ``end``, or 0.
    """

    __slots__ = ("at", "data", "end", "error", "first", "more", "names", "prefix")

    def __init__(self, prefix: str, names: list[str]) -> None:
        self.prefix = prefix
        self.names = names
        self.at = self.first = self.end = self.error = 0
        self.data = b""
        self.more: list[int] = []


class _Walk:
    def __init__(self, kernel: Any, top: str) -> None:
        self.os = kernel.os
        self.call = kernel.syscall
        self.native: _native.Kernel = kernel._native
        self.top = top.rstrip("/")
        self.room = bytearray(_ENTRIES * STATX_SIZE)
        self.levels: list[_Level] = []
        self.clear()

    def clear(self) -> None:
        self.paths: list[str] = []
        self.data: list[bytes | bytearray] = []
        self.targets: list[tuple[int, str]] = []
        self.failures: list[tuple[str, str | None]] = []
        self.length = 0

    def batch(self) -> tuple[Any, Any]:
        """What was found since the last one."""
        said = (self.paths, self.targets, self.failures), b"".join(self.data)
        self.clear()
        return said

    def run(self, depth: int, follow: bool) -> Iterator[tuple[Any, Any]]:
        """All of it; not by functions that call each other, as trees may be deeper."""
        levels = self.levels
        if self.begin(0 if follow else _NOFOLLOW) and depth:
            self.enter("")
        while levels:
            if len(self.paths) >= _ENTRIES or self.length > _LENGTH:
                yield self.batch()
            level = levels[-1]
            if level.at < level.end:
                self.take(level, len(levels) != depth)
            elif level.error:
                error = OSError(level.error, host.strerror(level.error))
                self.fail(level.prefix + level.names[level.at], error)
                level.at += 1
                level.error = 0
            elif level.at < len(level.names):
                self.look(level)
            else:
                levels.pop()
        yield self.batch()

    def begin(self, flags: int) -> bool:
        """Have the top; is it a directory?"""
        path, found = self.top or "/", bytearray(STATX_SIZE)
        self.call("statx", _AT_FDCWD, path, flags, _BASIC, found)
        if stat.S_ISLNK(_mode(found, 0)):
            self.targets.append((0, self.os.readlink(path)))
        self.paths.append("")
        self.data.append(found)
        return stat.S_ISDIR(_mode(found, 0))

    def open(self, rel: str) -> int:
        fd: int = self.os.open(f"{self.top}/{rel}" if rel else self.top or "/", _DIRECTORY)
        return fd

    def enter(self, rel: str) -> None:
        """See what is in a directory."""
        try:
            fd = self.open(rel)
            try:
                names = _native.list_names(self.native, fd)
            finally:
                self.os.close(fd)
        except OSError as error:
            self.fail(rel, error)
        else:
            names.sort()
            self.levels.append(_Level(f"{rel}/" if rel else "", names))

    def look(self, level: _Level) -> None:
        """Look at what comes next in a directory."""
        names = level.names[level.at : level.at + _ENTRIES]
        try:
            fd = self.open(level.prefix)
            try:
                count, level.error, more = _native.look(self.native, fd, names, self.room)
            finally:
                self.os.close(fd)
        except OSError as error:
            self.fail(level.prefix.rstrip("/"), error)
            level.at = level.end = len(level.names)
            return
        level.first, level.end = level.at, level.at + count
        level.data = bytes(self.room[: count * STATX_SIZE])
        level.more = [level.first + index for index in reversed(more)]

    def take(self, level: _Level, enters: bool) -> None:
        """Tell of what was looked at: up to what leads further, or as much as a message has."""
        start = level.at
        end = min(level.end, start + _ENTRIES - len(self.paths))
        if level.more and level.more[-1] < end:
            end = level.more[-1]
            level.more.pop()
            level.at = end + 1
            self.tell(level, start, end)
            self.take_further(level, end, enters)
        else:
            level.at = end
            self.tell(level, start, end)

    def tell(self, level: _Level, start: int, end: int) -> None:
        names, prefix, first = level.names[start:end], level.prefix, level.first
        self.paths += [prefix + name for name in names]
        self.data.append(level.data[(start - first) * STATX_SIZE : (end - first) * STATX_SIZE])
        self.length += sum(map(len, names)) + len(prefix) * len(names)

    def take_further(self, level: _Level, index: int, enters: bool) -> None:
        """A directory or a symbolic link."""
        rel = level.prefix + level.names[index]
        if stat.S_ISLNK(_mode(level.data, index - level.first)):
            try:
                target = self.os.readlink(f"{self.top}/{rel}")
            except OSError as error:
                self.fail(rel, error)
                return
            self.targets.append((len(self.paths), target))
            self.length += len(target)
            self.tell(level, index, index + 1)
        else:
            self.tell(level, index, index + 1)
            if enters:
                self.enter(rel)

    def fail(self, rel: str, error: OSError) -> None:
        self.failures.append((rel, error.strerror))
        self.length += len(rel)


class _Names:
    def __init__(self, kernel: Any, top: str, is_directory: bool) -> None:
        self.native: _native.Kernel = kernel._native
        self.top = top.rstrip("/")
        self.levels: list[tuple[str, Iterator[str], set[str]]] = []
        self.paths = [""]
        self.is_directory = is_directory
        self.failures: list[tuple[str, str | None]] = []
        self.length = 0

    def run(self, depth: int) -> Iterator[tuple[Any, Any]]:
        levels, paths = self.levels, self.paths
        if depth and self.is_directory:
            self.enter("")
        while levels:
            prefix, names, directories = levels[-1]
            for name in names:
                rel = prefix + name
                paths.append(rel)
                if name in directories and len(levels) != depth:
                    self.enter(rel)
                    break
                if len(paths) >= _NAMES:
                    break
            else:
                levels.pop()
            if len(paths) >= _NAMES or self.length > _LENGTH:
                yield self.batch()
        yield self.batch()

    def enter(self, rel: str) -> None:
        """See what is in a directory."""
        try:
            names, directories = _native.list_kinds(self.native, f"{self.top}/{rel}")
        except OSError as error:
            self.failures.append((rel, error.strerror))
            self.length += len(rel)
        else:
            names.sort()
            prefix = f"{rel}/" if rel else ""
            self.levels.append((prefix, iter(names), set(directories)))

    def batch(self) -> tuple[Any, Any]:
        """What was found since the last one."""
        said = self.failures.copy(), host.fsencode("\0".join([*self.paths, ""]))
        self.paths.clear()
        self.failures.clear()
        self.length = 0
        return said


def _mode(data: bytes | bytearray, index: int) -> int:
    mode: int = _MODE.unpack_from(data, index * STATX_SIZE + _MODE_AT)[0]
    return mode
