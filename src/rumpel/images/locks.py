# SPDX-License-Identifier: GPL-2.0-only
"""One writer or many readers of a file: the locks that the runtime takes of disks."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from rumpel.images.errors import ImageError

__all__ = ["held", "in_use", "lock", "open_file"]

_FLOCK = struct.Struct("hh4xqqi4x")


def open_file(path: str, read_only: bool) -> int:
    """Open what may be no file at all, and would be waited for."""
    return os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NONBLOCK)


def lock(fd: int, path: str, read_only: bool) -> None:
    """Lock a file, as long as any process has this descriptor.

    Args:
        fd: of the file.
        path: for messages.
        read_only: others may read it as well.

    Raises:
        OSError: EBUSY, if somebody else has it open otherwise.
    """
    kind = fcntl.F_RDLCK if read_only else fcntl.F_WRLCK
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path) from None
        # Some network file systems have no locks.


@contextmanager
def held(image: str, read_only: bool) -> Iterator[None]:
    """Keep others from opening an image meanwhile, or from writing to it.

    Args:
        image: its path.
        read_only: others may read it as well.

    Raises:
        ImageError: if somebody else has it open otherwise.
        OSError: if it may not be opened.
    """
    fd = open_file(image, read_only)
    try:
        try:
            lock(fd, image, read_only)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise ImageError(image, in_use(image)) from None
        yield
    finally:
        os.close(fd)


def in_use(image: str) -> str:
    """Why an image cannot be opened that somebody else has locked, and what to do."""
    from rumpel.images.fuse.mounts import mounts

    path = os.path.realpath(image)
    for mounted in mounts():
        if mounted.source == path:
            where = mounted.directory
            return f"in use: it is mounted at {where}: work there, or rumpel image umount {where}"
    return "in use: another process has the image open"
