# SPDX-License-Identifier: GPL-2.0-only
"""Modules of the standard library that are executed once more, for the files of a kernel.

They are the standard library's own code: names, behaviour and mistakes are those of the
Python that runs.
"""

from __future__ import annotations

import builtins
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rumpel.swapped import Names, private_copy

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["module"]


def module(kernel: Kernel, name: str) -> ModuleType:
    """Make a kernel's ``glob``, ``shutil``, ``tempfile``, ``tarfile``, ``gzip``, ..."""
    builtin = Names("builtins", **{**vars(builtins), "open": kernel.open})
    instead: dict[str, Any] = {
        "builtins": builtin,
        "grp": kernel.grp,
        "io": kernel.io,
        "os": kernel.os,
        "os.path": kernel.os.path,
        "posix": Names("posix"),
        "pwd": kernel.pwd,
    }
    # They need one another, but are made only when they are used.
    for other in {"bz2", "gzip", "lzma", "shutil", "tarfile", "zipfile"} - {name}:
        instead[other] = _Later(kernel, other)
    return private_copy(name, instead, globals={"open": kernel.open})


class _Later(ModuleType):
    """An attribute of a kernel, looked up when one of its names is used."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        super().__init__(name)
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._kernel, self.__name__), name)
