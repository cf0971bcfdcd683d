# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`os` on a library kernel: ``kernel.os``.

``base`` has what the parts share; ``descriptors``, ``paths``, ``directories``,
``xattrs`` and ``processes`` are the parts. Functions that are one system call with the
same arguments are that system call, bound in C; the rest is Python.

``path`` is a copy of the standard library's module on this kernel. Constants,
``fspath`` and the like are the host's: they do not depend on the kernel. What would
need a host process in the kernel (fork, exec, kill, environ) is not there.
"""

from __future__ import annotations

import os as host
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

from rumpel.os.descriptors import Descriptors
from rumpel.os.directories import Directories, DirEntry
from rumpel.os.paths import Paths
from rumpel.os.processes import Processes
from rumpel.os.xattrs import Xattrs

if TYPE_CHECKING:
    from rumpel import _native

__all__ = ["Os"]


class Os(Descriptors, Paths, Directories, Xattrs, Processes):
    """What makes sense of the module :mod:`os`, on one kernel.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     fd = k.os.open("/tmp/x", k.os.O_CREAT | k.os.O_RDWR)
        ...     k.os.write(fd, b"hello")
        5
    """

    fspath = staticmethod(host.fspath)
    fsencode = staticmethod(host.fsencode)
    fsdecode = staticmethod(host.fsdecode)
    strerror = staticmethod(host.strerror)
    major = staticmethod(host.major)
    minor = staticmethod(host.minor)
    makedev = staticmethod(host.makedev)
    PathLike = host.PathLike
    DirEntry = DirEntry
    stat_result = host.stat_result
    statvfs_result = host.statvfs_result
    uname_result = host.uname_result
    error = OSError
    name = host.name
    linesep = host.linesep
    sep = host.sep
    altsep = host.altsep
    curdir = host.curdir
    pardir = host.pardir
    extsep = host.extsep
    devnull = host.devnull

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)

    def fdopen(self, fd: int, *args: Any, **keywords: Any) -> IO[Any]:
        """Make a file of a descriptor; arguments are those of ``kernel.open``."""
        if not isinstance(fd, int):
            raise TypeError(f"invalid fd type ({type(fd).__name__}, expected integer)")
        from rumpel.io import opener

        return opener(self._native, self)(fd, *args, **keywords)

    def __getattr__(self, name: str) -> int:
        """Constants are the host's."""
        if name == "path":
            self.path = _path(self)
            return self.path  # type: ignore[return-value]
        value = getattr(host, name, None)
        if not name.isupper() or not isinstance(value, int):
            raise AttributeError(f"kernel.os has no {name!r}")
        self.__dict__[name] = value
        return value


def _path(owner: Os) -> ModuleType:
    """os.path, whose functions ask the kernel about its files."""
    from rumpel.swapped import private_copy

    generic = private_copy("genericpath", {"os": owner})
    path = private_copy("posixpath", {"os": owner, "genericpath": generic})
    path.__name__ = "rumpel.os.path"
    # These two are about the host's users and environment.
    path.__dict__.update(expanduser=host.path.expanduser, expandvars=host.path.expandvars)
    return path
