# SPDX-License-Identifier: GPL-2.0-only
"""Directories of the host."""

from __future__ import annotations

import itertools
import os

from rumpel import _native
from rumpel.clock import to_ns
from rumpel.devices.device import Device

__all__ = ["HostDirectory"]

_numbers = itertools.count()


class HostDirectory(Device):
    """A directory of the host, for :meth:`rumpel.Kernel.mount`: as a file system, virtiofs.

    Nothing outside of it can be reached: ``..`` ends at it, and symbolic links are followed by the
    kernel, in its own tree. Device nodes cannot be made or opened. Files are made as the user who
    runs this process, who is root in the kernel (and root is that user); other users and groups
    are the same on both sides, as far as this process may set them.

    Args:
        path: of the directory.
        read_only: refuse changes.
        tag: the name to mount it by, up to 36 bytes; by default one that no other has.
        cache: how long, in seconds, the kernel may believe names and attributes that it knows.
            With 0 it asks each time, so that it sees what others change; if nobody else
            changes anything, more is faster.

    Raises:
        OSError: if it cannot be opened.

    Example:
        >>> source = HostDirectory("/usr/src", read_only=True)  # doctest: +SKIP
        >>> with rumpel.boot(devices=[source]) as k:  # doctest: +SKIP
        ...     k.mount(source, "/mnt")
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        read_only: bool = False,
        tag: str | None = None,
        cache: float = 0.0,
    ) -> None:
        if cache < 0:
            raise ValueError("the time to believe cannot be negative")
        self.path = os.fspath(path)
        self.read_only = read_only
        self.tag = f"host{next(_numbers)}" if tag is None else tag
        self._claim = f"directories with the tag {self.tag!r}"
        flags = _native.DIRECTORY_READ_ONLY if read_only else 0
        super().__init__(_native.host_directory(path, self.tag, flags, to_ns(cache)))
