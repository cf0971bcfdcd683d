# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: extended attributes."""

from __future__ import annotations

import errno
import os

from rumpel.os.base import VOID, Base, on_descriptor, raise_about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Buffer

    from rumpel.os.base import AnyPath, FileOrPath

_SIZES = (256, os.XATTR_SIZE_MAX)


class Xattrs(Base):
    """Functions of :mod:`os` on extended attributes."""

    def _xattr(self, verb: str, path: FileOrPath, follow: bool, *args: Any, flags: int = 0) -> Any:
        """Choose among the call, the one for symbolic links and the one for descriptors."""
        if not isinstance(path, int):
            name = f"{'' if follow else 'l'}{verb}xattr"
            return self._call(name, flags, paths=1)(path, *args)
        on_descriptor(f"{verb}xattr", None, follow)
        try:
            return self._call(f"f{verb}xattr", flags)(path, *args)
        except OSError as error:
            raise_about(error, path)

    def getxattr(
        self, path: FileOrPath, attribute: AnyPath, *, follow_symlinks: bool = True
    ) -> bytes:
        """Value of an attribute."""
        name = _name(attribute)
        return _grow(lambda *room: self._xattr("get", path, follow_symlinks, name, *room))

    def setxattr(
        self,
        path: FileOrPath,
        attribute: AnyPath,
        value: Buffer,
        flags: int = 0,
        *,
        follow_symlinks: bool = True,
    ) -> None:
        """Set an attribute; ``flags`` are XATTR_CREATE, XATTR_REPLACE or 0."""
        args = _name(attribute), value, memoryview(value).nbytes, flags
        self._xattr("set", path, follow_symlinks, *args, flags=VOID)

    def listxattr(
        self, path: FileOrPath | None = None, *, follow_symlinks: bool = True
    ) -> list[str]:
        """Names of the attributes."""
        where: FileOrPath = "." if path is None else path
        names = _grow(lambda *room: self._xattr("list", where, follow_symlinks, *room))
        return [os.fsdecode(name) for name in names.split(b"\0")[:-1]]

    def removexattr(
        self, path: FileOrPath, attribute: AnyPath, *, follow_symlinks: bool = True
    ) -> None:
        """Remove an attribute."""
        self._xattr("remove", path, follow_symlinks, _name(attribute), flags=VOID)


def _name(attribute: AnyPath) -> bytes:
    name = os.fsencode(attribute)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    return name


def _grow(call: Callable[[bytearray, int], int]) -> bytes:
    """Call with a small buffer, and with a large one if there is more."""
    for size in _SIZES:
        buffer = bytearray(size)
        try:
            return bytes(buffer[: call(buffer, size)])
        except OSError as error:
            if error.errno != errno.ERANGE or size == _SIZES[-1]:
                raise
    raise AssertionError
