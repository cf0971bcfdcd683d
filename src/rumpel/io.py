# SPDX-License-Identifier: GPL-2.0-only
"""Files of a library kernel as :mod:`io` objects: ``kernel.open``."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from rumpel.descriptor import Descriptor, descriptors_of
from rumpel.errors import RumpelError
from rumpel.os.base import c_int
from rumpel.swapped import Names

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from rumpel.os import Os

__all__ = ["RawFile", "check_mode", "io_module", "opener"]

_MODES = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
}
_BUFFER = io.DEFAULT_BUFFER_SIZE
_ENCODING = "utf-8"


class RawFile(io.RawIOBase):
    """An unbuffered file, as :class:`io.FileIO`; a subclass for each kernel says whose it is.

    Attributes:
        name: the path or descriptor it was opened with.
        mode: how it was opened, as :class:`io.FileIO` tells it.
        keeps: anything that shall live for as long as the file is open.
    """

    keeps: object = None
    _fd = -1
    _closefd = True
    _os: Os
    _descriptor: type[Descriptor]

    def __init__(
        self,
        file: Any,
        mode: str = "r",
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> None:
        if not isinstance(mode, str):
            raise TypeError(f"argument 'mode' must be str, not {type(mode).__name__}")
        kind = mode.replace("b", "").replace("+", "")
        if kind not in _MODES or mode.count("+") > 1:
            raise ValueError(f"invalid mode: {mode!r}")
        self._closefd = closefd
        self._plus = "+" in mode
        self._readable = kind == "r" or self._plus
        self._writable = kind != "r" or self._plus
        self._kind = kind
        self._seekable: bool | None = None
        self.name = file
        flags = _MODES[kind]
        if self._plus:
            flags = flags & ~os.O_ACCMODE | os.O_RDWR
        self._open(file, flags, opener)

    def _open(self, file: Any, flags: int, opener: Callable[[Any, int], int] | None) -> None:
        if isinstance(file, int):
            if file < 0:
                raise ValueError("negative file descriptor")
            self._fd = self._descriptor(c_int(file))
        else:
            if not self._closefd:
                raise ValueError("Cannot use closefd=False with file name")
            path = self._os.fspath(file)
            flags |= os.O_CLOEXEC
            fd = opener(path, flags) if opener else self._os.open(path, flags, 0o666)
            if fd < 0:
                raise ValueError(f"opener returned {fd}")
            self._fd = self._descriptor(fd)
        try:
            status = self._os.fstat(self._fd)
            if status.st_mode & 0o170000 == 0o040000:
                raise IsADirectoryError(21, os.strerror(21), file)
        except OSError:
            if not isinstance(file, int):
                self.close()
            self._fd = -1
            raise
        self._blksize = status.st_blksize if status.st_blksize > 1 else _BUFFER
        if self._kind == "a":
            with contextlib.suppress(OSError):
                self._os.lseek(self._fd, 0, os.SEEK_END)

    @property
    def mode(self) -> str:
        """How it was opened, always with a b."""
        if self._kind == "r" or self._kind == "w":
            return ("rb+" if self._readable else "wb") if self._writable else "rb"
        return f"{self._kind}b{'+' if self._plus else ''}"

    @property
    def closefd(self) -> bool:
        """Is the descriptor closed with the file?"""
        return self._closefd

    def fileno(self) -> int:
        """The descriptor in the kernel."""
        self._check()
        return self._fd

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def readable(self) -> bool:
        """Was it opened for reading?"""
        self._check()
        return self._readable

    def writable(self) -> bool:
        """Was it opened for writing?"""
        self._check()
        return self._writable

    def seekable(self) -> bool:
        """Has it a position?"""
        self._check()
        if self._seekable is None:
            try:
                self._os.lseek(self._fd, 0, os.SEEK_CUR)
                self._seekable = True
            except OSError:
                self._seekable = False
        return self._seekable

    def isatty(self) -> bool:
        """Is it a terminal?"""
        self._check()
        return self._os.isatty(self._fd)

    def readinto(self, buffer: Buffer, /) -> int | None:
        """Read into a buffer: the number of bytes, 0 at the end, None if there are none now."""
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation("File not open for reading")
        try:
            return self._os._readinto(self._fd, buffer)
        except BlockingIOError:
            return None

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most so many bytes, all that is left by default; None if there is nothing now."""
        if size is None or size < 0:
            return self.readall()
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation("File not open for reading")
        try:
            return self._os.read(self._fd, size)
        except BlockingIOError:
            return None  # type: ignore[return-value]

    def readall(self) -> bytes:
        """Read all that is left; None if there is nothing now."""
        self._check()
        if not self._readable:
            raise io.UnsupportedOperation("File not open for reading")
        guess = _BUFFER
        with contextlib.suppress(OSError):
            here = self._os.lseek(self._fd, 0, os.SEEK_CUR)
            guess = max(self._os.fstat(self._fd).st_size - here + 1, guess)
        parts: list[bytes] = []
        while True:
            try:
                part = self._os.read(self._fd, guess)
            except BlockingIOError:
                if parts:
                    break
                return None  # type: ignore[return-value]
            if not part:
                break
            parts.append(part)
            guess = min(max(guess, _BUFFER), 1 << 24)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: Buffer, /) -> int | None:
        """Write; the number of bytes, or None if there is no room now."""
        self._check()
        if not self._writable:
            raise io.UnsupportedOperation("File not open for writing")
        try:
            return self._os.write(self._fd, data)
        except BlockingIOError:
            return None

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Set the position."""
        self._check()
        return self._os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        """The position."""
        self._check()
        return self._os.lseek(self._fd, 0, os.SEEK_CUR)

    def truncate(self, size: int | None = None, /) -> int:
        """Make the file this long; by default as long as the position."""
        self._check()
        if not self._writable:
            raise io.UnsupportedOperation("File not open for writing")
        length = self.tell() if size is None else size
        self._os.ftruncate(self._fd, length)
        return length

    def _dealloc_warn(self, source: object) -> None:
        """Complain about a file that nobody closed; buffers call it with themselves."""
        if self._fd >= 0 and self._closefd and not self.closed and self._os._alive():
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, source=source, stacklevel=2)

    def __del__(self) -> None:
        self._dealloc_warn(self)
        self.close()

    def close(self) -> None:
        """Close the file and its descriptor, unless closefd is False."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            fd, self._fd = self._fd, -1
            if self._closefd and fd >= 0:
                # With the kernel gone the descriptor is, too.
                with contextlib.suppress(RumpelError):
                    self._os.close(fd)
            self.keeps = None

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __repr__(self) -> str:
        state = f"name={self.name!r} mode={self.mode!r} closefd={self.closefd}"
        return f"<rumpel.io.FileIO {'[closed]' if self.closed else state}>"


