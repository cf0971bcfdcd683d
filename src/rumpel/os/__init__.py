# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`os` on a library kernel: ``kernel.os``.

``base`` has what the parts share; ``descriptors``, ``events``, ``terminals``, ``paths``,
``directories``, ``xattrs``, ``processes``, ``identity`` and ``scheduling`` are the parts.
Functions that are one system call with the same arguments are that system call, bound in
C; the rest is Python.

What the standard library's module has in Python itself (``walk``, ``makedirs``,
``environ``, ...) is its own code, executed once more on top of the parts (``stdlib``).
Constants, ``strerror`` and the like are the host's. ``names`` tells all names, and why some
are missing.
"""

from __future__ import annotations

import os as host
from types import ModuleType

from rumpel.os import names
from rumpel.os.descriptors import Descriptors
from rumpel.os.directories import Directories, DirEntry
from rumpel.os.events import Events
from rumpel.os.identity import Identity
from rumpel.os.paths import Paths
from rumpel.os.processes import Processes
from rumpel.os.scheduling import Scheduling
from rumpel.os.terminals import Terminals
from rumpel.os.xattrs import Xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any

    from rumpel import _native
    from rumpel.os.base import AnyPath

__all__ = ["Os"]


class Os(
    Descriptors,
    Events,
    Terminals,
    Paths,
    Directories,
    Xattrs,
    Processes,
    Identity,
    Scheduling,
):
    """What makes sense of the module :mod:`os`, on one kernel.

    Attributes:
        environ: a mapping of its own. It tells ``path.expanduser``, ``shutil.which``,
            ``tempfile`` and the like where to look, and has nothing of the host's.

    Example:
        >>> with rumpel.boot() as k:  # doctest: +SKIP
        ...     fd = k.os.open("/tmp/x", k.os.O_CREAT | k.os.O_RDWR)
        ...     k.os.write(fd, b"hello")
        5
    """

    DirEntry = DirEntry

    if TYPE_CHECKING:
        _pwd: ModuleType
        _stdlib: ModuleType
        PathLike = host.PathLike
        error = OSError
        environ: MutableMapping[str, str]
        environb: MutableMapping[bytes, bytes]
        fsdecode: Callable[[AnyPath], str]
        fsencode: Callable[[AnyPath], bytes]
        removedirs: Callable[[AnyPath], None]
        renames: Callable[[AnyPath, AnyPath], None]
        strerror: Callable[[int], str]
        supports_dir_fd: set[Callable[..., Any]]
        supports_effective_ids: set[Callable[..., Any]]
        supports_fd: set[Callable[..., Any]]
        supports_follow_symlinks: set[Callable[..., Any]]

        def __getattr__(self, name: str) -> int:
            """Constants are the host's."""
            ...

    else:

        def __getattr__(self, name: str) -> Any:
            """What is not the kernel's own is looked up when it is first used."""
            # Of two threads that are first, both get the same.
            return self.__dict__.setdefault(name, self._look_up(name))

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        if TYPE_CHECKING:
            # Here, as they have several signatures: those of a class would be methods.
            self.fdopen = host.fdopen
            self.fwalk = host.fwalk
            self.get_exec_path = host.get_exec_path
            self.getenv = host.getenv
            self.getenvb = host.getenvb
            self.makedirs = host.makedirs
            self.walk = host.walk
        # As functions of a module they are the same object each time: shutil.rmtree tells
        # its caller which one failed.
        for name in dir(type(self)):
            if not name.startswith("_") and callable(getattr(type(self), name)):
                self.__dict__.setdefault(name, getattr(self, name))

    def _look_up(self, name: str) -> Any:
        if name == "path":
            from rumpel.os.stdlib import path_module

            return path_module(self)
        if name == "_pwd":
            from rumpel.users import pwd_module

            return pwd_module(self)
        if name == "_stdlib":
            from rumpel.os.stdlib import os_module

            return os_module(self)
        if name in names.STDLIB or name == "__all__":
            return getattr(self._stdlib, name)
        if names.from_host(name):
            return getattr(host, name)
        reason = names.why_absent(name)
        raise AttributeError(f"kernel.os has no {name!r}" + (f": {reason}" if reason else ""))

    def __dir__(self) -> list[str]:
        """All names, also those that are looked up when they are used."""
        return sorted({*super().__dir__(), *self._stdlib.__all__, "path"})

    def own_names(self) -> list[str]:
        """Names of the kernel's own functions, and of the types that go with them."""
        return [
            name
            for name in (*dir(type(self)), *self.__dict__)
            if not name.startswith("_")
            and name not in ("own_names", "path")
            and name not in names.STDLIB
            and not names.from_host(name)
        ]
