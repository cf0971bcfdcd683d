# SPDX-License-Identifier: GPL-2.0-only
"""The module :mod:`pathlib` on a library kernel: ``kernel.pathlib``, and ``kernel.Path``.

The classes that touch files are the standard library's code once more; those that only
compute are the standard library's own, so a kernel's path is a
:class:`pathlib.PurePosixPath` and compares as one.

A kernel's path is no path of the host. ``__fspath__``, by which ``open()`` and the module
os would take it for one of theirs, raises TypeError; the kernel's own functions ask by
``__kernel_fspath__``, which refuses other kernels.
"""

from __future__ import annotations

import operator
import os
import pathlib as host
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rumpel.os.directories import host_path_error
from rumpel.swapped import private_copy

if TYPE_CHECKING:
    from rumpel import _native
    from rumpel.kernel import Kernel

__all__ = ["pathlib_module"]

_SOURCE = "pathlib._local" if sys.version_info >= (3, 13) else "pathlib"
_PURE = ("PurePath", "PurePosixPath", "PureWindowsPath")


def pathlib_module(kernel: Kernel) -> ModuleType:
    """Make the module for a kernel."""
    instead: dict[str, Any] = {
        "glob": kernel.glob,
        "grp": kernel.grp,
        "io": kernel.io,
        "os": kernel.os,
        "os.path": kernel.os.path,
        "posixpath": kernel.os.path,
        "pwd": kernel.pwd,
    }
    keep = {name: getattr(host, name) for name in _PURE}
    module = private_copy(_SOURCE, instead, keep=keep)
    path: Any = module.Path

    def fspath(self: Any) -> str:
        raise host_path_error(self)

    def kernel_fspath(self: Any, native: _native.Kernel) -> str:
        if native is not kernel.os._native:
            raise TypeError(f"{self!r} is a path of another kernel")
        return str(self)

    def as_bytes(self: Any) -> bytes:
        return os.fsencode(str(self))

    def reduce(self: Any) -> Any:
        raise TypeError(f"cannot pickle {self!r}: it belongs to a kernel of this process")

    def itself(self: Any, memo: Any = None) -> Any:
        return self

    path.__bytes__ = as_bytes
    path.__reduce__ = reduce
    path.__copy__ = path.__deepcopy__ = itself
    path.__fspath__ = fspath
    path.__kernel_fspath__ = kernel_fspath
    if hasattr(path, "_globber"):
        globber: Any = kernel.glob  # its class is newer than the oldest Python
        path._globber = globber._StringGlobber
    for name in ("_flavour", "parser"):  # what 3.12 and 3.13 compute, and ask the system, with
        if isinstance(getattr(path, name, None), ModuleType):
            setattr(path, name, kernel.os.path)
            _compare_by_parts(path)
    return module


def _compare_by_parts(path: Any) -> None:
    """Let paths be compared with the host's pure ones, whose ``os.path`` is another module."""

    def parts(pure: host.PurePath) -> list[str]:
        return str(pure).split("/")

    def comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
        def method(self: Any, other: Any) -> bool:
            if isinstance(other, host.PurePath) and not isinstance(other, host.PureWindowsPath):
                return bool(compare(parts(self), parts(other)))
            return NotImplemented  # type: ignore[no-any-return]

        return method

    for compare in (operator.eq, operator.lt, operator.le, operator.gt, operator.ge):
        setattr(path, f"__{compare.__name__}__", comparison(compare))
