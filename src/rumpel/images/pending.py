# SPDX-License-Identifier: GPL-2.0-only
"""Files of transactions of fsspec, which are there when all of them are."""

from __future__ import annotations

import errno
import io
import os
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rumpel.images.filesystem import Image

__all__ = ["Pending"]

_BUFFER = 256 << 10


class Pending(io.BufferedWriter):
    """A file beside the one that it shall be.

    Args:
        image: where it is.
        path: of the file that it shall be.
        mode: ``wb``, ``xb`` or ``ab``.
    """

    def __init__(self, image: Image, path: str, mode: str) -> None:
        kernel = image.volume.kernel
        self._os: Any = kernel.os
        self._path = path
        self._must_be_new = "x" in mode
        if self._must_be_new and self._os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        directory = path.rpartition("/")[0]
        self._pending = f"{directory}/.rumpel-{secrets.token_hex(8)}"
        super().__init__(kernel.open(self._pending, "xb", buffering=0), _BUFFER)
        if "a" in mode and self._os.path.exists(path):
            with kernel.open(path, "rb") as old:
                while data := old.read(_BUFFER):
                    self.write(data)

    def commit(self) -> None:
        """Give it its name.

        Raises:
            FileExistsError: if it was to be a new one, and there is one by now.
        """
        self.close()
        if self._must_be_new:
            self._os.link(self._pending, self._path)
            self._os.unlink(self._pending)
        else:
            self._os.replace(self._pending, self._path)

    def discard(self) -> None:
        """Forget it."""
        self.close()
        self._os.unlink(self._pending)
