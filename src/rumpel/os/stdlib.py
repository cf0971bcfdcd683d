# SPDX-License-Identifier: GPL-2.0-only
"""The parts of the module :mod:`os` that are written in Python, on a library kernel."""

from __future__ import annotations

import os as host
import sys
from types import ModuleType

from rumpel.swapped import Names, private_copy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.os import Os

__all__ = ["os_module", "path_module"]

_ENVIRON = {b"HOME": b"/", b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"TERM": b"linux"}
"""What a kernel gives its first program, and a path."""

_HAVE = """
FACCESSAT FCHDIR FCHMOD FCHMODAT FCHOWN FCHOWNAT FDOPENDIR FPATHCONF FSTATAT FSTATVFS FTRUNCATE
FUTIMENS LCHOWN LINKAT LSTAT LUTIMES MKDIRAT MKFIFOAT MKNODAT OPENAT READLINKAT RENAMEAT
SYMLINKAT UNLINKAT UTIMENSAT
"""
"""What the module asks ``posix`` for, to fill ``supports_dir_fd`` and its like."""

_NOTHING = Names("posix")


def path_module(owner: Os) -> ModuleType:
    """os.path, whose functions ask the kernel about its files."""
    generic = private_copy("genericpath", {"os": owner})
    instead = {"os": owner, "genericpath": generic, "posix": _NOTHING, "pwd": owner._pwd}
    path = private_copy("posixpath", instead)
    path.__name__ = "rumpel.os.path"
    return path


def os_module(owner: Os) -> ModuleType:
    """A copy of the module os with the kernel's functions in place of the module posix's."""
    from rumpel.io import io_module

    names = {name: getattr(owner, name) for name in owner.own_names()}
    constants = {
        name: getattr(host, name)
        for name in dir(host)
        if name.isupper() and isinstance(getattr(host, name), int)
    }
    posix = Names(
        "posix",
        **constants,
        **names,
        environ=dict(_ENVIRON),
        error=OSError,
        putenv=_ignore,
        unsetenv=_ignore,
    )
    posix.__dict__["_have_functions"] = [f"HAVE_{name}" for name in _HAVE.split()]
    # The module registers its os.path in sys.modules.
    own_sys = Names("sys", **{**vars(sys), "modules": {}})
    instead = {
        "posix": posix,
        "posixpath": owner.path,
        "os.path": owner.path,
        "sys": own_sys,
        "io": io_module(owner),
    }
    return private_copy("os", instead, keep={"PathLike": host.PathLike})


def _ignore(*changed: bytes) -> None:
    """The environment has no second copy in a C library that would have to know."""
