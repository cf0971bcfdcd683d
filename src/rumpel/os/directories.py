# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: directories."""

from __future__ import annotations

import _struct as struct
import os
from _warnings import warn
from types import GenericAlias, TracebackType

from rumpel.errors import RumpelError
from rumpel.os.base import NUMBERS, VOID, Base, at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, AnyStr, Generic, overload

    from rumpel import _native
    from rumpel.os.base import AnyPath, FileOrPath
else:
    AnyStr = None

    class Generic:
        """As typing's, which each start would have to import."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


_DIRENT = struct.Struct("<QqHB")
_BUFFER = 32768
_DT_UNKNOWN, _DT_DIR, _DT_REG, _DT_LNK = 0, 4, 8, 10

Entry = tuple[bytes, int, int]
"""Name, inode number and type."""


class Directories(Base):
    """Functions of :mod:`os` on directories.

    ``makedirs``, ``walk`` and the like are the standard library's own, on top of these.
    """

    stat: Callable[..., os.stat_result]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        self._mkdirat = self._bind("mkdirat", flags=VOID | NUMBERS, paths=2)
        self._getdents = self._bind("getdents64")
        self._opendir = self._bind("openat", paths=2, flags=NUMBERS)
        self._closedir = self._bind("close", flags=VOID | NUMBERS)

    def mkdir(self, path: AnyPath, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        """Make a directory."""
        self._mkdirat(at(dir_fd), path, mode)

    if TYPE_CHECKING:

        @overload
        def listdir(self, path: int | str | os.PathLike[str] | None = None) -> list[str]: ...
        @overload
        def listdir(self, path: bytes | os.PathLike[bytes]) -> list[bytes]: ...

    def listdir(self, path: FileOrPath | None = None) -> list[Any]:
        """Names in a directory: str, or bytes for a path of bytes."""
        fd, prefix = self._directory(path)
        try:
            names = [name for batch in self._batches(fd) for name, _, _ in batch]
        finally:
            self._closedir(fd)
        return names if isinstance(prefix, bytes) else [os.fsdecode(name) for name in names]

    if TYPE_CHECKING:

        @overload
        def scandir(
            self, path: int | str | os.PathLike[str] | None = None
        ) -> ScandirIterator[str]: ...
        @overload
        def scandir(self, path: bytes | os.PathLike[bytes]) -> ScandirIterator[bytes]: ...

    def scandir(self, path: FileOrPath | None = None) -> ScandirIterator[Any]:
        """Iterate over the entries of a directory."""
        return ScandirIterator(self, path)

    def _directory(self, path: FileOrPath | None) -> tuple[int, Any]:
        """Open a directory; and what stands before the names in the paths of its entries."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        if isinstance(path, int):
            # A descriptor of its own, since the position belongs to the caller.
            try:
                return self._opendir(path, ".", flags), ""
            except OSError as error:
                error.filename = None
                raise
        given = "." if path is None else self.fspath(path)
        slash: Any = b"/" if isinstance(given, bytes) else "/"
        fd = self._opendir(at(None), given, flags)
        if path is None:
            return fd, "./"
        return fd, given if given.endswith(slash) else given + slash

    def _batches(self, fd: int) -> Iterator[list[Entry]]:
        """What getdents64(2) returns until the end, without the directory and its parent."""
        buffer = bytearray(_BUFFER)
        while size := self._getdents(fd, buffer, _BUFFER):
            batch: list[Entry] = []
            at = 0
            while at < size:
                ino, _, length, kind = _DIRENT.unpack_from(buffer, at)
                name = bytes(buffer[at + _DIRENT.size : buffer.index(0, at + _DIRENT.size)])
                at += length
                if name not in (b".", b".."):
                    batch.append((name, ino, kind))
            yield batch


class DirEntry(Generic[AnyStr]):
    """An entry of a directory, as :class:`os.DirEntry`.

    Attributes:
        name: within the directory.
        path: the directory's path as it was given, and the name.
    """

    __slots__ = ("_dir_fd", "_ino", "_lstat", "_os", "_stat", "_type", "name", "path")

    _dir_fd: int | None
    _ino: int
    _lstat: os.stat_result | None
    _os: Directories
    _stat: os.stat_result | None
    _type: int
    name: AnyStr
    path: AnyStr

    def __new__(cls) -> DirEntry[AnyStr]:
        """Refuse to make one: scandir does."""
        raise TypeError("cannot create 'DirEntry' instances")

    def inode(self) -> int:
        """Its inode number."""
        return self._ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Look at the file; the result is kept."""
        follows = follow_symlinks and self.is_symlink()
        known = self._stat if follows else self._lstat
        if known is None:
            at = self._dir_fd
            known = self._os.stat(self.path, dir_fd=at, follow_symlinks=follow_symlinks)
            if follows:
                self._stat = known
            else:
                self._lstat = known
        return known

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
        raise host_path_error(self)

    def __kernel_fspath__(self, native: _native.Kernel) -> Any:
        if native is not self._os._native:
            raise TypeError(f"{self!r} is an entry of another kernel's directory")
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"


def host_path_error(path: object) -> TypeError:
    """What to raise when a kernel's path is about to be taken for the host's."""
    return TypeError(
        f"{path!r} belongs to a kernel, not to the host: "
        "use the kernel's open and os, or str() if only the name is meant"
    )


class ScandirIterator(Generic[AnyStr]):
    """What scandir returns: an iterator and a context manager."""

    _fd = -1

    def __init__(self, owner: Directories, path: FileOrPath | None) -> None:
        self._os = owner
        self._dir_fd = path if isinstance(path, int) else None
        self._entries: list[DirEntry[AnyStr]] = []
        self._fd, self._prefix = owner._directory(path)
        self._batches = owner._batches(self._fd)

    def _entry(self, entry: Entry) -> DirEntry[AnyStr]:
        made: DirEntry[Any] = object.__new__(DirEntry)
        raw, made._ino, made._type = entry
        made.name = raw if isinstance(self._prefix, bytes) else os.fsdecode(raw)
        made.path = self._prefix + made.name
        made._os = self._os
        made._dir_fd = self._dir_fd
        made._stat = made._lstat = None
        return made

    def __iter__(self) -> ScandirIterator[AnyStr]:
        return self

    def __next__(self) -> DirEntry[AnyStr]:
        if not self._entries:
            self._entries = [self._entry(e) for e in next(self._batches, ())]
            self._entries.reverse()
        if not self._entries:
            self.close()
            raise StopIteration
        return self._entries.pop()

    def close(self) -> None:
        """Close the directory."""
        self._entries.clear()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._batches.close()  # type: ignore[attr-defined]
            self._os._closedir(fd)

    def __enter__(self) -> ScandirIterator[AnyStr]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0 and self._os._alive():
            warn(f"unclosed scandir iterator {self!r}", ResourceWarning, source=self, stacklevel=2)
        # With the kernel gone the descriptor is, too.
        try:  # noqa: SIM105 - contextlib takes long to import
            self.close()
        except (OSError, RumpelError):
            pass
