# SPDX-License-Identifier: GPL-2.0-only
"""What the parts of ``kernel.os`` share."""

from __future__ import annotations

import _operator as operator
import os

from rumpel import _native, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import posixpath
    from types import ModuleType
    from typing import Any, NoReturn, Protocol

    from rumpel._native import Call

    AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
    FileOrPath = int | AnyPath

    class HasFileno(Protocol):
        """Anything with a descriptor of the kernel."""

        def fileno(self) -> int:
            """The descriptor."""
            ...

    Descriptor = int | HasFileno

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_REMOVEDIR = 0x200
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000

LONG, VOID, NUMBERS = _native.LONG, _native.VOID, _native.NUMBERS
READ, WRITE, READINTO = _native.READ, _native.WRITE, _native.READINTO


if TYPE_CHECKING:

    class PathModule(ModuleType):
        """The types of the functions of :mod:`posixpath`."""

        def __init__(self) -> None:
            self.abspath = posixpath.abspath
            self.basename = posixpath.basename
            self.commonpath = posixpath.commonpath
            self.commonprefix = posixpath.commonprefix
            self.dirname = posixpath.dirname
            self.exists = posixpath.exists
            self.expanduser = posixpath.expanduser
            self.expandvars = posixpath.expandvars
            self.getatime = posixpath.getatime
            self.getctime = posixpath.getctime
            self.getmtime = posixpath.getmtime
            self.getsize = posixpath.getsize
            self.isabs = posixpath.isabs
            self.isdir = posixpath.isdir
            self.isfile = posixpath.isfile
            self.islink = posixpath.islink
            self.ismount = posixpath.ismount
            self.join = posixpath.join
            self.lexists = posixpath.lexists
            self.normcase = posixpath.normcase
            self.normpath = posixpath.normpath
            self.realpath = posixpath.realpath
            self.relpath = posixpath.relpath
            self.samefile = posixpath.samefile
            self.sameopenfile = posixpath.sameopenfile
            self.samestat = posixpath.samestat
            self.split = posixpath.split
            self.splitdrive = posixpath.splitdrive
            self.splitext = posixpath.splitext


class Base:
    """Binds system calls; the parts inherit from it."""

    path: PathModule

    def __init__(self, native: _native.Kernel) -> None:
        self._native = native
        self._bound: dict[str, Any] = {}

    def fspath(self, path: Any) -> Any:
        """The path itself, as str or bytes; also of paths that belong to this kernel."""
        if isinstance(path, str | bytes):
            return path
        own = getattr(type(path), "__kernel_fspath__", None)
        return os.fspath(path) if own is None else own(path, self._native)

    def _alive(self) -> bool:
        """Does the kernel run? Else its descriptors are gone, whoever forgot to close them."""
        return self._native.state == "running"

    def _now(self) -> int:
        """The kernel's monotonic clock, in ns."""
        return self._native.now_ns

    def _call(self, name: str, flags: int = 0, paths: int = 0) -> Any:
        """A system call that is bound when it is first used."""
        call = self._bound.get(name)
        if call is None:
            call = self._bound[name] = self._bind(name, flags=flags, paths=paths)
        return call

    def _bind(self, name: str, *, shape: int = 0, flags: int = 0, paths: int = 0) -> Any:
        """Make a callable of a system call.

        It is Any so that an attribute can be annotated with what the shape returns.
        """
        call: Call = syscalls.bind(self._native, name, shape=shape, flags=flags, paths=paths)
        return call


def fileno(file: Descriptor) -> int:
    """The descriptor of a file, or the descriptor itself."""
    method = None if isinstance(file, int) else getattr(file, "fileno", None)
    number = file if method is None else method()
    if not isinstance(number, int):
        raise TypeError("argument must be an int, or have a fileno() method.")
    if number < 0:
        raise ValueError(f"file descriptor cannot be a negative integer ({number})")
    return number


def on_descriptor(name: str, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
    """Refuse what says nothing where a path is a descriptor, in :mod:`os`'s words."""
    if dir_fd is not None:
        reason = "both dir_fd and fd" if name == "chown" else "dir_fd without matching path"
        raise ValueError(f"{name}: can't specify {reason}")
    if not follow_symlinks:
        raise ValueError(f"{name}: cannot use fd and follow_symlinks together")


def raise_about(error: OSError, fd: int) -> NoReturn:
    """Raise an error that names the descriptor that stood for the path."""
    error.filename = fd
    raise error


def at(dir_fd: int | None) -> int:
    """The descriptor that stands for ``dir_fd``."""
    if dir_fd is None:
        return AT_FDCWD
    if not hasattr(dir_fd, "__index__"):
        raise TypeError(f"argument should be integer or None, not {type(dir_fd).__name__}")
    return c_int(dir_fd)


def c_int(value: int) -> int:
    """The same number, if it is one and fits into a C int."""
    number = operator.index(value)
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError("Python int too large to convert to C int")
    return number
