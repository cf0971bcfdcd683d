# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: directories."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rumpel.errors import RumpelError
from rumpel.os.base import VOID, AnyPath, Base, FileOrPath, at

if TYPE_CHECKING:
    from rumpel import _native

_DIRENT = struct.Struct("<QqHB")
_BUFFER = 32768
_DT_UNKNOWN, _DT_DIR, _DT_REG, _DT_LNK = 0, 4, 8, 10


class Directories(Base):
    """Functions of :mod:`os` on directories."""

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        self._mkdirat = self._bind("mkdirat", flags=VOID, paths=2)
        self._getdents = self._bind("getdents64")
        self._opendir = self._bind("openat", paths=2)
        self._closedir = self._bind("close", flags=VOID)

    def mkdir(self, path: AnyPath, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """Make a directory."""
        self._mkdirat(at(dir_fd), path, mode)

    def makedirs(self, name: AnyPath, mode: int = 0o777, exist_ok: bool = False) -> None:
        """Make a directory and all that lead to it."""
        name = os.fspath(name)
        head, tail = os.path.split(name)
        if not tail:
            head, tail = os.path.split(head)
        if head and tail and not self.path.exists(head):
            with contextlib.suppress(FileExistsError):
                self.makedirs(head, exist_ok=exist_ok)
            if tail in (".", b"."):
                return
        try:
            self.mkdir(name, mode)
        except OSError:
            if not exist_ok or not self.path.isdir(name):
                raise

    def removedirs(self, name: AnyPath) -> None:
        """Remove an empty directory, and those above it as long as they are empty."""
        rmdir: Callable[[Any], None] = self.rmdir  # type: ignore[attr-defined]
        rmdir(name)
        head, tail = os.path.split(os.fspath(name))
        if not tail:
            head, tail = os.path.split(head)
        while head and tail:
            try:
                rmdir(head)
            except OSError:
                break
            head, tail = os.path.split(head)

    def listdir(self, path: FileOrPath = ".") -> list[Any]:
        """Names in a directory: str, or bytes for a path of bytes."""
        with self.scandir(path) as entries:
            return [entry.name for entry in entries]

    def scandir(self, path: FileOrPath = ".") -> ScandirIterator:
        """Iterate over the entries of a directory."""
        return ScandirIterator(self, path)

    def walk(
        self,
        top: AnyPath,
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,
    ) -> Iterator[tuple[Any, list[Any], list[Any]]]:
        """Walk a tree of directories, as :func:`os.walk` does."""
        stack: list[Any] = [os.fspath(top)]
        while stack:
            here = stack.pop()
            if isinstance(here, tuple):
                yield here
                continue
            try:
                with self.scandir(here) as entries:
                    found = list(entries)
            except OSError as error:
                if onerror is not None:
                    onerror(error)
                continue
            dirs = [e.name for e in found if _is_dir(e)]
            rest = [e.name for e in found if not _is_dir(e)]
            if topdown:
                yield here, dirs, rest
                below = [os.path.join(here, name) for name in dirs]  # noqa: PTH118
                stack += [p for p in reversed(below) if followlinks or not self.path.islink(p)]
            else:
                stack.append((here, dirs, rest))
                stack += [
                    e.path
                    for e in reversed(found)
                    if _is_dir(e) and (followlinks or not e.is_symlink())
                ]

    def _lstat(self, path: Any, follow_symlinks: bool) -> os.stat_result:
        result: os.stat_result = self.stat(path, follow_symlinks=follow_symlinks)  # type: ignore[attr-defined]
        return result


def _is_dir(entry: DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


class DirEntry:
    """An entry of a directory, as :class:`os.DirEntry`.

    Attributes:
        name: within the directory.
        path: the directory's path as it was given, and the name.
    """

    __slots__ = ("_ino", "_lstat", "_os", "_stat", "_type", "name", "path")

    def __init__(self, owner: Directories, name: Any, path: Any, ino: int, kind: int) -> None:
        self.name = name
        self.path = path
        self._os = owner
        self._ino = ino
        self._type = kind
        self._stat: os.stat_result | None = None
        self._lstat: os.stat_result | None = None

    def inode(self) -> int:
        """Its inode number."""
        return self._ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Look at the file; the result is kept."""
        if self._lstat is None and not follow_symlinks:
            self._lstat = self._os._lstat(self.path, False)
        if self._stat is None and follow_symlinks:
            self._stat = self._os._lstat(self.path, True)
        result = self._stat if follow_symlinks else self._lstat
        assert result is not None
        return result

    def _is(self, kind: int, follow_symlinks: bool) -> bool:
        if self._type != _DT_UNKNOWN and not (follow_symlinks and self._type == _DT_LNK):
            return self._type == kind
        try:
            return self.stat(follow_symlinks=follow_symlinks).st_mode >> 12 == kind
        except FileNotFoundError:
            return False

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Is it a directory?"""
        return self._is(_DT_DIR, follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Is it a regular file?"""
        return self._is(_DT_REG, follow_symlinks)

    def is_symlink(self) -> bool:
        """Is it a symbolic link?"""
        return self._is(_DT_LNK, False)

    def is_junction(self) -> bool:
        """Never on Linux."""
        return False

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"


class ScandirIterator:
    """What scandir returns: an iterator and a context manager."""

    _fd = -1

    def __init__(self, owner: Directories, path: FileOrPath) -> None:
        self._os = owner
        self._batch: list[DirEntry] = []
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if isinstance(path, int):
            self._prefix: Any = ""
            self._fd = owner._opendir(path, ".", flags)
        else:
            given = os.fspath(path)
            slash: Any = b"/" if isinstance(given, bytes) else "/"
            self._prefix = given if given.endswith(slash) else given + slash
            self._fd = owner._opendir(at(None), path, flags)

    def _read(self) -> list[DirEntry]:
        """The next entries, the last of them first; none if there are no more."""
        buffer = bytearray(_BUFFER)
        as_bytes = isinstance(self._prefix, bytes)
        found: list[DirEntry] = []
        while self._fd >= 0 and not found:
            size = self._os._getdents(self._fd, buffer, _BUFFER)
            if size == 0:
                self.close()
            at = 0
            while at < size:
                ino, _, length, kind = _DIRENT.unpack_from(buffer, at)
                raw = bytes(buffer[at + _DIRENT.size : buffer.index(0, at + _DIRENT.size)])
                at += length
                if raw not in (b".", b".."):
                    name = raw if as_bytes else os.fsdecode(raw)
                    found.append(DirEntry(self._os, name, self._prefix + name, ino, kind))
        found.reverse()
        return found

    def __iter__(self) -> ScandirIterator:
        return self

    def __next__(self) -> DirEntry:
        if not self._batch:
            self._batch = self._read()
            if not self._batch:
                raise StopIteration
        return self._batch.pop()

    def close(self) -> None:
        """Close the directory."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._os._closedir(fd)

    def __enter__(self) -> ScandirIterator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, RumpelError):
            self.close()