def file_type(owner: Os) -> type[RawFile]:
    """Make the type ``FileIO`` of a kernel."""
    own = {"_os": owner, "_descriptor": descriptors_of(owner._native), "__module__": "rumpel.io"}
    return type("FileIO", (RawFile,), own)


def io_module(owner: Os) -> Names:
    """Make the module :mod:`io` of a kernel: the host's, with the kernel's files."""
    every = {name: getattr(io, name) for name in io.__all__}
    own = {"FileIO": file_type(owner), "open": opener(owner), "text_encoding": _text_encoding}
    return Names("rumpel.io", **{**every, **own, "OpenWrapper": own["open"]})


def _text_encoding(encoding: Any, stacklevel: int = 2, /) -> Any:
    """The encoding of text files of which none was said: not the host's locale's."""
    return _ENCODING if encoding is None else encoding


def opener(owner: Os) -> Callable[..., IO[Any]]:
    """Make the function ``open`` of a kernel.

    Like the built-in one it does not become a method where it is an attribute of a class.
    """
    function = partial(_open, file_type(owner))
    function.__doc__ = _open.__doc__
    return function


def _open(
    make: type[RawFile],
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[Any, int], int] | None = None,
) -> Any:
    """Open a file of the kernel; arguments and result are those of the built-in open.

    ``opener`` is called with path and flags and returns a descriptor of the kernel.
    """
    if not isinstance(file, int | str | bytes | os.PathLike):
        raise TypeError(f"invalid file: {file!r}")
    check_mode(mode, encoding, errors, newline)
    binary = "b" in mode
    raw = make(file, mode.replace("t", ""), closefd, opener)
    result: Any = raw
    try:
        line = buffering == 1 or (buffering < 0 and not binary and raw.isatty())
        size = raw._blksize if buffering < 0 or buffering == 1 else buffering
        if size == 0:
            if not binary:
                raise ValueError("can't have unbuffered text I/O")
            return raw
        if "+" in mode:
            result = io.BufferedRandom(raw, size)
        elif "r" in mode:
            result = io.BufferedReader(raw, size)
        else:
            result = io.BufferedWriter(raw, size)
        if binary:
            return result
        result = io.TextIOWrapper(result, _text_encoding(encoding), errors, newline, line)
        result.mode = mode
    except BaseException:
        result.close()
        raise
    return result


def check_mode(mode: str, encoding: str | None, errors: str | None, newline: str | None) -> None:
    """Refuse what the built-in open refuses."""
    letters = set(mode)
    if letters - set("rwaxbt+") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    if {"b", "t"} <= letters:
        raise ValueError("can't have text and binary mode at once")
    if len(letters & set("rwax")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if "b" in letters:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take {name} argument")
