# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: extended attributes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rumpel.os.base import VOID, AnyPath, Base, FileOrPath

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LIMIT = 65536


class Xattrs(Base):
    """Functions of :mod:`os` on extended attributes."""

    def _xattr(self, verb: str, path: FileOrPath, follow: bool, flags: int = 0) -> Any:
        """Choose among the call, the one for symbolic links and the one for descriptors."""
        prefix = "f" if isinstance(path, int) else "" if follow else "l"
        name = {"set": "setxattr", "get": "getxattr", "list": "listxattr"}.get(verb, "removexattr")
        return self._call(prefix + name, flags, paths=0 if prefix == "f" else 1)

    def getxattr(
        self, path: FileOrPath, attribute: AnyPath, *, follow_symlinks: bool = True
    ) -> bytes:
        """Value of an attribute."""
        value = bytearray(_LIMIT)
        call = self._xattr("get", path, follow_symlinks)
        size = call(path, os.fsencode(attribute), value, len(value))
        return bytes(value[:size])

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
        call = self._xattr("set", path, follow_symlinks, VOID)
        call(path, os.fsencode(attribute), value, memoryview(value).nbytes, flags)

    def listxattr(
        self, path: FileOrPath | None = None, *, follow_symlinks: bool = True
    ) -> list[str]:
        """Names of the attributes."""
        names = bytearray(_LIMIT)
        where: FileOrPath = "." if path is None else path
        size = self._xattr("list", where, follow_symlinks)(where, names, len(names))
        return [os.fsdecode(name) for name in bytes(names[:size]).split(b"\0")[:-1]]

    def removexattr(
        self, path: FileOrPath, attribute: AnyPath, *, follow_symlinks: bool = True
    ) -> None:
        """Remove an attribute."""
        self._xattr("remove", path, follow_symlinks, VOID)(path, os.fsencode(attribute))
